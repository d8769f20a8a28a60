package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Checkpoints of what never rests, and freezes for backups, by the daemon that ships. */
@NeedsMounts
class CheckpointIT {
    private static final Duration SOON = Duration.ofSeconds(60);

    private ScratchDisk disk;
    private Daemon daemon;
    private Path profile;
    private Process program;

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(96);
        profile = Files.createDirectories(disk.root().resolve("home/profile"));
        Files.writeString(profile.resolve("f"), "old");
        daemon =
                new Daemon(disk.aside("daemon"))
                        .set("watch.directories", disk.root().toString())
                        .set("pool.size", "64M")
                        .set("checkpoint.interval", "1h")
                        .set("checkpoint.intervals", profile + "=2s, /nowhere=5m")
                        .set("checkpoint.freeze", "2s")
                        .set("stop.timeout", "5s");
        daemon.start();
    }

    @AfterEach
    void tearDown() throws Exception {
        if (program != null) {
            program.destroyForcibly().waitFor();
        }
        daemon.close();
        disk.close();
    }

    /** A copy of what is on the disk, past everything that is mounted over it. */
    private Path backup() throws Exception {
        Path below = disk.aside("below");
        Path copy = disk.aside("copy");
        Command.run("mount", "--bind", disk.root().toString(), below.toString());
        try {
            Command.run("cp", "-a", below.resolve("home") + "/.", copy.toString());
        } finally {
            Command.run("umount", below.toString());
        }
        return copy.resolve("profile");
    }

    private JsonObject pin() throws Exception {
        return daemon.command("pins", "--json")
                .ok()
                .json()
                .getAsJsonArray("pins")
                .get(0)
                .getAsJsonObject();
    }

    /** Epoch milliseconds; 0 if never. */
    private long lastSync() throws Exception {
        JsonElement time = pin().get("last_sync");
        return time.isJsonNull() ? 0 : time.getAsLong();
    }

    /** Replaces two files all the time, never more than one apart. */
    private void startProgram() throws Exception {
        program =
                new ProcessBuilder(
                                "sh",
                                "-c",
                                "cd "
                                        + profile
                                        + "; i=0; echo $i > a; echo $i > b; while :; do i=$((i+1));"
                                        + " echo $i > t; mv t a; echo $i > t; mv t b; done")
                        .start();
        Await.until(SOON, () -> Files.exists(profile.resolve("b")), () -> "it does not start");
    }

    private static void assertOneMoment(Path directory) throws Exception {
        int a = Integer.parseInt(Files.readString(directory.resolve("a")).strip());
        int b = Integer.parseInt(Files.readString(directory.resolve("b")).strip());
        assertTrue(a == b || a == b + 1, a + " " + b);
    }

    @Test
    void whatNeverRestsIsOnDiskWithinItsInterval() throws Exception {
        daemon.command("pin", profile.toString()).ok();
        startProgram();
        long last = lastSync();
        for (int i = 0; i < 3; i++) {
            long before = last;
            Await.until(
                    SOON, () -> lastSync() > before, () -> "never written: " + daemon.logText());
            last = lastSync();
            assertTrue(pin().get("unsynced_files").getAsInt() > 0, "it goes on");
        }
        daemon.kill();
        // Programs go on; what is on the disk is a checkpoint.
        String then = Files.readString(profile.resolve("a"));
        Await.until(
                SOON,
                () -> !Files.readString(profile.resolve("a")).equals(then),
                () -> "it stands still");
        daemon.start();
        assertTrue(daemon.pinned(profile), daemon::logText);
        program.destroyForcibly().waitFor();
        daemon.command("sync", profile.toString()).ok();
        assertOneMoment(backup());
    }

    @Test
    void aBackupOfTheDiskDuringAFreezeHasEverything() throws Exception {
        daemon.command("pin", profile.toString()).ok();
        Files.writeString(profile.resolve("f"), "new");
        Daemon.Outcome frozen = daemon.command("freeze", "--for", "1h", "--json").ok();
        assertEquals(List.of(), List.copyOf(frozen.json().getAsJsonArray("pins").asList()));
        assertFalse(daemon.pinned(profile));
        assertEquals(
                "frozen",
                daemon.command("status", "--json").ok().json().get("state").getAsString());
        Files.writeString(profile.resolve("g"), "written meanwhile");
        Path copy = backup();
        assertEquals("new", Files.readString(copy.resolve("f")));
        assertEquals("written meanwhile", Files.readString(copy.resolve("g")));
        Daemon.Outcome refused = daemon.command("pin", profile.toString());
        assertEquals(1, refused.status());
        assertTrue(refused.err().contains("frozen"), refused.toString());
        daemon.command("thaw").ok();
        // It had been pinned by hand.
        assertTrue(daemon.pinned(profile), daemon::logText);
        assertEquals("It was not frozen.\n", daemon.command("thaw").ok().out());
    }

    @Test
    void aFreezeNamesWhatIsInUseAndTakesItAwayAsSoonAsItCan() throws Exception {
        daemon.command("pin", profile.toString()).ok();
        try (RandomAccessFile open = new RandomAccessFile(profile.resolve("f").toFile(), "rw")) {
            open.write("new".getBytes(StandardCharsets.US_ASCII));
            Daemon.Outcome frozen = daemon.command("freeze");
            assertEquals(1, frozen.status(), frozen.toString());
            assertTrue(
                    frozen.out().contains(profile + ": still in RAM")
                            && frozen.out().contains("use"),
                    frozen.toString());
            assertEquals("new", Files.readString(backup().resolve("f")));
            open.write("er".getBytes(StandardCharsets.US_ASCII));
            Await.until(
                    SOON,
                    () -> Files.readString(backup().resolve("f")).equals("newer"),
                    () -> "not written: " + daemon.logText());
            assertTrue(daemon.pinned(profile));
        }
        Await.until(SOON, () -> !daemon.pinned(profile), () -> "kept: " + daemon.logText());
    }

    @Test
    void aFreezeEndsByItself() throws Exception {
        daemon.command("pin", profile.toString()).ok();
        daemon.command("freeze", "--for", "1s").ok();
        Await.until(SOON, () -> daemon.pinned(profile), () -> "no thaw: " + daemon.logText());
        assertEquals(2, daemon.command("freeze", "--for", "soon").status());
        assertEquals(1, daemon.command("freeze", "--for", "2d").status());
    }
}
