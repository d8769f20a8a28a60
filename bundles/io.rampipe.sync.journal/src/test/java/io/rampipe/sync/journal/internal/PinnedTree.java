package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Baseline;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.Mask;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.Stat;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.tree.Snapshot;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/** A directory on a real disk, and an overlay with its upper layer on a real tmpfs over it. */
final class PinnedTree implements AutoCloseable {
    static final String ID = "test1";

    private static final String OPTIONS =
            "index=on,nfs_export=on,redirect_dir=on,metacopy=off,xino=off";

    final ScratchDisk disk;
    final FilePath target;
    private final Path pool;
    private final Path image;
    private boolean mounted;
    private Pin pin;

    PinnedTree(ScratchDisk disk) throws IOException {
        this.disk = disk;
        Path directory = disk.root().resolve("home").resolve("target");
        Files.createDirectories(directory);
        this.target = FilePath.of(directory.toString());
        this.image = disk.root().resolveSibling("disk.img");
        this.pool = disk.aside("pool");
        Command.run("mount", "-t", "tmpfs", "pool", pool.toString());
    }

    /** Puts an empty upper layer over what is on disk. */
    Pin pin() throws IOException {
        Command.shell("cd " + pool + " && rm -rf upper work mask && mkdir upper work mask");
        try (Fd lower = openTarget();
                Fd upper = At.open(FilePath.of(pool + "/upper"), At.O_RDONLY | At.O_DIRECTORY)) {
            Attributes.of(lower, Stat.of(lower)).give(upper, Steps.NONE);
            baseline(lower);
            mask(lower);
        }
        describe(Target.directory(target));
        cover();
        return pin;
    }

    /** As a pin strategy leaves it. */
    private void baseline(Fd lower) throws IOException {
        Baseline baseline = new Baseline();
        baseline.tree(lower);
        baseline.save(FilePath.of(pool + "/baseline"));
    }

    private void mask(Fd lower) throws IOException {
        try (Mask mask = Mask.open(FilePath.of(pool + "/mask"))) {
            mask.build(
                    lower, (from, to) -> Attributes.of(from, Stat.of(from)).give(to, Steps.NONE));
        }
    }

    /** The record for what is on disk now; nothing must cover the target. */
    Pin describe(Target what) throws IOException {
        try (Fd lower = openTarget()) {
            Stat s = Stat.of(lower);
            pin =
                    new Pin(
                            ID,
                            what,
                            "overlayfs",
                            JournalSyncBack.NAME,
                            Pin.OVERLAY,
                            Pin.Step.PINNED,
                            Instant.now(),
                            Map.of(
                                    Pin.UPPER,
                                    pool + "/upper",
                                    Pin.WORK,
                                    pool + "/work",
                                    Pin.MASK,
                                    pool + "/mask",
                                    Pin.BASELINE,
                                    pool + "/baseline",
                                    Pin.LOWER_DEVICE,
                                    Stat.deviceText(s.device()),
                                    Pin.LOWER_INODE,
                                    Long.toUnsignedString(s.inode()),
                                    Pin.LOWER_HANDLE,
                                    FileHandle.of(lower).toString()));
        }
        return pin;
    }

    /** Mounts the overlay, again perhaps. */
    void cover() throws IOException {
        Mounts.mount(
                FilePath.of("rampipe:" + ID),
                target,
                "overlay",
                0,
                "lowerdir="
                        + pool
                        + "/mask:"
                        + target
                        + ",upperdir="
                        + pool
                        + "/upper,workdir="
                        + pool
                        + "/work,"
                        + OPTIONS);
        mounted = true;
    }

    void uncover() throws IOException {
        if (mounted) {
            Mounts.unmount(Fd.CWD, target);
            mounted = false;
        }
    }

    /** For what a mapping keeps busy. */
    void uncoverLazily() throws IOException {
        Command.run("umount", "--lazy", target.toString());
        mounted = false;
    }

    Pin record() {
        return pin;
    }

    /** What is seen there now: the merged tree, or what is on disk. */
    Fd openTarget() throws IOException {
        return At.open(target, At.O_RDONLY | At.O_DIRECTORY);
    }

    /** The disk as recovery leaves it after the power went; nothing of RamPipe's is left there. */
    Snapshot afterPowerCut(Consumer<String> reports) throws IOException {
        uncover();
        new JournalSyncBack(Steps.NONE, reports).recover(List.of(target), List.of());
        Snapshot s = snapshot();
        assertEquals(List.of(), leftovers());
        return s;
    }

    Snapshot snapshot() throws IOException {
        try (Fd fd = openTarget()) {
            return Snapshot.of(fd);
        }
    }

    /** Unmounts and mounts the disk, so that nothing is seen but what is on it. */
    void remountDisk() throws IOException {
        assertNothingOpen();
        disk.unmount();
        disk.mount();
    }

    /** Keeps what is on the disk now. */
    void save(Path where) throws IOException {
        assertNothingOpen();
        disk.unmount();
        Command.run("cp", "--sparse=always", image.toString(), where.toString());
        disk.mount();
    }

    /** Brings back what {@link #save} has kept. */
    void restore(Path where) throws IOException {
        assertNothingOpen();
        disk.unmount();
        Command.run("cp", "--sparse=always", where.toString(), image.toString());
        disk.mount();
        try (Fd lower = openTarget()) {
            baseline(lower);
        }
    }

    /** No descriptor of this process is on the disk, through whichever mount. */
    private void assertNothingOpen() throws IOException {
        long device = (Long) Files.getAttribute(disk.root(), "unix:dev");
        try (DirectoryStream<Path> fds = Files.newDirectoryStream(Path.of("/proc/self/fd"))) {
            for (Path fd : fds) {
                if (Files.exists(fd) && (Long) Files.getAttribute(fd, "unix:dev") == device) {
                    throw new AssertionError("left open: " + Files.readSymbolicLink(fd));
                }
            }
        }
    }

    /** What is in RamPipe's own directory on the disk. */
    List<FilePath> leftovers() throws IOException {
        try (Fd home =
                At.open(FilePath.of(disk.root() + "/.rampipe"), At.O_RDONLY | At.O_DIRECTORY)) {
            return At.list(home);
        }
    }

    /** A path on the disk. */
    Path path(String name) {
        return Path.of(target.toString()).resolve(name);
    }

    Path upperPath() {
        return pool.resolve("upper");
    }

    @Override
    public void close() throws IOException {
        uncover();
    }
}
