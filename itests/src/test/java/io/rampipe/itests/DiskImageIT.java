package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.lab.InLab;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Raw disk images as the block devices that they are, by the daemon and the rescue that ship. */
@InLab(seconds = 400, memory = 1536)
class DiskImageIT {
    private static final Duration SOON = Duration.ofSeconds(120);

    private ScratchDisk disk;
    private Daemon daemon;
    private Path image;
    private Path mount;

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(300);
        Path directory = Files.createDirectories(disk.root().resolve("images"));
        image = directory.resolve("disk.img");
        mount = disk.aside("mount");
        Command.run("truncate", "-s", "64M", image.toString());
        Command.run("mkfs.ext4", "-q", "-F", image.toString());
        daemon =
                new Daemon(disk.aside("daemon"))
                        .set("watch.directories", disk.root().toString())
                        .set("pool.size", "256M")
                        .set("strategy.order", "dmsnapshot, overlayfs")
                        .set("dmsnapshot.block", "*.img")
                        .set("dmsnapshot.min_size", "1M")
                        .set("memory.reserve", "16M")
                        .set("checkpoint.interval", "1h")
                        .set("stop.timeout", "20s");
    }

    @AfterEach
    void tearDown() throws Exception {
        Command.shell("! mountpoint -q " + mount + " || umount " + mount);
        daemon.close();
        disk.close();
        assertEquals(
                "No devices found", Command.run("dmsetup", "info", "-c", "--noheadings").strip());
    }

    private JsonObject pin() throws Exception {
        return daemon.pin(image).orElseThrow(() -> new AssertionError(daemon.logText()));
    }

    /** How many pins that syncback has. */
    private int pinsOf(String sync) throws Exception {
        for (JsonElement e :
                daemon.command("strategies", "--json").ok().json().getAsJsonArray("strategies")) {
            JsonObject s = e.getAsJsonObject();
            if (s.get("kind").getAsString().equals("sync")
                    && s.get("name").getAsString().equals(sync)) {
                return s.get("pins").getAsInt();
            }
        }
        throw new AssertionError("there is no syncback " + sync);
    }

    private void loopMount() throws Exception {
        Command.run("mount", "-o", "loop", image.toString(), mount.toString());
    }

    private void write(String name) throws Exception {
        Command.shell(
                "dd if=/dev/urandom of="
                        + mount.resolve(name)
                        + " bs=64k count=48 conv=fsync 2>/dev/null");
    }

    private String sums() throws Exception {
        return Command.run("sh", "-ec", "cd " + mount + "; md5sum f*");
    }

    private String type() throws Exception {
        return Command.run("stat", "-c", "%F", image.toString()).strip();
    }

    @Test
    void pinnedMountedWrittenMerged() throws Exception {
        daemon.start();
        daemon.command("pin", image.toString()).ok();
        assertEquals("dmsnapshot", pin().get("strategy").getAsString());
        assertEquals(1, pinsOf("merge"));
        assertEquals("block special file", type());
        loopMount();
        write("f1");
        daemon.command("sync", image.toString()).ok();
        write("f2");
        String sums = sums();
        Daemon.Outcome busy = daemon.command("unpin", image.toString());
        assertNotEquals(0, busy.status(), busy.out());
        assertTrue((busy.out() + busy.err()).contains("losetup"), busy.out() + busy.err());
        write("f3");
        sums = sums();
        Command.run("umount", mount.toString());
        daemon.command("unpin", image.toString()).ok();
        assertTrue(daemon.pin(image).isEmpty());
        assertEquals("regular file", type());
        Command.run("e2fsck", "-fn", image.toString());
        loopMount();
        assertEquals(sums, sums());
        Command.run("umount", mount.toString());
        try (var left = Files.list(disk.root().resolve(".rampipe"))) {
            assertEquals(List.of(), left.toList());
        }
        assertEquals(0, daemon.stop(), daemon::logText);
    }

    @Test
    void theDaemonMayDie() throws Exception {
        daemon.start();
        daemon.command("pin", image.toString()).ok();
        loopMount();
        write("f1");
        daemon.kill();
        write("f2");
        daemon.startAgain("watching|idle");
        Await.until(SOON, () -> daemon.pinned(image), daemon::logText);
        write("f3");
        String sums = sums();
        Command.run("umount", mount.toString());
        assertEquals(0, daemon.stop(), daemon::logText);
        assertEquals("regular file", type());
        Command.run("e2fsck", "-fn", image.toString());
        loopMount();
        assertEquals(sums, sums());
    }

    private void assertRefused(String why) throws Exception {
        Daemon.Outcome refused = daemon.command("pin", image.toString());
        assertNotEquals(0, refused.status(), refused.out());
        assertTrue((refused.out() + refused.err()).contains(why), refused.out() + refused.err());
        assertFalse(daemon.pinned(image));
    }

    private void assertRefusedAndTold(String why) throws Exception {
        assertRefused(why);
        String told = daemon.command("why", image.toString()).out();
        assertTrue(told.contains(why), told);
    }

    @Test
    void whatIsNoDiskImageIsRefused() throws Exception {
        daemon.set("strategy.order", "dmsnapshot");
        daemon.start();
        Files.write(image, "a text\n".repeat(512 << 10).getBytes());
        assertRefusedAndTold("begins as a text");
        Files.delete(image);
        Command.run(
                "sqlite3",
                image.toString(),
                "CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(2000000))");
        Path journal = Files.createFile(image.resolveSibling("disk.img-journal"));
        assertRefusedAndTold("disk.img-journal");
        Files.delete(journal);
        assertRefusedAndTold("SQLite");
        Files.delete(image);
        Command.run("truncate", "-s", "64M", image.toString());
        Command.run("mkfs.ext4", "-q", "-F", image.toString());
        try (RandomAccessFile open = new RandomAccessFile(image.toFile(), "rw")) {
            assertEquals(0, open.getFilePointer());
            // Only the attempt finds out: it asks the kernel for a lease.
            assertRefused("in use");
        }
        daemon.command("pin", image.toString()).ok();
        daemon.command("unpin", image.toString()).ok();
        assertEquals(0, daemon.stop(), daemon::logText);
    }

    private String rescue(int status, String... options) throws Exception {
        List<String> command = new java.util.ArrayList<>(List.of(Daemon.RESCUE));
        command.addAll(List.of(options));
        command.addAll(List.of("--runtime", daemon.runtime().toString(), disk.root().toString()));
        Process p = new ProcessBuilder(command).redirectErrorStream(true).start();
        String text = new String(p.getInputStream().readAllBytes());
        assertEquals(status, p.waitFor(), text);
        return text;
    }

    /** Of both views, when no daemon comes back. */
    @Test
    void theRescueBringsThemToDisk() throws Exception {
        Path file = Files.write(image.resolveSibling("other.raw"), new byte[4_000_001]);
        daemon.start();
        daemon.command("pin", image.toString()).ok();
        daemon.command("pin", file.toString()).ok();
        assertEquals(1, pinsOf("snapshot"));
        loopMount();
        write("f1");
        byte[] data = "what was written".getBytes();
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            f.seek(2_000_000);
            f.write(data);
        }
        daemon.kill();
        write("f2");
        String sums = sums();
        String told = rescue(2);
        assertTrue(told.contains("/dev/loop"), told);
        told = rescue(1, "--apply");
        assertTrue(told.contains("/dev/loop") && told.contains("stays mounted"), told);
        assertEquals("block special file", type());
        Command.run("umount", mount.toString());
        told = rescue(0, "--apply");
        assertTrue(told.contains("everything is on disk"), told);
        assertEquals("regular file", type());
        Command.run("e2fsck", "-fn", image.toString());
        loopMount();
        assertEquals(sums, sums());
        byte[] expected = new byte[4_000_001];
        System.arraycopy(data, 0, expected, 2_000_000, data.length);
        assertTrue(java.util.Arrays.equals(expected, Files.readAllBytes(file)));
        assertEquals(
                "",
                Command.run("sh", "-c", "grep " + daemon.runtime() + " /proc/self/mounts || true"));
    }
}
