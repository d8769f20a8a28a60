package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The daemon that ships, on a real ext4 disk: what a user would notice. */
@NeedsMounts
@Timeout(240)
class DaemonIT {
    private static final Duration SOON = Duration.ofSeconds(40);

    private ScratchDisk disk;
    private Daemon daemon;
    private Path profile;

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(96);
        profile = Files.createDirectories(disk.root().resolve("home/profile"));
        daemon =
                new Daemon(disk.aside("daemon"))
                        .set("watch.directories", disk.root().toString())
                        .set("pool.size", "64M")
                        .set("rate.half_life", "2s")
                        .set("pin.min_time", "1s")
                        .set("stop.timeout", "5s");
    }

    @AfterEach
    void tearDown() throws Exception {
        daemon.close();
        disk.close();
    }

    @Test
    void aHotDirectoryIsFoundPinnedServedAndWrittenBackWhenCold() throws Exception {
        Path hot = profile.resolve("hot.txt");
        Files.writeString(hot, "first\n");
        Files.setPosixFilePermissions(hot, PosixFilePermissions.fromString("rw-r-----"));
        Files.writeString(profile.resolve("cold.txt"), "cold\n");
        daemon.start();
        StringBuilder expected = new StringBuilder("first\n");
        Await.until(
                SOON,
                () -> {
                    append(hot, expected);
                    return daemon.pinned(profile);
                },
                () -> "not pinned: " + daemon.logText());
        for (int i = 0; i < 100; i++) {
            append(hot, expected);
        }
        Files.writeString(profile.resolve("new.txt"), "new\n");
        Files.delete(profile.resolve("cold.txt"));
        assertEquals(
                "overlay",
                Command.run("stat", "-f", "-c", "%T", profile.toString())
                        .strip()
                        .replace("overlayfs", "overlay"));
        Await.until(SOON, () -> !daemon.pinned(profile), () -> "never cold: " + daemon.logText());
        assertEquals(0, daemon.stop(), daemon::logText);
        disk.unmount();
        disk.mount();
        assertEquals(expected.toString(), Files.readString(hot));
        assertEquals(
                "rw-r-----", PosixFilePermissions.toString(Files.getPosixFilePermissions(hot)));
        assertEquals("new\n", Files.readString(profile.resolve("new.txt")));
        assertFalse(Files.exists(profile.resolve("cold.txt")));
    }

    @Test
    void aStopUnpinsAndWritesEverything() throws Exception {
        daemon.start();
        Path file = profile.resolve("f");
        Files.writeString(file, "old");
        daemon.command("pin", profile.toString()).ok();
        Files.writeString(file, "new");
        assertEquals(0, daemon.stop(), daemon::logText);
        assertEquals("new", Files.readString(file));
        assertFalse(mountTable().contains(" overlay rampipe"), DaemonIT::mountTable);
        assertTrue(daemon.logText().contains("unpinned " + profile), daemon::logText);
    }

    @Test
    void aTargetInUseStaysPinnedIsOnDiskAllTheSameAndTheStopSaysSo() throws Exception {
        daemon.start();
        Path file = profile.resolve("f");
        Files.writeString(file, "old");
        daemon.command("pin", profile.toString()).ok();
        try (RandomAccessFile open = new RandomAccessFile(file.toFile(), "rw")) {
            open.write("new".getBytes(StandardCharsets.US_ASCII));
            Daemon.Outcome busy = daemon.command("unpin", profile.toString());
            assertEquals(1, busy.status(), busy.toString());
            assertTrue(
                    busy.err().contains("use") && busy.err().contains(profile.toString()),
                    busy.toString());
            assertEquals("new", onDisk("home/profile/f"));
            assertNotEquals(0, daemon.stop());
            assertTrue(daemon.logText().contains("still in RAM"), daemon::logText);
            open.write("er".getBytes(StandardCharsets.US_ASCII));
        }
        // The next daemon takes it over.
        daemon.start();
        assertTrue(daemon.pinned(profile), daemon::logText);
        assertEquals(0, daemon.stop(), daemon::logText);
        assertEquals("newer", Files.readString(file));
    }

    @Test
    void aKilledDaemonLosesNothingAndTheNextTakesOver() throws Exception {
        daemon.start();
        Path file = profile.resolve("f");
        Files.writeString(file, "old");
        daemon.command("pin", profile.toString()).ok();
        Files.writeString(file, "in RAM only");
        daemon.kill();
        Files.writeString(file, "after the death");
        daemon.start();
        Await.until(
                SOON,
                () ->
                        daemon.pin(profile)
                                .filter(p -> p.get("state").getAsString().equals("pinned"))
                                .isPresent(),
                daemon::logText);
        daemon.command("unpin", profile.toString()).ok();
        assertEquals(0, daemon.stop(), daemon::logText);
        assertEquals("after the death", Files.readString(file));
    }

    @Test
    void aPinWhoseRecordIsDamagedIsTakenOverAllTheSame() throws Exception {
        daemon.start();
        Path file = profile.resolve("f");
        Files.writeString(file, "old");
        daemon.command("pin", profile.toString()).ok();
        Files.writeString(file, "in RAM only");
        daemon.kill();
        Path record = Path.of(Command.shell("ls " + daemon.pool() + "/../pins/*.pin").strip());
        Files.writeString(record, "nonsense");
        daemon.start();
        Await.until(
                SOON,
                () ->
                        daemon.pin(profile)
                                .filter(p -> p.get("state").getAsString().equals("pinned"))
                                .isPresent(),
                daemon::logText);
        assertEquals("in RAM only", Files.readString(file));
        assertEquals("nonsense", Files.readString(Path.of(record + ".damaged-1")));
        daemon.command("unpin", profile.toString()).ok();
        assertEquals(0, daemon.stop(), daemon::logText);
        assertEquals("in RAM only", onDisk("home/profile/f"));
    }

    @Test
    void ramOfWhichNothingIsKnownIsNeverThrownAway() throws Exception {
        daemon.start();
        daemon.command("pin", profile.toString()).ok();
        daemon.command("unpin", profile.toString()).ok();
        Path data = Files.createDirectories(daemon.pool().resolve("abc/upper")).resolve("data");
        Files.writeString(data, "nowhere else");
        daemon.kill();
        daemon.start();
        assertTrue(
                daemon.command("status").ok().out().contains(daemon.pool() + "/abc"),
                daemon::logText);
        daemon.stop();
        assertEquals("nowhere else", Files.readString(data));
        Command.run("umount", daemon.pool().toString());
    }

    @Test
    void aFullDiskKeepsThePinAndTellsAndLosesNothing() throws Exception {
        daemon.start();
        Path file = profile.resolve("f");
        Files.write(file, new byte[1 << 20]);
        daemon.command("pin", profile.toString()).ok();
        byte[] content = random(20 << 20);
        Files.write(file, content);
        Path filler = disk.root().resolve("filler");
        Command.shell("dd if=/dev/zero of='" + filler + "' bs=1M 2>/dev/null || true");
        Daemon.Outcome full = daemon.command("unpin", profile.toString());
        assertEquals(1, full.status(), full.toString());
        assertTrue(full.err().contains("space") || full.err().contains("room"), full.toString());
        assertTrue(daemon.pinned(profile));
        assertArrayEquals(content, Files.readAllBytes(file));
        assertNotEquals(0, daemon.stop(), daemon::logText);
        assertArrayEquals(content, Files.readAllBytes(file));
        Files.delete(filler);
        daemon.start();
        daemon.command("unpin", profile.toString()).ok();
        assertEquals(0, daemon.stop(), daemon::logText);
        disk.unmount();
        disk.mount();
        assertArrayEquals(content, Files.readAllBytes(file));
    }

    @Test
    void programsThatOutgrowThePoolSeeNoErrorWhileTheDiskHasRoom() throws Exception {
        disk.close();
        disk = ScratchDisk.ext4(400);
        profile = Files.createDirectories(disk.root().resolve("home/profile"));
        daemon =
                new Daemon(disk.aside("daemon"))
                        .set("watch.directories", disk.root().toString())
                        .set("pool.size", "64M")
                        .set("memory.reserve", "64M")
                        .start();
        Files.writeString(profile.resolve("f"), "x");
        daemon.command("pin", profile.toString()).ok();
        byte[] piece = random(1 << 20);
        try (var out = Files.newOutputStream(profile.resolve("large"))) {
            for (int i = 0; i < 150; i++) {
                out.write(piece);
            }
        }
        // Manual pins too make room when the pool is full.
        Await.until(SOON, () -> !daemon.pinned(profile), () -> "still pinned: " + daemon.logText());
        assertEquals(0, daemon.stop(), daemon::logText);
        disk.unmount();
        disk.mount();
        byte[] all = Files.readAllBytes(profile.resolve("large"));
        assertEquals(150 << 20, all.length);
        for (int i = 0; i < 150; i++) {
            assertTrue(
                    Arrays.equals(all, i << 20, i + 1 << 20, piece, 0, 1 << 20), "megabyte " + i);
        }
    }

    @Test
    void anOwnerWhoSwapsInALinkCannotRedirectTheSyncback() throws Exception {
        Path outside = Files.createDirectories(disk.root().resolve("outside"));
        Files.writeString(outside.resolve("f"), "precious");
        daemon.start();
        Files.writeString(profile.resolve("f"), "old");
        daemon.command("pin", profile.toString()).ok();
        Files.writeString(profile.resolve("f"), "new");
        Path moved = disk.root().resolve("home2");
        Files.move(disk.root().resolve("home"), moved);
        Path decoy = Files.createDirectories(disk.root().resolve("home"));
        Files.createSymbolicLink(decoy.resolve("profile"), outside);
        assertEquals(0, daemon.stop(), daemon::logText);
        assertEquals("precious", Files.readString(outside.resolve("f")));
        assertEquals("new", Files.readString(moved.resolve("profile/f")));
        try (var names = Files.list(outside)) {
            assertEquals(1, names.count());
        }
    }

    @Test
    void aWrongConfigurationIsRefusedAndTheLastOneStaysInForce() throws Exception {
        daemon.set("pin.rate", "3.0").start();
        daemon.set("pin.rate", "lots").configure();
        Await.until(
                SOON,
                () -> daemon.logText().contains("lots"),
                () -> "not refused: " + daemon.logText());
        assertTrue(daemon.logText().contains("pin.rate"), daemon::logText);
        assertTrue(daemon.command("config", "pin.rate").ok().out().contains("3.0"));
        daemon.set("pin.rate", "4.0").set("pin.rote", "1").configure();
        Await.until(
                SOON,
                () -> daemon.logText().contains("pin.rote"),
                () -> "not refused: " + daemon.logText());
        assertTrue(daemon.command("config", "pin.rate").ok().out().contains("3.0"));
    }

    @Test
    void commandsAnswerWithProperStatusesAndReasons() throws Exception {
        daemon.start();
        Path file = profile.resolve("f");
        Files.writeString(file, "x");
        JsonObject why =
                daemon.command("why", file.toString(), "--json")
                        .ok()
                        .json()
                        .getAsJsonArray("paths")
                        .get(0)
                        .getAsJsonObject();
        assertEquals("cold", why.get("state").getAsString(), why.toString());
        try (var open = Files.newOutputStream(file, StandardOpenOption.APPEND)) {
            open.write('y');
            Daemon.Outcome refused = daemon.command("pin", profile.toString());
            assertEquals(1, refused.status(), refused.toString());
            assertTrue(refused.err().contains(file.toString()), refused.toString());
        }
        Daemon.Outcome outside = daemon.command("pin", "/etc");
        assertEquals(1, outside.status(), outside.toString());
        assertEquals(2, daemon.command("nonsense").status());
        assertTrue(daemon.command("strategies", "--json").ok().out().contains("overlayfs"));
        assertEquals(
                "watching",
                daemon.command("status", "--json").ok().json().get("state").getAsString());
        assertEquals(0, daemon.stop());
        assertEquals(3, daemon.command("status").status());
    }

    @Test
    void aHotFileInADirectoryThatIsNotSafeIsPinnedAlone() throws Exception {
        Path neighbour = profile.resolve("held");
        Path log = profile.resolve("app.log");
        Files.writeString(neighbour, "x");
        Files.writeString(log, "");
        daemon.start();
        StringBuilder expected = new StringBuilder();
        try (var held = Files.newOutputStream(neighbour, StandardOpenOption.APPEND)) {
            Await.until(
                    Duration.ofSeconds(60),
                    () -> {
                        append(log, expected);
                        return daemon.pinned(log);
                    },
                    () -> "not pinned: " + daemon.logText());
            append(log, expected);
            assertEquals(0, daemon.stop(), daemon::logText);
            held.write('y');
        }
        disk.unmount();
        disk.mount();
        assertEquals(expected.toString(), Files.readString(log));
        assertEquals("xy", Files.readString(neighbour));
    }

    @Test
    void aFileThatItsProgramReplacesIsNeverPinnedAlone() throws Exception {
        Path neighbour = profile.resolve("held");
        Path prefs = profile.resolve("prefs");
        Path fresh = profile.resolve("fresh");
        Files.writeString(neighbour, "x");
        daemon.start();
        try (var held = Files.newOutputStream(neighbour, StandardOpenOption.APPEND)) {
            // The directory is in use, and to mount over the file would break its program's rename.
            Await.until(
                    Duration.ofSeconds(60),
                    () -> {
                        Files.writeString(fresh, "saved");
                        Files.move(fresh, prefs, StandardCopyOption.ATOMIC_MOVE);
                        return daemon.logText().contains(prefs + " is replaced");
                    },
                    () -> "not told: " + daemon.logText());
            held.write('y');
            assertFalse(daemon.pinned(prefs));
        }
        assertEquals(0, daemon.stop(), daemon::logText);
        assertEquals("saved", Files.readString(prefs));
    }

    @Test
    void programsAreNotDisturbedWhileTheirFilesArePinnedAndUnpinnedUnderThem() throws Exception {
        daemon.start();
        Path file = profile.resolve("f");
        Files.writeString(file, "");
        StringBuilder expected = new StringBuilder();
        AtomicBoolean done = new AtomicBoolean();
        Thread writer =
                new Thread(
                        () -> {
                            while (!done.get()) {
                                append(file, expected);
                                // Many opens a second, but not so many bytes that the disk fills.
                                LockSupport.parkNanos(100_000);
                            }
                        });
        writer.start();
        int pinnings = 0;
        try {
            for (int i = 0; i < 60; i++) {
                pinnings += daemon.command("pin", profile.toString()).status() == 0 ? 1 : 0;
                daemon.command("unpin", profile.toString());
            }
        } finally {
            done.set(true);
            writer.join();
        }
        assertEquals(0, daemon.stop(), daemon::logText);
        assertTrue(pinnings > 0, "never pinned: " + daemon.logText());
        assertEquals(expected.toString(), Files.readString(file));
    }

    private static void append(Path file, StringBuilder model) {
        try {
            String line = "line " + model.length() + "\n";
            Files.writeString(file, line, StandardOpenOption.APPEND);
            model.append(line);
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    private static byte[] random(int length) {
        byte[] bytes = new byte[length];
        new Random(length).nextBytes(bytes);
        return bytes;
    }

    /** What the disk holds, past everything mounted over it. */
    private String onDisk(String path) throws IOException {
        Path view = disk.aside("view");
        Command.run("mount", "--bind", disk.root().toString(), view.toString());
        try {
            return Files.readString(view.resolve(path));
        } finally {
            Command.run("umount", view.toString());
        }
    }

    private static String mountTable() {
        try {
            return Files.readString(Path.of("/proc/self/mountinfo"));
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }
}
