package io.rampipe.source.fanotify.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Access;
import io.rampipe.api.AccessEvent;
import io.rampipe.api.AccessListener;
import io.rampipe.api.FilePath;
import io.rampipe.tck.EngineLoop;
import io.rampipe.tck.Overlays;
import io.rampipe.tck.Recorder;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What is active all the time is silenced, and its rate stays what it was. */
@NeedsMounts
@Timeout(value = 180, unit = TimeUnit.SECONDS)
class SamplingTest {
    private static final Duration LIMIT = Duration.ofSeconds(30);

    private ScratchDisk disk;
    private Path root;
    private Process writer;

    @BeforeEach
    void open() throws IOException {
        disk = ScratchDisk.make(96, "mkfs.ext4", "-q", "-F", "-N", "20000");
        root = Files.createDirectory(disk.root().resolve("root"));
    }

    @AfterEach
    void close() throws Exception {
        stop();
        disk.close();
    }

    /** Sums up what the events stand for: ticks in which a file was written to. */
    private static final class Sum implements AccessListener {
        private final Map<Long, Long> counted = new HashMap<>();
        double accesses;

        @Override
        public void access(AccessEvent event) {
            if ((event.kinds() & Access.WRITE) == 0) {
                return;
            }
            // A drain that goes on while the writer does can read several events of one tick.
            // A session that samples counts them once; so does what it is compared with.
            long now = System.nanoTime();
            Long last = counted.get(event.file());
            if (event.scale() > 1 || last == null || now - last > EngineLoop.TICK_NANOS / 2) {
                accesses += event.scale();
                counted.put(event.file(), now);
            }
        }

        @Override
        public void overflow() {
            throw new AssertionError("overflow");
        }
    }

    @Test
    void aHotFileIsSilencedAndItsRateStays() throws Exception {
        // Appends all the time; the file is emptied before it grows large.
        start("while :; do : > f; for i in 1 2 3 4 5 6 7 8 9; do echo x >> f; done; done");
        double all = rate(false);
        try (FanotifySession session = session(true)) {
            assertTrue(silenced(session, 1), "not silenced");
            assertClose(all, rate(session));
            assertEquals(2, session.stats().marks());

            stop();
            assertTrue(silenced(session, 0), "still silenced");
            idle(session);

            Command.shell("echo again > " + root.resolve("f"));
            Recorder seen = new Recorder();
            assertEquals(1, seen.until(session, Access.WRITE, "f").scale());
        }
    }

    @Test
    void aFileThatIsReplacedAllTheTimeIsStillCounted() throws Exception {
        start("while :; do echo x > new; mv new f; done");
        double all = rate(false);
        try (FanotifySession session = session(true)) {
            EngineLoop.run(session, new Sum(), Duration.ofSeconds(4), () -> false);
            assertClose(all, rate(session));
        }
    }

    @Test
    void aFileWithTwoNamesIsNotSilenced() throws Exception {
        Command.shell("cd " + root + "; : > f; ln f g");
        start("while :; do echo x >> f; done");
        try (FanotifySession session = session(true)) {
            assertFalse(
                    EngineLoop.run(
                            session,
                            new Sum(),
                            Duration.ofSeconds(4),
                            () -> session.stats().silenced() > 0));
        }
    }

    @Test
    void aHotPinIsSilencedAndItsRateStays() throws Exception {
        try (Overlays overlays = new Overlays(disk.aside("pool"))) {
            Path target = Files.createDirectory(root.resolve("target"));
            overlays.mount("p1", target, Overlays.EXPORTABLE);
            start("cd target; while :; do echo x > f; echo x > g; rm f g; done");
            double all = pinRate(overlays, target, false);
            try (FanotifySession session = session(true)) {
                session.pinned(overlays.pin("p1", target), 42);
                assertTrue(silenced(session, 1), "not silenced");
                assertClose(all, rate(session));
                stop();
                assertTrue(silenced(session, 0), "still silenced");
                idle(session);
                Command.shell("echo x > " + target.resolve("f"));
                Recorder seen = new Recorder();
                assertEquals(42, seen.until(session, Access.WRITE, "f").directory());
            }
        }
    }

    @Test
    void aFloodedDiskIsSampledAndItsNamesAreNot() throws Exception {
        Command.shell("cd " + root + "; mkdir d; seq 1 3000 | xargs touch");
        start(
                "while :; do seq 1 3000 | xargs touch -c; for i in $(seq 1 3000); do echo x > $i; done; done");
        try (FanotifySession session = session(true)) {
            assertTrue(silenced(session, 1), "not silenced");
            Recorder seen = new Recorder();
            Command.shell("cd " + root + "; mv d e");
            seen.until(session, Access.APPEAR, "e");
            assertTrue(seen.events.stream().allMatch(e -> e.scale() >= 1 && e.scale() <= 40));
            stop();
            assertTrue(silenced(session, 0), "still silenced");
            idle(session);
        }
    }

    private double pinRate(Overlays overlays, Path target, boolean sampling) throws Exception {
        try (FanotifySession session = session(sampling)) {
            session.pinned(overlays.pin("p1", target), 42);
            return rate(session);
        }
    }

    private FanotifySession session(boolean sampling) throws IOException {
        FanotifySession session =
                new FanotifySession(false, false, sampling, System::nanoTime, Recorder.SILENT);
        session.watch(List.of(FilePath.of(root.toString())));
        return session;
    }

    private double rate(boolean sampling) throws Exception {
        try (FanotifySession session = session(sampling)) {
            return rate(session);
        }
    }

    /** Accesses a second, over a few of them. */
    private static double rate(FanotifySession session) throws Exception {
        Sum sum = new Sum();
        long start = System.nanoTime();
        EngineLoop.run(session, sum, Duration.ofSeconds(4), () -> false);
        return sum.accesses * 1e9 / (System.nanoTime() - start);
    }

    private static void assertClose(double expected, double actual) {
        assertTrue(
                actual >= expected / 2 && actual <= expected * 2,
                "a rate of " + expected + "/s became " + actual + "/s");
    }

    private static boolean silenced(FanotifySession session, int number) throws Exception {
        return EngineLoop.run(
                session, new Sum(), LIMIT, () -> session.stats().silenced() == number);
    }

    /** With nothing silenced a wait without end stays one: only the wake-up ends it. */
    private static void idle(FanotifySession session) throws Exception {
        EngineLoop.run(session, new Sum(), Duration.ofMillis(200), () -> false);
        assertFalse(session.await(Duration.ofSeconds(1).toNanos()), "events without a writer");
        session.wake();
        assertFalse(session.await(-1));
    }

    private void start(String script) throws IOException {
        writer =
                new ProcessBuilder("/bin/sh", "-ec", "cd " + root + "; " + script)
                        .inheritIO()
                        .start();
    }

    private void stop() throws InterruptedException {
        if (writer != null) {
            writer.destroy();
            writer.waitFor();
        }
    }
}
