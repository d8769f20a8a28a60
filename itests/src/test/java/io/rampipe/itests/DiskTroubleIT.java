package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import io.rampipe.linux.LinuxException;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.tree.Snapshot;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * The daemon that ships, on a real ext4 disk that is full, read-only, or gone with the power: the
 * data stays where it is, everybody is told, and everything reaches the disk when that is possible
 * again. (A disk that fails is the business of itests/ioerrors.)
 */
@NeedsMounts
@Timeout(240)
class DiskTroubleIT {
    private static final Duration SOON = Duration.ofSeconds(90);

    /** New, grown, overwritten, renamed and removed files and directories. */
    private static final String CHANGE =
            "head -c 6000000 /dev/urandom > new; head -c 3000000 /dev/urandom >> data;"
                    + " head -c 500000 /dev/urandom | dd of=database bs=4k seek=7 conv=notrunc 2>&1;"
                    + " mv d/b d/renamed; rm d/a; rm -r e; mkdir -p x/y; echo z > x/y/z;"
                    + " chmod 600 d";

    /** Waits for the pin's end, unlike the rest. */
    private static final String RENAME = "mv f moved; mv moved x/y/";

    private ScratchDisk disk;
    private Daemon daemon;
    private Path profile;
    private Path filler;
    private Snapshot before;
    private Snapshot after;

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(96);
        filler = disk.root().resolve("filler");
        profile = Files.createDirectories(disk.root().resolve("home/profile"));
        Command.shell(
                "cd "
                        + profile
                        + "; head -c 1000000 /dev/urandom > data; mkdir d e f; echo a > d/a;"
                        + " head -c 2000000 /dev/urandom > database; echo b > d/b; echo c > e/c;"
                        + " echo g > f/g; sync -f .");
        before = Trees.snapshot(profile);
        daemon =
                new Daemon(disk.aside("daemon"))
                        .set("watch.directories", disk.root().toString())
                        .set("pool.size", "64M")
                        // What is pinned is this test's business alone.
                        .set("pin.rate", "1000")
                        .set("checkpoint.interval", "1s")
                        .set("stop.timeout", "2s");
    }

    @AfterEach
    void tearDown() throws Exception {
        daemon.close();
        disk.close();
    }

    private void pinAndChange() throws Exception {
        daemon.command("pin", profile.toString()).ok();
        change(CHANGE);
    }

    private void change(String script) throws Exception {
        Command.shell("cd " + profile + "; " + script);
        after = Trees.snapshot(profile);
    }

    private void fill() throws Exception {
        Command.shell("dd if=/dev/zero of='" + filler + "' bs=64k 2>/dev/null || true");
    }

    private void assertInRam() throws IOException {
        assertEquals(List.of(), after.differences(Trees.snapshot(profile)), "what programs see");
    }

    /** What the disk holds, past everything mounted over it. */
    private Snapshot onDisk() throws IOException {
        Path view = disk.aside("view");
        Command.run("mount", "--bind", disk.root().toString(), view.toString());
        try {
            return Trees.snapshot(view.resolve("home/profile"));
        } finally {
            Command.run("umount", view.toString());
        }
    }

    /** Unmounts and mounts the disk, so that nothing is seen but what is on it. */
    private void assertOnDisk(Snapshot expected) throws Exception {
        disk.unmount();
        disk.mount();
        assertEquals(List.of(), expected.differences(Trees.snapshot(profile)), "the disk");
    }

    private void awaitOnDisk() throws Exception {
        Await.until(
                SOON,
                () -> {
                    try {
                        return after.differences(onDisk()).isEmpty();
                    } catch (LinuxException e) {
                        // Looked at while it was being written.
                        return false;
                    }
                },
                () -> "never written: " + daemon.logText());
    }

    /** Status, pins and log name the target, the cause and what to do; the pin is in force. */
    private void awaitToldEverywhere(String... parts) throws Exception {
        Await.until(
                SOON,
                () ->
                        daemon.pin(profile)
                                .orElseThrow()
                                .get("state")
                                .getAsString()
                                .equals("failing"),
                () -> "not failing: " + daemon.logText());
        JsonObject pin = daemon.pin(profile).orElseThrow();
        String status = daemon.command("status", "--json").ok().json().get("problems").toString();
        for (String part : parts) {
            assertTrue(pin.get("problem").getAsString().contains(part), pin.toString());
            assertTrue(status.contains(part), status);
            assertTrue(daemon.logText().contains(part), daemon::logText);
            assertTrue(daemon.command("pins").ok().out().contains(part));
        }
        assertTrue(status.contains(profile.toString()), status);
        assertTrue(pin.get("unsynced_bytes").getAsLong() > 0, pin.toString());
    }

    private void assertStopFailsLoudly(String... parts) throws Exception {
        int from = daemon.logText().length();
        assertNotEquals(0, daemon.stop());
        String said = daemon.logText().substring(from);
        for (String part : List.of(profile.toString(), "NOT wholly on disk", "rampipe-rescue")) {
            assertTrue(said.contains(part), said);
        }
        for (String part : parts) {
            assertTrue(said.contains(part), said);
        }
        assertTrue(mounted(profile), "the target is not mounted any more");
        assertTrue(mounted(daemon.pool()), "the pool is not mounted any more");
    }

    private static boolean mounted(Path point) throws IOException {
        return Files.readString(Path.of("/proc/self/mountinfo"), StandardCharsets.ISO_8859_1)
                .contains(" " + point + " ");
    }

    @Test
    void aPowerCutBeforeTheFirstCheckpointLosesNothingThatWasThereBefore() throws Exception {
        daemon.set("checkpoint.interval", "1h").start();
        pinAndChange();
        change(RENAME);
        Path copy = disk.aside("copy");
        Path image = copy.resolve("disk.img");
        Path root = Files.createDirectories(copy.resolve("disk"));
        Command.run(
                "cp",
                "--sparse=always",
                disk.root().resolveSibling("disk.img").toString(),
                image.toString());
        Command.run("mount", "-o", "loop", image.toString(), root.toString());
        try (Daemon next = new Daemon(disk.aside("next"))) {
            next.set("watch.directories", root.toString()).start();
            assertEquals(
                    List.of(),
                    before.differences(Trees.snapshot(root.resolve("home/profile"))),
                    next::logText);
            assertEquals(0, next.stop(), next::logText);
        } finally {
            Command.run("umount", root.toString());
        }
        assertInRam();
        assertEquals(0, daemon.stop(), daemon::logText);
        assertOnDisk(after);
    }

    @Test
    void aStopWithTheDiskFullFailsLoudlyAndKeepsEverythingForTheNextDaemon() throws Exception {
        daemon.start();
        pinAndChange();
        fill();
        // Whatever a checkpoint has brought to disk before is not enough.
        change("head -c 9000000 /dev/urandom > late; echo more >> data");
        assertStopFailsLoudly("make room");
        assertInRam();
        change("echo 'after the stop' > new");
        assertInRam();
        Files.delete(filler);
        daemon.start();
        awaitOnDisk();
        assertInRam();
        change(RENAME);
        assertEquals(0, daemon.stop(), daemon::logText);
        assertFalse(mounted(profile));
        assertFalse(mounted(daemon.pool()));
        assertOnDisk(after);
    }

    @Test
    void whatAStopWithTheDiskFullHasLeftIsBroughtToDiskByTheRescue() throws Exception {
        daemon.start();
        pinAndChange();
        change(RENAME);
        fill();
        change("head -c 9000000 /dev/urandom > late; echo more >> data");
        assertStopFailsLoudly("make room");
        String rescue = Daemon.RESCUE + " --apply --runtime " + daemon.runtime();
        assertTrue(
                Command.shell(rescue + " " + disk.root() + " 2>&1 || true")
                        .contains(profile.toString()));
        assertInRam();
        Files.delete(filler);
        Command.shell(rescue + " " + disk.root() + " 2>&1");
        assertFalse(mounted(profile));
        assertOnDisk(after);
    }

    @Test
    void aFullDiskIsToldAndEverythingIsWrittenOnceThereIsRoom() throws Exception {
        daemon.set("checkpoint.interval", "1h").start();
        daemon.command("pin", profile.toString()).ok();
        fill();
        change(CHANGE);
        daemon.set("checkpoint.interval", "1s").configure();
        assertEquals(1, daemon.command("sync", profile.toString()).status());
        awaitToldEverywhere("make room", "are needed", "are free");
        Daemon.Outcome unpin = daemon.command("unpin", profile.toString());
        assertEquals(1, unpin.status(), unpin.toString());
        assertTrue(unpin.err().contains("make room"), unpin.toString());
        assertInRam();
        change("echo later > d/later");
        assertEquals(List.of(), before.differences(onDisk()), "the disk");
        Files.delete(filler);
        awaitOnDisk();
        assertInRam();
        Await.until(
                SOON,
                () -> daemon.pin(profile).orElseThrow().get("state").getAsString().equals("pinned"),
                daemon::logText);
        assertEquals("", daemon.pin(profile).orElseThrow().get("problem").getAsString());
        assertEquals(0, daemon.stop(), daemon::logText);
        assertOnDisk(after);
    }

    @Test
    void aDiskThatBecomesReadOnlyIsToldAndEverythingIsWrittenOnceItIsWritable() throws Exception {
        daemon.set("checkpoint.interval", "1h").start();
        daemon.command("pin", profile.toString()).ok();
        Command.run("mount", "-o", "remount,ro", disk.root().toString());
        change(CHANGE);
        assertEquals(1, daemon.command("sync", profile.toString()).status());
        awaitToldEverywhere("read-only", "remount,rw " + disk.root());
        Daemon.Outcome unpin = daemon.command("unpin", profile.toString());
        assertEquals(1, unpin.status(), unpin.toString());
        assertTrue(unpin.err().contains("read-only"), unpin.toString());
        change("echo later > d/later");
        assertStopFailsLoudly("read-only", "remount,rw " + disk.root());
        assertInRam();
        daemon.set("checkpoint.interval", "1s").start();
        awaitToldEverywhere("read-only");
        Command.run("mount", "-o", "remount,rw", disk.root().toString());
        awaitOnDisk();
        assertInRam();
        assertEquals(0, daemon.stop(), daemon::logText);
        assertOnDisk(after);
    }

    @Test
    void nothingIsPinnedOnAReadOnlyDiskAndWhatIsCleanLeavesIt() throws Exception {
        daemon.start();
        pinAndChange();
        awaitOnDisk();
        Command.run("mount", "-o", "remount,ro", disk.root().toString());
        daemon.command("unpin", profile.toString()).ok();
        Daemon.Outcome pin = daemon.command("pin", profile.toString());
        assertEquals(1, pin.status(), pin.toString());
        assertTrue(pin.err().contains("read-only"), pin.toString());
        assertEquals(0, daemon.stop(), daemon::logText);
        assertOnDisk(after);
    }
}
