package io.rampipe.pin.dmsnapshot.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack.Result;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.StatFs;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.lab.InLab;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Path;
import java.util.BitSet;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** RAM follows what changes, not how large the file is; so does what is written to disk. */
@InLab(memory = 1536, disk = 1024)
class SnapshotCostTest {
    private static final int MB = 1 << 20;
    private static final int SIZE = 600 * MB;
    private static final int BLOCK = 4096;
    private static final int WRITES = 4000;

    private Bench bench;
    private Path file;

    @BeforeEach
    void make() throws Exception {
        bench = new Bench(0, 16 << 20);
        file = bench.disk.resolve("image");
        Command.run("fallocate", "-l", Integer.toString(SIZE), file.toString());
    }

    @AfterEach
    void close() throws Exception {
        assertEquals(List.of(), bench.leftInKernel());
        bench.close();
    }

    private static long ram(Pin pin) throws IOException {
        try (Fd fd = At.open(pin.path(Pin.RESERVED_AT), At.O_PATH)) {
            return StatFs.of(fd).usedBytes();
        }
    }

    private static long since(long nanos) {
        return (System.nanoTime() - nanos) / 1_000_000;
    }

    @Test
    void ramAndWritesFollowWhatChanges() throws Exception {
        long start = System.nanoTime();
        Pin pin = bench.pin(file);
        long pinned = since(start);
        long atOnce = ram(pin);
        Random random = new Random(5);
        BitSet changed = new BitSet();
        byte[] block = new byte[BLOCK];
        start = System.nanoTime();
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            for (int i = 0; i < WRITES; i++) {
                int b = random.nextInt(SIZE / BLOCK);
                changed.set(b);
                random.nextBytes(block);
                f.seek((long) b * BLOCK);
                f.write(block);
                f.getFD().sync();
            }
        }
        long wrote = since(start);
        long bytes = (long) changed.cardinality() * BLOCK;
        long taken = ram(pin) - atOnce;
        start = System.nanoTime();
        Result result = bench.checkpoint(pin);
        long checkpointed = since(start);
        start = System.nanoTime();
        bench.unpin(pin);
        long unpinned = since(start);
        System.out.printf(
                "600 MiB: pinned in %d ms, %d KiB at once; %d fsync'd writes of 4 KiB in %d ms;"
                        + " %.3f bytes of RAM for each that changed; checkpoint of %d KiB in %d ms,"
                        + " held %d ms; unpinned in %d ms%n",
                pinned,
                atOnce / 1024,
                WRITES,
                wrote,
                (double) taken / bytes,
                result.bytes() / 1024,
                checkpointed,
                result.held().toMillis(),
                unpinned);
        assertTrue(atOnce < 3 * MB, "RAM at once: " + atOnce);
        assertTrue(taken < bytes * 1.1, taken + " bytes of RAM for " + bytes);
        assertEquals(bytes, result.bytes());
        assertEquals(FilePath.of(file.toString()), pin.target().path());
    }

    /** Of one daemon, whose code is compiled by and by. */
    @Test
    void howLongProgramsAreHeld() throws Exception {
        Pin pin = bench.pin(file);
        Random random = new Random(6);
        byte[] block = new byte[BLOCK];
        StringBuilder held = new StringBuilder();
        for (int round = 0; round < 6; round++) {
            try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
                for (int i = 0; i < WRITES; i++) {
                    random.nextBytes(block);
                    f.seek((long) random.nextInt(SIZE / BLOCK) * BLOCK);
                    f.write(block);
                }
            }
            Result result = bench.checkpoint(pin);
            held.append(' ').append(result.held().toMillis());
        }
        System.out.println(
                "16 MiB more in the store each time, single blocks; held, in ms:" + held);
        bench.unpin(pin);
    }
}
