package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What was hot is pinned at the next start, before anybody opens it. */
@NeedsMounts
@Timeout(240)
class WarmStartIT {
    private static final Duration SOON = Duration.ofSeconds(40);

    private ScratchDisk disk;
    private Daemon daemon;
    private Path hot;
    private Path known;

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(96);
        hot = Files.createDirectories(disk.root().resolve("home/hot"));
        known = disk.aside("daemon").resolve("state/hot");
        daemon =
                new Daemon(disk.aside("daemon"))
                        .set("watch.directories", disk.root().toString())
                        .set("pool.size", "64M")
                        .set("pin.min_time", "1s")
                        .set("stop.timeout", "5s");
    }

    @AfterEach
    void tearDown() throws Exception {
        daemon.close();
        disk.close();
    }

    private void makeHot() throws Exception {
        Await.until(
                SOON,
                () -> {
                    Files.writeString(
                            hot.resolve("log"),
                            "x",
                            StandardOpenOption.CREATE,
                            StandardOpenOption.APPEND);
                    return daemon.pinned(hot);
                },
                () -> "not pinned: " + daemon.logText());
        // It is seen to be hot while it is pinned.
        Await.until(
                SOON,
                () -> {
                    Files.writeString(hot.resolve("log"), "x", StandardOpenOption.APPEND);
                    return Files.exists(known);
                },
                () -> known + " is not written");
    }

    @Test
    void aFileThatIsNeverClosedAgainIsServedFromRamFromItsOpenOn() throws Exception {
        daemon.start();
        makeHot();
        assertEquals(0, daemon.stop(), daemon::logText);
        assertFalse(mounted());

        daemon.start();
        assertTrue(mounted(), "when it is ready: " + daemon.logText());
        try (OutputStream program =
                Files.newOutputStream(hot.resolve("log"), StandardOpenOption.APPEND)) {
            long before = Files.size(below());
            program.write(new byte[10_000]);
            assertEquals(before, Files.size(below()), "it is not on disk at once");
            assertTrue(daemon.pinned(hot));
        }
        assertEquals(0, daemon.stop(), daemon::logText);
        assertTrue(Files.size(hot.resolve("log")) > 10_000);
    }

    /** Such as a database's: while it runs, nothing can be mounted over them. */
    @Test
    void whatAProgramKeepsOpenIsPinnedBeforeTheProgramStartsAgain() throws Exception {
        daemon.start();
        try (OutputStream program = Files.newOutputStream(hot.resolve("wal"))) {
            Await.until(
                    SOON,
                    () -> {
                        program.write(1);
                        return daemon.logText().contains("not pinned: " + hot);
                    },
                    () -> "not seen: " + daemon.logText());
            // It takes some tries to know that it is kept open.
            Await.until(
                    SOON,
                    () -> {
                        program.write(1);
                        String why = daemon.command("why", hot.toString()).ok().out();
                        return why.matches("(?s).*last refused, [1-9][0-9]+ times.*");
                    },
                    () -> "not refused: " + daemon.logText());
            long seen = System.nanoTime();
            Await.until(
                    SOON,
                    () -> {
                        program.write(1);
                        return System.nanoTime() - seen > Duration.ofSeconds(3).toNanos();
                    },
                    () -> "");
            assertFalse(daemon.pinned(hot));
            assertEquals(0, daemon.stop(), daemon::logText);
        }
        daemon.start();
        assertTrue(mounted(), daemon::logText);
    }

    @Test
    void whatNobodyUsesIsUnpinnedAndForgotten() throws Exception {
        daemon.set("warm.time", "2s").start();
        makeHot();
        assertEquals(0, daemon.stop(), daemon::logText);
        for (int i = 0; i < 3; i++) {
            daemon.start();
            assertTrue(mounted(), i + ": " + daemon.logText());
            Await.until(SOON, () -> !daemon.pinned(hot), () -> "still pinned: " + daemon.logText());
            assertEquals(0, daemon.stop(), daemon::logText);
        }
        daemon.start();
        assertFalse(mounted(), "three times for nothing: " + daemon.logText());
    }

    @Test
    void whatAUserHasUnpinnedIsForgotten() throws Exception {
        daemon.start();
        makeHot();
        // It is hot, and would be pinned again.
        daemon.set("pin.rate", "1000").configure();
        daemon.command("reload").ok();
        daemon.command("unpin", hot.toString()).ok();
        assertEquals(0, daemon.stop(), daemon::logText);
        daemon.set("pin.rate", "1").start();
        assertFalse(mounted(), daemon::logText);
    }

    @Test
    void switchedOffItForgets() throws Exception {
        daemon.start();
        makeHot();
        assertEquals(0, daemon.stop(), daemon::logText);
        daemon.set("warm.start", "false").start();
        assertFalse(mounted());
        assertFalse(Files.exists(known));
    }

    @Test
    void whatIsThereNoLongerOrIsSomethingElseNowIsNotPinned() throws Exception {
        Path outside = Files.createDirectories(disk.root().resolve("elsewhere"));
        daemon.start();
        makeHot();
        assertEquals(0, daemon.stop(), daemon::logText);
        Files.move(hot, disk.root().resolve("home/moved"));
        Files.createSymbolicLink(hot, outside);
        daemon.start();
        assertEquals(0, daemon.command("pins", "--json").ok().json().getAsJsonArray("pins").size());
    }

    @Test
    void aDamagedFileIsNamedAndNothingElseHappens() throws Exception {
        Files.writeString(known, "version=1\nrubbish");
        daemon.start();
        assertTrue(daemon.logText().contains("what was hot before is not known"), daemon::logText);
        makeHot();
    }

    private boolean mounted() throws Exception {
        return Files.readString(Path.of("/proc/self/mountinfo")).contains(" " + hot + " ");
    }

    /** The log on disk, beneath the pin. */
    private Path below() throws Exception {
        Path where = disk.aside("below");
        if (!Files.exists(where.resolve("home"))) {
            Command.run("mount", "--bind", disk.root().toString(), where.toString());
        }
        return where.resolve("home/hot/log");
    }
}
