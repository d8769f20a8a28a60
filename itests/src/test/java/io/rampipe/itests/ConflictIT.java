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
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Others change the disk behind a pin, or take its mount away, under the daemon that ships. */
@NeedsMounts
@Timeout(240)
class ConflictIT {
    private static final Duration SOON = Duration.ofSeconds(40);

    private ScratchDisk disk;
    private Daemon daemon;
    private Path target;
    private Process other;

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(96);
        target = Files.createDirectories(disk.root().resolve("home/target"));
        Command.shell(
                "cd "
                        + target
                        + "; for f in a b c e; do echo disk > $f; done; mkdir d; echo disk > d/x");
        daemon =
                new Daemon(disk.aside("daemon"))
                        .set("watch.directories", disk.root().toString())
                        .set("pin.rate", "1000")
                        .set("checkpoint.interval", "1s")
                        .set("stop.timeout", "5s");
        daemon.start();
        daemon.command("pin", target.toString()).ok();
    }

    @AfterEach
    void tearDown() throws Exception {
        if (other != null) {
            other.destroyForcibly().waitFor();
        }
        daemon.close();
        disk.close();
    }

    /** In a mount namespace of its own, in which the target is not covered. */
    private void behind(String script) throws IOException {
        Command.run(
                "unshare",
                "-m",
                "--propagation",
                "private",
                "sh",
                "-ec",
                "umount " + target + "; cd " + target + "; " + script);
    }

    private List<JsonObject> conflicts() throws IOException {
        List<JsonObject> all = new ArrayList<>();
        for (JsonElement c :
                daemon.command("conflicts", "--json").ok().json().getAsJsonArray("conflicts")) {
            all.add(c.getAsJsonObject());
        }
        return all;
    }

    private JsonObject conflict(String name) throws IOException {
        return conflicts().stream()
                .filter(c -> c.get("path").getAsString().equals(target.resolve(name).toString()))
                .findFirst()
                .orElseThrow(
                        () -> new AssertionError(name + " is not reported: " + daemon.logText()));
    }

    private void assertBoth(String name, String onDisk, String fromRam) throws IOException {
        assertEquals(onDisk, Files.readString(target.resolve(name)));
        Path copy = Path.of(conflict(name).get("copy").getAsString());
        assertTrue(copy.getFileName().toString().startsWith(name + ".rampipe-conflict-"));
        assertEquals(fromRam, Files.readString(copy));
    }

    @Test
    void changesFromAnotherNamespaceAndThoseInRamAreBothKept() throws Exception {
        Command.shell("cd " + target + "; for f in a b c n d/x; do echo ram >> $f; done; rm e");
        behind(
                "echo others >> a; echo others > t; mv t b; rm c; echo others > n; mv d moved;"
                        + " echo others >> e");
        daemon.command("unpin", target.toString()).ok();
        assertBoth("a", "disk\nothers\n", "disk\nram\n");
        assertBoth("b", "others\n", "disk\nram\n");
        assertBoth("n", "others\n", "ram\n");
        assertEquals("disk\nram\n", Files.readString(target.resolve("c")));
        assertFalse(conflict("c").has("copy"));
        assertEquals("disk\nothers\n", Files.readString(target.resolve("e")));
        assertFalse(conflict("e").has("copy"));
        assertEquals("disk\n", Files.readString(target.resolve("moved/x")));
        assertEquals("disk\nram\n", Files.readString(target.resolve("d/x")));
        assertFalse(conflict("d").has("copy"));
        assertEquals(6, conflicts().size(), daemon::logText);
        assertTrue(daemon.logText().contains("changed on disk by others"), daemon::logText);

        assertEquals(0, daemon.stop(), daemon::logText);
        daemon.start();
        assertEquals(6, conflicts().size());
        assertEquals(6, daemon.command("status", "--json").ok().json().get("conflicts").getAsInt());
        Files.delete(Path.of(conflict("a").get("copy").getAsString()));
        assertEquals(5, conflicts().size());
    }

    @Test
    void aProgramThatHasTheFileOnDiskOpenWritesPastThePin() throws Exception {
        other =
                new ProcessBuilder(
                                "unshare",
                                "-m",
                                "--propagation",
                                "private",
                                "sh",
                                "-ec",
                                "umount "
                                        + target
                                        + "; exec 3>>"
                                        + target
                                        + "/a; echo ready; read x;"
                                        + " echo others >&3; echo done; read x")
                        .redirectError(ProcessBuilder.Redirect.INHERIT)
                        .start();
        assertEquals("ready", other.inputReader().readLine());
        Files.writeString(target.resolve("a"), "ram\n", StandardOpenOption.APPEND);
        daemon.command("sync", target.toString()).ok();
        other.getOutputStream().write('\n');
        other.getOutputStream().flush();
        assertEquals("done", other.inputReader().readLine());
        Files.writeString(target.resolve("a"), "more\n", StandardOpenOption.APPEND);
        daemon.command("sync", target.toString()).ok();
        Files.writeString(target.resolve("a"), "end\n", StandardOpenOption.APPEND);
        assertEquals("disk\nram\nmore\nend\n", Files.readString(target.resolve("a")));
        daemon.command("unpin", target.toString()).ok();
        assertBoth("a", "disk\nram\nothers\n", "disk\nram\nmore\nend\n");
        assertEquals(1, conflicts().size());
    }

    @Test
    void aDirectoryRenamedElsewhereTakesItsMountWithIt() throws Exception {
        Files.writeString(target.resolve("a"), "ram\n", StandardOpenOption.APPEND);
        behind("mv " + target + " " + target + ".moved");
        daemon.command("unpin", target + ".moved");
        daemon.command("unpin", "--all");
        awaitUnpinned();
        assertEquals("disk\nram\n", Files.readString(Path.of(target + ".moved/a")));
        assertFalse(Files.exists(target));
    }

    @Test
    void aFileReplacedUnderItsMount() throws Exception {
        Path single = Files.createDirectories(disk.root().resolve("home/single")).resolve("file");
        Files.writeString(single, "disk\n");
        daemon.command("pin", single.toString()).ok();
        Files.writeString(single, "ram\n", StandardOpenOption.APPEND);
        Command.run(
                "unshare",
                "-m",
                "--propagation",
                "private",
                "sh",
                "-ec",
                "umount " + single + "; cd " + single.getParent() + "; echo others > t; mv t file");
        Await.until(SOON, () -> !daemon.pinned(single), daemon::logText);
        assertEquals("others\n", Files.readString(single));
        Path copy =
                conflicts().stream()
                        .filter(c -> c.has("copy"))
                        .map(c -> Path.of(c.get("copy").getAsString()))
                        .findFirst()
                        .orElseThrow(() -> new AssertionError(daemon.logText()));
        assertEquals("disk\nram\n", Files.readString(copy));
        assertEquals(single.getParent(), copy.getParent());
        assertTrue(daemon.logText().contains("taken away by others"), daemon::logText);
    }

    @Test
    void anEmptyDirectoryRemovedUnderItsMount() throws Exception {
        Path empty = Files.createDirectories(disk.root().resolve("home/empty"));
        daemon.command("pin", empty.toString()).ok();
        Files.createDirectories(empty.resolve("d"));
        Files.writeString(empty.resolve("d/f"), "ram\n");
        Command.run(
                "unshare",
                "-m",
                "--propagation",
                "private",
                "sh",
                "-ec",
                "umount " + empty + "; rmdir " + empty);
        Await.until(SOON, () -> !daemon.pinned(empty), daemon::logText);
        String found = Command.shell("cat " + empty + ".rampipe-conflict-*/d/f");
        assertEquals("ram", found.strip());
        assertTrue(conflicts().toString().contains("removed on disk by others"));
    }

    @Test
    void aMountTakenAwayByHandWhileAProgramWritesOn() throws Exception {
        try (OutputStream open =
                Files.newOutputStream(target.resolve("a"), StandardOpenOption.APPEND)) {
            open.write("one\n".getBytes(StandardCharsets.US_ASCII));
            Command.run("umount", "--lazy", target.toString());
            Await.until(
                    SOON,
                    () -> Files.readString(target.resolve("a")).equals("disk\none\n"),
                    daemon::logText);
            open.write("two\n".getBytes(StandardCharsets.US_ASCII));
            Await.until(
                    SOON,
                    () -> Files.readString(target.resolve("a")).equals("disk\none\ntwo\n"),
                    daemon::logText);
            assertTrue(daemon.pinned(target), "gone while a program uses it");
            // Others now come to the file on disk.
            Files.writeString(target.resolve("b"), "disk again\n");
            open.write("three\n".getBytes(StandardCharsets.US_ASCII));
        }
        awaitUnpinned();
        assertEquals("disk\none\ntwo\nthree\n", Files.readString(target.resolve("a")));
        assertEquals("disk again\n", Files.readString(target.resolve("b")));
        assertTrue(conflict("").get("what").getAsString().contains("taken away"));
    }

    @Test
    void aMountTakenAwayByHandWhileNobodyUsesIt() throws Exception {
        Files.writeString(target.resolve("a"), "ram\n", StandardOpenOption.APPEND);
        Command.run("umount", target.toString());
        awaitUnpinned();
        assertEquals("disk\nram\n", Files.readString(target.resolve("a")));
        assertEquals(1, conflicts().size());
    }

    private void awaitUnpinned() throws Exception {
        Await.until(
                SOON,
                () -> daemon.command("pins", "--json").ok().json().getAsJsonArray("pins").isEmpty(),
                () -> "still pinned: " + daemon.logText());
    }
}
