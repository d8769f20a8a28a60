package io.rampipe.pin.dmsnapshot.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.api.SyncBack.Result;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.StatFs;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.lab.InLab;
import java.io.IOException;
import java.io.InputStream;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A file that is larger than the RAM for its changes cannot outrun it. */
@InLab(memory = 1536, disk = 1024)
class SnapshotGuardTest {
    private static final int MB = 1 << 20;
    private static final int BLOCK = 4096;
    private static final int SIZE = 200 * MB;
    private static final int STORE = 8 * MB;

    /**
     * So many blocks at a time go to the snapshot at least, however much the page cache may hold.
     */
    private static final int SYNC = 512;

    private Bench bench;
    private Path file;

    /** What each block's first eight bytes should be. */
    private final long[] model = new long[SIZE / BLOCK];

    @BeforeEach
    void make() throws Exception {
        bench = Bench.split(4 * MB, STORE);
        file = Files.createDirectories(bench.disk.resolve("d")).resolve("image");
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

    /** As fast as it can, block by block. */
    private void write(Random random, int blocks) throws IOException {
        ByteBuffer block = ByteBuffer.allocate(BLOCK);
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            for (int i = 0; i < blocks; i++) {
                int b = random.nextInt(model.length);
                model[b] = random.nextLong();
                block.putLong(0, model[b]);
                f.seek((long) b * BLOCK);
                f.write(block.array());
                if (i % SYNC == 0) {
                    f.getFD().sync();
                }
            }
        }
    }

    private void check() throws IOException {
        byte[] block = new byte[BLOCK];
        try (InputStream in = Files.newInputStream(file)) {
            for (int b = 0; b < model.length; b++) {
                assertEquals(BLOCK, in.readNBytes(block, 0, BLOCK));
                assertEquals(model[b], ByteBuffer.wrap(block).getLong(), "block " + b);
            }
        }
    }

    private void unpinned(Pin pin) throws IOException {
        bench.unpin(pin);
        Command.shell("echo 3 >/proc/sys/vm/drop_caches");
        check();
    }

    /** What the engine's thread does. */
    private Thread relief(Pin pin, AtomicBoolean stop, AtomicReference<Exception> failed, int[] n) {
        Thread thread =
                new Thread(
                        () -> {
                            try {
                                while (!stop.get()) {
                                    if (bench.sync.pressed(pin)) {
                                        Result r = bench.checkpoint(pin);
                                        assertTrue(r.consistent(), r.why());
                                        n[0]++;
                                        System.out.printf(
                                                "%d MiB written back, held %d ms%n",
                                                r.bytes() / MB, r.held().toMillis());
                                    } else {
                                        Thread.sleep(5);
                                    }
                                }
                            } catch (IOException | InterruptedException e) {
                                failed.set(e);
                            }
                        });
        thread.start();
        return thread;
    }

    @Test
    void itHoldsAtFullSpeed() throws Exception {
        Pin pin = bench.pin(file);
        assertTrue(pin.reserved() < 20 * MB, "reserved " + pin.reserved());
        AtomicBoolean stop = new AtomicBoolean();
        AtomicReference<Exception> failed = new AtomicReference<>();
        int[] renewals = {0};
        Thread relief = relief(pin, stop, failed, renewals);
        long start = System.nanoTime();
        int blocks = 150 * MB / BLOCK;
        write(new Random(1), blocks);
        Command.run("sync", file.toString());
        double seconds = (System.nanoTime() - start) / 1e9;
        stop.set(true);
        relief.join();
        assertEquals(null, failed.get());
        assertTrue(ram(pin) <= pin.reserved(), "RAM " + ram(pin));
        System.out.printf(
                "150 MiB at random into a file of 200 MiB with 8 MiB of RAM: %.1f s, %d fresh stores, %s%n",
                seconds, renewals[0], bench.told);
        assertTrue(renewals[0] > 0, "never renewed");
        check();
        unpinned(pin);
    }

    /** It does not begin before the call ends, and a freeze waits for that. */
    @Test
    void oneLargeCallIsNoTrouble() throws Exception {
        Pin pin = bench.pin(file);
        AtomicBoolean stop = new AtomicBoolean();
        AtomicReference<Exception> failed = new AtomicReference<>();
        int[] renewals = {0};
        Thread relief = relief(pin, stop, failed, renewals);
        ByteBuffer all = ByteBuffer.allocateDirect(100 * MB);
        Random random = new Random(2);
        for (int b = 0; b < all.capacity() / BLOCK; b++) {
            model[b] = random.nextLong();
            all.putLong(b * BLOCK, model[b]);
        }
        try (Fd fd = At.open(FilePath.of(file.toString()), At.O_RDWR)) {
            Io.writeFully(fd, all, 0);
            Io.sync(fd);
        }
        stop.set(true);
        relief.join();
        assertEquals(null, failed.get());
        check();
        unpinned(pin);
    }

    /** Without a daemon nobody makes room. */
    @Test
    void nothingIsLostWhenNobodyLooks() throws Exception {
        Pin pin = bench.pin(file);
        write(new Random(3), 60 * MB / BLOCK);
        Command.run("sync", file.toString());
        assertTrue(bench.sync.pressed(pin));
        check();
        bench.sync = bench.syncBack();
        assertTrue(bench.checkpoint(pin).consistent());
        assertTrue(!bench.sync.pressed(pin), "still pressed: " + bench.told);
        assertTrue(ram(pin) < 2 * MB, "RAM afterwards " + ram(pin));
        check();
        write(new Random(4), MB / BLOCK);
        check();
        unpinned(pin);
    }

    @Test
    void withoutRoomOnDiskItIsRefused() throws Exception {
        Path others = bench.disk.resolve("others");
        long free = Files.getFileStore(bench.disk).getUsableSpace();
        Command.run("fallocate", "-l", Long.toString(free - 100 * MB), others.toString());
        RefusedException e = assertThrows(RefusedException.class, () -> bench.pin(file));
        assertEquals(Cause.NO_ROOM, e.refusal().cause());
        assertTrue(e.getMessage().contains("dmsnapshot.store"), e.getMessage());
        Files.delete(others);
        unpinned(bench.pin(file));
    }
}
