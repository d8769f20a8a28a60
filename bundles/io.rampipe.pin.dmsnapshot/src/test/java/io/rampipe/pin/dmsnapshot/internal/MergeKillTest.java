package io.rampipe.pin.dmsnapshot.internal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.sync.journal.internal.Recovering;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.lab.InLab;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * The daemon dies at each step of a merge; another one goes on, or the power goes, and only the
 * disk is left.
 */
@InLab(seconds = 900, memory = 1536, disk = 1024)
class MergeKillTest {
    private static final int SIZE = 4 << 20 | 1536;
    private static final int MOST_STEPS = 80;

    /** Each step takes a few seconds. */
    private static final int STRIDE = Boolean.getBoolean("rampipe.test.long") ? 1 : 5;

    private static final Duration SOON = Duration.ofSeconds(60);

    private Bench bench;
    private Path file;
    private Path record;
    private byte[] before;
    private byte[] model;
    private int count;

    @BeforeEach
    void make() throws Exception {
        bench = new Bench(0, 4 << 20, "*.img");
        file = Files.createDirectories(bench.disk.resolve("d")).resolve("disk.img");
        record = Files.createTempFile("record", "");
        before = new byte[SIZE];
        new Random(1).nextBytes(before);
        restore();
    }

    @AfterEach
    void close() throws Exception {
        assertEquals(List.of(), bench.leftInKernel());
        bench.close();
        Files.delete(record);
    }

    private void restore() throws IOException {
        model = before.clone();
        Files.write(file, before);
    }

    private void write(int at, int length, int seed) throws IOException {
        byte[] data = new byte[length];
        new Random(seed).nextBytes(data);
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            f.seek(at);
            f.write(data);
            f.getFD().sync();
        }
        System.arraycopy(data, 0, model, at, length);
    }

    private Pin changed() throws IOException {
        Pin pin = bench.pin(file);
        write(100_000, 50_000, ++count);
        bench.checkpoint(pin);
        // From here on the disk has this, or all.
        write(120_000, 900_000, ++count);
        write(SIZE - 700, 700, ++count);
        Victim.save(pin, record);
        return pin;
    }

    private int victim(Pin pin, int step) throws Exception {
        Process p =
                new ProcessBuilder(
                                Path.of(System.getProperty("java.home"), "bin/java").toString(),
                                "-cp",
                                System.getProperty("java.class.path"),
                                "-XX:TieredStopAtLevel=1",
                                "-Xshare:auto",
                                Victim.class.getName(),
                                "unpin",
                                file.toString(),
                                bench.pool.resolve(pin.id()).toString(),
                                record.toString(),
                                Integer.toString(step))
                        .inheritIO()
                        .start();
        if (!p.waitFor(SOON.toSeconds(), TimeUnit.SECONDS)) {
            p.destroyForcibly();
            throw new AssertionError("unpin hangs at step " + step);
        }
        assertTrue(p.exitValue() == 9 || p.exitValue() == Victim.DONE, "status " + p.exitValue());
        return p.exitValue();
    }

    /** Nobody waits any more: the dead daemon's guard has seen to that. */
    private void awaitGoingOn(Pin pin) throws Exception {
        Await.until(SOON, () -> isWhole(pin), () -> "programs wait for ever");
    }

    private static boolean isWhole(Pin pin) throws IOException {
        try (DeviceMapper dm = DeviceMapper.open()) {
            String snapshot = pin.attribute(Pin.SNAPSHOT_ORIGIN);
            return !dm.find(pin.attribute(Pin.SNAPSHOT_DEVICE)).orElseThrow().suspended()
                    && !dm.find(snapshot).orElseThrow().suspended()
                    && !dm.find(snapshot).orElseThrow().loaded()
                    && dm.table(snapshot).get(0).type().equals("snapshot");
        }
    }

    private List<String> leftOnDisk() throws IOException {
        try (var names = Files.list(bench.disk.resolve(".rampipe"))) {
            return names.map(p -> p.getFileName().toString()).toList();
        }
    }

    @Test
    void anotherDaemonGoesOn() throws Exception {
        // Others than when the power goes.
        int step = Math.min(3, STRIDE);
        for (int status = 0; status != Victim.DONE; step += STRIDE) {
            Pin pin = changed();
            status = victim(pin, step);
            if (status == 9) {
                awaitGoingOn(pin);
                if (bench.strategy.mounted(pin)) {
                    assertArrayEquals(model, Files.readAllBytes(file), "as programs see it");
                    write(500, 50_000, ++count);
                    write(1_000_000, 50_000, ++count);
                    bench.sync = bench.syncBack();
                    bench.unpin(pin);
                } else {
                    bench.sync = bench.syncBack();
                    if (Victim.load(record).step() == Pin.Step.UNMOUNTING) {
                        try (SyncBack.Last last = bench.sync.begin(pin)) {
                            assertTrue(last.finish().consistent());
                        }
                    }
                    bench.discard(pin);
                }
            } else {
                Files.delete(bench.pool.resolve(pin.id()));
            }
            assertArrayEquals(model, Files.readAllBytes(file), "step " + step);
            assertEquals(List.of(), leftOnDisk(), "step " + step);
            restore();
            assertTrue(step < MOST_STEPS, "endless");
        }
        System.out.println("steps: " + step);
        assertTrue(step > 15, "steps " + step);
    }

    /** Programs have gone on writing, and all that is in RAM is lost. */
    @Test
    void thePowerGoes() throws Exception {
        int step = 1;
        int newer = 0;
        for (int status = 0; status != Victim.DONE; step += STRIDE) {
            Pin pin = changed();
            byte[] after = model.clone();
            byte[] older = before.clone();
            byte[] first = new byte[50_000];
            new Random(count - 2).nextBytes(first);
            System.arraycopy(first, 0, older, 100_000, first.length);
            status = victim(pin, step);
            if (status == 9) {
                awaitGoingOn(pin);
                if (bench.strategy.mounted(pin)) {
                    write(500, 50_000, ++count);
                    write(1_000_000, 50_000, ++count);
                    Command.run("umount", file.toString());
                }
                bench.discard(pin);
                Recovering.run(bench.disk);
            } else {
                Files.delete(bench.pool.resolve(pin.id()));
            }
            byte[] found = Files.readAllBytes(file);
            boolean isNewer = Arrays.equals(found, after);
            assertTrue(isNewer || Arrays.equals(found, older), "torn at step " + step);
            assertTrue(isNewer || newer == 0, "older again at step " + step);
            newer += isNewer ? 1 : 0;
            assertEquals(List.of(), leftOnDisk(), "step " + step);
            restore();
            assertTrue(step < MOST_STEPS, "endless");
        }
        System.out.println("steps: " + step + ", with what programs saw: " + newer);
        assertTrue(newer > 1 && newer < step / STRIDE, "newer at " + newer + " of " + step);
    }

    /** Nobody was left to put the snapshot back, as where there is no dmsetup. */
    @Test
    void aMergeThatNobodyGuardedIsEndedByTheNextDaemon() throws Exception {
        Pin pin = changed();
        bench.mergeAndDie(pin);
        assertFalse(isWhole(pin));
        bench.sync = bench.syncBack();
        assertTrue(bench.sync.dirty(pin).files() >= 0);
        assertTrue(isWhole(pin));
        assertArrayEquals(model, Files.readAllBytes(file));
        write(2_000_000, 50_000, ++count);
        bench.unpin(pin);
        assertArrayEquals(model, Files.readAllBytes(file));
        assertEquals(List.of(), leftOnDisk());
    }
}
