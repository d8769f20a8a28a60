package io.rampipe.source.fanotify.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import io.rampipe.api.Access;
import io.rampipe.api.FilePath;
import io.rampipe.tck.Recorder;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.condition.EnabledIf;

/** The file systems that people have. */
@NeedsMounts
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class FileSystemsTest {
    private final Recorder seen = new Recorder();

    @Test
    void tmpfs() throws Exception {
        try (ScratchDisk disk = ScratchDisk.ext4(16)) {
            Path there = disk.aside("tmpfs");
            Command.run("mount", "-t", "tmpfs", "tmpfs", there.toString());
            byHandles(there);
        }
    }

    @Test
    @EnabledIf(value = "hasXfs", disabledReason = "needs mkfs.xfs (package xfsprogs)")
    void xfs() throws Exception {
        try (ScratchDisk disk = make("xfs", 320, "mkfs.xfs", "-q", "-f")) {
            byHandles(disk.root());
        }
    }

    @Test
    @EnabledIf(value = "hasBtrfs", disabledReason = "needs mkfs.btrfs (package btrfs-progs)")
    void btrfs() throws Exception {
        try (ScratchDisk disk = make("btrfs", 128, "mkfs.btrfs", "-q", "-f")) {
            byHandles(disk.root());
        }
    }

    @Test
    @EnabledIf(value = "hasBtrfs", disabledReason = "needs mkfs.btrfs (package btrfs-progs)")
    void btrfsSubvolume() throws Exception {
        try (ScratchDisk disk = make("btrfs", 128, "mkfs.btrfs", "-q", "-f")) {
            Command.run("btrfs", "subvolume", "create", disk.root().resolve("home").toString());
            byDescriptors(disk.root().resolve("home"));
        }
    }

    @Test
    void aFileSystemWithoutHandles() throws Exception {
        try (ScratchDisk disk = ScratchDisk.ext4(16)) {
            Path there = disk.aside("there");
            Path pool = disk.aside("pool");
            Command.run("mount", "-t", "tmpfs", "pool", pool.toString());
            Command.shell("mkdir " + pool + "/upper " + pool + "/work");
            // An overlay, but none of ours.
            Command.run(
                    "mount",
                    "-t",
                    "overlay",
                    "other",
                    "-o",
                    "index=off,lowerdir="
                            + disk.root()
                            + ",upperdir="
                            + pool
                            + "/upper,workdir="
                            + pool
                            + "/work",
                    there.toString());
            byDescriptors(there);
        }
    }

    private void byHandles(Path there) throws Exception {
        try (FanotifySession session = session(there)) {
            assertEquals("file handles", session.stats().mode());
            Path dir = Files.createDirectory(there.resolve("dir"));
            Command.shell("echo x > " + dir.resolve("f"));
            Recorder.Event e = seen.until(session, Access.WRITE, "f");
            seen.until(session, Access.APPEAR, "f");
            assertEquals(Optional.of(FilePath.of(dir.resolve("f").toString())), e.path());
            Command.run("mv", dir.toString(), there.resolve("moved").toString());
            assertEquals(
                    Optional.of(FilePath.of(there.resolve("moved").toString())),
                    e.location().directory());
        }
    }

    private void byDescriptors(Path there) throws Exception {
        try (FanotifySession session = session(there)) {
            assertTrue(
                    session.stats().mode().contains("descriptors for " + there),
                    session.stats().mode());
            Path dir = Files.createDirectory(there.resolve("dir"));
            Command.shell("cd " + dir + "; echo x > f; echo x > g");
            Recorder.Event f = seen.until(session, Access.WRITE, "f");
            Recorder.Event g = seen.until(session, Access.WRITE, "g");
            assertEquals(f.directory(), g.directory());
            assertTrue(f.file() != g.file());
            assertEquals(Optional.of(FilePath.of(dir.resolve("f").toString())), f.path());

            seen.events.clear();
            Command.shell("cd " + dir + "; echo x >> f");
            assertEquals(f.file(), seen.until(session, Access.WRITE, "f").file());
            session.ignore(f.directory());
            seen.events.clear();
            Command.shell("cd " + dir + "; echo x >> f; echo x > ../shown");
            seen.until(session, Access.WRITE, "shown");
            assertTrue(!seen.saw("f"));
        }
    }

    private static FanotifySession session(Path root) throws IOException {
        FanotifySession session =
                new FanotifySession(false, false, true, System::nanoTime, Recorder.SILENT);
        session.watch(List.of(FilePath.of(root.toString())));
        return session;
    }

    private static ScratchDisk make(String type, int megabytes, String... mkfs) throws IOException {
        try {
            return ScratchDisk.make(megabytes, mkfs);
        } catch (IOException e) {
            if (e.getMessage().contains("unknown filesystem type")) {
                abort("this kernel has no " + type);
            }
            throw e;
        }
    }

    static boolean hasXfs() {
        return installed("mkfs.xfs");
    }

    static boolean hasBtrfs() {
        return installed("mkfs.btrfs");
    }

    private static boolean installed(String program) {
        return List.of("/sbin", "/usr/sbin").stream()
                .anyMatch(dir -> Files.isExecutable(Path.of(dir, program)));
    }
}
