package io.rampipe.pin.dmsnapshot.internal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
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
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/**
 * The daemon dies at each step of a pin, a checkpoint and an unpin; another one goes on, or the
 * power goes, and only the disk is left.
 */
@EnabledIfSystemProperty(
        named = "rampipe.test.long",
        matches = "true",
        disabledReason = "takes five minutes or more: -Drampipe.test.long=true")
@InLab(seconds = 900, memory = 1536, disk = 1024)
class SnapshotKillTest {
    private static final int SIZE = 600_001;
    private static final int MOST_STEPS = 60;
    private static final int SECONDS = 60;

    private Bench bench;
    private Path file;
    private Path record;
    private byte[] before;
    private byte[] model;
    private int count;

    @BeforeEach
    void make() throws Exception {
        bench = new Bench(0, 4 << 20);
        file = Files.createDirectories(bench.disk.resolve("d")).resolve("image");
        record = Files.createTempFile("record", "");
        Files.writeString(Path.of("/proc/sys/fs/lease-break-time"), "1");
        before = new byte[SIZE];
        new Random(1).nextBytes(before);
        model = before.clone();
        Files.write(file, before);
    }

    @AfterEach
    void close() throws Exception {
        assertEquals(List.of(), bench.leftInKernel());
        bench.close();
        Files.delete(record);
    }

    /** Exit status. */
    private int victim(String what, String id, int step) throws Exception {
        Process p =
                new ProcessBuilder(
                                Path.of(System.getProperty("java.home"), "bin/java").toString(),
                                "-cp",
                                System.getProperty("java.class.path"),
                                "-XX:TieredStopAtLevel=1",
                                "-Xshare:auto",
                                Victim.class.getName(),
                                what,
                                file.toString(),
                                bench.pool.resolve(id).toString(),
                                record.toString(),
                                Integer.toString(step))
                        .inheritIO()
                        .start();
        return exitOf(p, SECONDS, what + " hangs at step " + step);
    }

    private static int exitOf(Process p, int seconds, String otherwise) throws Exception {
        if (!p.waitFor(seconds, TimeUnit.SECONDS)) {
            p.descendants().forEach(ProcessHandle::destroyForcibly);
            p.destroyForcibly().waitFor();
            throw new AssertionError(otherwise);
        }
        return p.exitValue();
    }

    /** As {@code Keeper.adopt} does. */
    private void goOn() throws Exception {
        Pin pin = Victim.load(record);
        bench.sync = bench.syncBack();
        if (bench.strategy.mounted(pin)) {
            assertArrayEquals(model, Files.readAllBytes(file), "as programs see it");
            write(500, 3);
            Await.until(
                    Duration.ofSeconds(SECONDS),
                    () -> notLeased(pin),
                    () -> "the lease of the dead daemon never ends");
            bench.unpin(pin.at(Pin.Step.PINNED));
        } else {
            boolean unwritten = pin.step() == Pin.Step.PINNED || pin.step() == Pin.Step.UNMOUNTING;
            assertTrue(!unwritten || !bench.strategy.lingers(pin), "somebody uses it");
            if (unwritten) {
                try (SyncBack.Last last = bench.sync.begin(pin)) {
                    assertTrue(last.finish().consistent());
                }
            }
            bench.discard(pin);
        }
        assertArrayEquals(model, Files.readAllBytes(file), "on disk in the end");
    }

    /** A lease outlives its daemon for a while, in the loop device. */
    private boolean notLeased(Pin pin) throws IOException {
        try {
            return bench.checkpoint(pin).consistent();
        } catch (IOException e) {
            if (e.getMessage().contains("is leased")) {
                return false;
            }
            throw e;
        }
    }

    private void write(int at, int seed) throws IOException {
        byte[] data = new byte[50_000];
        new Random(seed).nextBytes(data);
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            f.seek(at);
            f.write(data);
        }
        System.arraycopy(data, 0, model, at, data.length);
    }

    /** Changed in several ways, so that each kind of record is in the log. */
    private Pin changed() throws IOException {
        Pin pin = bench.pin(file);
        write(100_000, ++count);
        write(500_000, ++count);
        try (Fd fd = At.open(FilePath.of(file.toString()), At.O_RDWR)) {
            Io.punchHole(fd, 40_960, 8192);
            Io.collapse(fd, 409_600, 8192);
        }
        Arrays.fill(model, 40_960, 49_152, (byte) 0);
        byte[] next = Arrays.copyOf(model, SIZE - 8192);
        System.arraycopy(model, 409_600 + 8192, next, 409_600, next.length - 409_600);
        model = next;
        Victim.save(pin, record);
        return pin;
    }

    private void restore() throws IOException {
        model = before.clone();
        Files.write(file, before);
    }

    /** RAM is gone; the disk is recovered. */
    private void powerCut(Pin pin) throws Exception {
        if (bench.strategy.mounted(pin)) {
            Command.run("umount", file.toString());
        }
        bench.discard(pin);
        io.rampipe.sync.journal.internal.Recovering.run(bench.disk);
        byte[] found = Files.readAllBytes(file);
        assertTrue(
                Arrays.equals(found, before) || Arrays.equals(found, model),
                "neither before nor after");
        assertEquals(List.of(), leftOnDisk());
    }

    private List<String> leftOnDisk() throws IOException {
        Path home = bench.disk.resolve(".rampipe");
        if (Files.notExists(home)) {
            return List.of();
        }
        try (var names = Files.list(home)) {
            return names.map(p -> p.getFileName().toString())
                    .filter(n -> !n.equals("conflicts"))
                    .toList();
        }
    }

    @Test
    void pinning() throws Exception {
        int step = 1;
        for (int status = 0; status != Victim.DONE; step++) {
            String id = "p" + step;
            Files.createDirectory(bench.pool.resolve(id));
            status = victim("pin", id, step);
            assertTrue(status == 9 || status == Victim.DONE, "status " + status);
            goOn();
            restore();
        }
        assertTrue(step > 4, "steps " + step);
    }

    /**
     * Each call of the kernel's loop devices, device-mapper and file systems fails once, as if
     * there were no device left.
     */
    @Test
    void pinningWhenACallFails() throws Exception {
        assumeTrue(Files.isExecutable(Path.of("/usr/bin/strace")), "there is no strace");
        int failed = 0;
        int done = 0;
        // The last ones are not made any more.
        for (int call = 1; done < 3 || failed == 0; call++) {
            assertTrue(call < MOST_STEPS, "endless");
            String id = "c" + call;
            Files.createDirectory(bench.pool.resolve(id));
            Process p =
                    new ProcessBuilder(
                                    "strace",
                                    "-f",
                                    "--seccomp-bpf",
                                    "-o",
                                    "/dev/null",
                                    "-e",
                                    "trace=ioctl",
                                    "-e",
                                    "inject=ioctl:error=ENODEV:when=" + call,
                                    Path.of(System.getProperty("java.home"), "bin/java").toString(),
                                    "-cp",
                                    System.getProperty("java.class.path"),
                                    "-XX:TieredStopAtLevel=1",
                                    Victim.class.getName(),
                                    "pin",
                                    file.toString(),
                                    bench.pool.resolve(id).toString(),
                                    record.toString(),
                                    "1000")
                            .inheritIO()
                            .start();
            int status = exitOf(p, 5 * SECONDS, "hangs at call " + call);
            if (status == Victim.DONE) {
                goOn();
                done++;
            } else {
                assertEquals(Victim.REFUSED, status, "call " + call);
                failed++;
                done = 0;
                assertEquals(List.of(), bench.leftInKernel(), "call " + call);
                Files.delete(bench.pool.resolve(id));
            }
            assertArrayEquals(model, Files.readAllBytes(file));
            restore();
        }
        assertTrue(failed > 10, "calls that failed: " + failed);
    }

    /** Wherever it is just then. */
    @Test
    void pinningAtAnyTime() throws Exception {
        Random random = new Random(7);
        for (int i = 0; i < 12; i++) {
            String id = "r" + i;
            Files.createDirectory(bench.pool.resolve(id));
            Files.deleteIfExists(record);
            Process p =
                    new ProcessBuilder(
                                    Path.of(System.getProperty("java.home"), "bin/java").toString(),
                                    "-cp",
                                    System.getProperty("java.class.path"),
                                    "-XX:TieredStopAtLevel=1",
                                    Victim.class.getName(),
                                    "pin",
                                    file.toString(),
                                    bench.pool.resolve(id).toString(),
                                    record.toString(),
                                    "1000")
                            .inheritIO()
                            .start();
            Await.until(Duration.ofSeconds(SECONDS), () -> Files.exists(record), () -> "no record");
            p.waitFor(random.nextInt(600), TimeUnit.MILLISECONDS);
            p.destroyForcibly().waitFor();
            System.out.println("killed at " + Victim.load(record).step());
            goOn();
            restore();
        }
    }

    @Test
    void checkpointing() throws Exception {
        int step = 1;
        for (int status = 0; status != Victim.DONE; step++) {
            Pin pin = changed();
            status = victim("checkpoint", pin.id(), step);
            assertTrue(status == 9 || status == Victim.DONE, "status " + status);
            goOn();
            restore();
            assertTrue(step < MOST_STEPS, "endless");
        }
        assertTrue(step > 10, "steps " + step);
    }

    /** So much that the store is replaced. */
    private Pin changedMuch() throws IOException {
        bench.close();
        bench = Bench.split(4 << 20, 40 * 4096);
        Files.createDirectories(file.getParent());
        Files.write(file, before);
        Pin pin = bench.pin(file);
        write(100_000, ++count);
        write(300_000, ++count);
        int at = 143 * 4096;
        try (Fd fd = At.open(FilePath.of(file.toString()), At.O_RDWR)) {
            Io.collapse(fd, at, 4096);
        }
        byte[] next = Arrays.copyOf(model, SIZE - 4096);
        System.arraycopy(model, at + 4096, next, at, next.length - at);
        model = next;
        Victim.save(pin, record);
        return pin;
    }

    @Test
    void replacingTheStore() throws Exception {
        int step = 1;
        for (int status = 0; status != Victim.DONE; step++) {
            Pin pin = changedMuch();
            status = victim("checkpoint", pin.id(), step);
            assertTrue(status == 9 || status == Victim.DONE, "status " + status);
            if (status == Victim.DONE) {
                assertTrue(!bench.sync.pressed(pin), "not replaced");
            }
            goOn();
            restore();
            assertTrue(step < MOST_STEPS, "endless");
        }
        assertTrue(step > 20, "steps " + step);
    }

    @Test
    void replacingTheStoreAndThePowerGoes() throws Exception {
        int step = 1;
        for (int status = 0; status != Victim.DONE; step++) {
            Pin pin = changedMuch();
            status = victim("checkpoint", pin.id(), step);
            powerCut(pin);
            restore();
            assertTrue(step < MOST_STEPS, "endless");
        }
        assertTrue(step > 20, "steps " + step);
    }

    @Test
    void checkpointingAndThePowerGoes() throws Exception {
        int step = 1;
        for (int status = 0; status != Victim.DONE; step++) {
            Pin pin = changed();
            status = victim("checkpoint", pin.id(), step);
            powerCut(pin);
            restore();
            assertTrue(step < MOST_STEPS, "endless");
        }
        assertTrue(step > 10, "steps " + step);
    }

    @Test
    void unpinningAndThePowerGoes() throws Exception {
        int step = 1;
        for (int status = 0; status != Victim.DONE; step++) {
            Pin pin = changed();
            status = victim("unpin", pin.id(), step);
            powerCut(pin);
            restore();
            assertTrue(step < MOST_STEPS, "endless");
        }
        assertTrue(step > 10, "steps " + step);
    }

    @Test
    void unpinning() throws Exception {
        int step = 1;
        for (int status = 0; status != Victim.DONE; step++) {
            Pin pin = changed();
            status = victim("unpin", pin.id(), step);
            assertTrue(status == 9 || status == Victim.DONE, "status " + status);
            if (status == 9) {
                // Frozen when it died: this hangs if nobody thaws it.
                Process p =
                        new ProcessBuilder(
                                        "dd",
                                        "if=/dev/zero",
                                        "of=" + file,
                                        "bs=1",
                                        "count=0",
                                        "conv=notrunc,fsync")
                                .redirectErrorStream(true)
                                .start();
                assertTrue(p.waitFor(SECONDS, TimeUnit.SECONDS), "still frozen");
                goOn();
            } else {
                assertArrayEquals(model, Files.readAllBytes(file));
                Files.delete(bench.pool.resolve(pin.id()));
            }
            restore();
            assertTrue(step < MOST_STEPS, "endless");
        }
        assertTrue(step > 10, "steps " + step);
    }
}
