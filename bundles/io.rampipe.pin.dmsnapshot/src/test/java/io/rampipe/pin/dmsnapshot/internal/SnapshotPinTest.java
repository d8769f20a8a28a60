package io.rampipe.pin.dmsnapshot.internal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack.Result;
import io.rampipe.testkit.lab.InLab;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** One file through a pin's life. */
@InLab(disk = 1024)
class SnapshotPinTest {
    private static final int SIZE = 20_000_001;

    private Bench bench;
    private Path file;
    private byte[] model;

    @BeforeEach
    void make() throws Exception {
        bench = new Bench(0, 8 << 20);
        assertEquals(Optional.empty(), bench.strategy.unusable());
        Path directory = Files.createTempDirectory(bench.disk, "d");
        file = directory.resolve("image");
        model = new byte[SIZE];
        new Random(1).nextBytes(model);
        Files.write(file, model);
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r-----"));
        Files.setAttribute(file, "unix:uid", 1234);
        Files.setLastModifiedTime(file, FileTime.fromMillis(1_000_000_123_456L));
        Files.setAttribute(file, "user:note", "kept".getBytes());
    }

    @AfterEach
    void close() throws Exception {
        assertEquals(List.of(), bench.leftInKernel());
        bench.close();
    }

    private void write(long at, byte[] data) throws Exception {
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            f.seek(at);
            f.write(data);
        }
        if (at + data.length > model.length) {
            model = java.util.Arrays.copyOf(model, (int) at + data.length);
        }
        System.arraycopy(data, 0, model, (int) at, data.length);
    }

    @Test
    void fromPinToUnpin() throws Exception {
        Pin pin = bench.pin(file);
        assertTrue(bench.strategy.mounted(pin));
        assertEquals(SIZE, Files.size(file));
        assertEquals(
                "rw-r-----", PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
        assertEquals(1234, Files.getAttribute(file, "unix:uid"));
        assertEquals(1_000_000_123_456L, Files.getLastModifiedTime(file).toMillis());
        assertArrayEquals("kept".getBytes(), (byte[]) Files.getAttribute(file, "user:note"));
        assertArrayEquals(model, Files.readAllBytes(file));

        byte[] before = model.clone();
        write(1_000_000, new byte[100_000]);
        write(SIZE - 3, "the new end".getBytes());
        assertArrayEquals(model, Files.readAllBytes(file));
        assertArrayEquals(before, Bench.onDisk(file), "nothing is on disk before a checkpoint");
        assertTrue(bench.sync.dirty(pin).bytes() >= 100_000);

        Result result = bench.checkpoint(pin);
        assertTrue(result.consistent(), result.why());
        assertArrayEquals(model, Bench.onDisk(file));
        assertTrue(result.bytes() < 120_000, "changed blocks only: " + result.bytes());
        assertEquals(0, bench.checkpoint(pin).bytes());

        write(7, "once more".getBytes());
        bench.unpin(pin);
        assertArrayEquals(model, Files.readAllBytes(file));
        assertEquals(1234, Files.getAttribute(file, "unix:uid"));
        assertEquals(
                "rw-r-----", PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
    }
}
