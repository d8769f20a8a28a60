package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * A file system seen through one of its mounts, with RamPipe's directory at that mount's root.
 * Everything on the disk is reached through the same mount, because rename(2) does not cross mounts
 * even of one file system. Whoever opens it closes it.
 */
final class Disk implements AutoCloseable {
    /** Where redo logs and staged files are; root's alone. */
    static final FilePath DIRECTORY = FilePath.of(".rampipe");

    private static final Set<String> VIRTUAL =
            Set.of(
                    "overlay",
                    "tmpfs",
                    "proc",
                    "sysfs",
                    "devtmpfs",
                    "devpts",
                    "cgroup",
                    "cgroup2",
                    "mqueue",
                    "autofs",
                    "ramfs");

    private final MountInfo mount;
    private final Fd tree;
    private final Fd root;

    private Disk(MountInfo mount, Fd tree, Fd root) {
        this.mount = mount;
        this.tree = tree;
        this.root = root;
    }

    /**
     * The disk that holds the directory of that handle, preferably through a mount of all of it.
     * Empty if no mount leads there.
     */
    static Optional<Disk> holding(String device, long inode, String handle) throws IOException {
        for (MountInfo m : candidates()) {
            Optional<Disk> disk = open(m);
            if (disk.isEmpty()) {
                continue;
            }
            try (Fd lower = disk.get().byHandle(handle)) {
                Stat stat = Stat.of(lower);
                // A device may have another number after a reboot; the handle's generation tells
                // files apart.
                if (stat.inode() == inode
                        && stat.isDirectory()
                        && (device.isEmpty() || Stat.deviceText(stat.device()).equals(device))) {
                    return disk;
                }
            } catch (LinuxException e) {
                // ESTALE, or no handles there: it is another file system's.
            }
            disk.get().close();
        }
        return Optional.empty();
    }

    /** The disks that hold these directories, each once. */
    static List<Disk> holding(Iterable<FilePath> directories) throws IOException {
        List<Disk> disks = new ArrayList<>();
        List<MountInfo> candidates = candidates();
        for (FilePath directory : directories) {
            long device;
            try (Fd fd = At.open(directory, At.O_PATH)) {
                device = Stat.of(fd).device();
            } catch (LinuxException e) {
                continue;
            }
            if (disks.stream().anyMatch(d -> d.mount.device() == device)) {
                continue;
            }
            for (MountInfo m : candidates) {
                Optional<Disk> disk = m.device() == device ? open(m) : Optional.empty();
                if (disk.isPresent()) {
                    disks.add(disk.get());
                    break;
                }
            }
        }
        return disks;
    }

    private static List<MountInfo> candidates() throws IOException {
        return MountInfo.all().stream()
                .filter(m -> !VIRTUAL.contains(m.type()))
                .sorted(Comparator.comparingInt(m -> m.root().raw().length()))
                .toList();
    }

    private static Optional<Disk> open(MountInfo m) throws IOException {
        try (Fd seen = At.openNoLinks(m.path(), At.O_PATH | At.O_DIRECTORY)) {
            long id = Stat.of(seen).mount();
            if (id != 0 && id != m.id()) {
                // Covered by another mount.
                return Optional.empty();
            }
            Fd tree = Mounts.cloneTree(seen);
            try {
                Fd root = At.openBeneath(tree, FilePath.of(""), At.O_RDONLY | At.O_DIRECTORY, 0);
                return Optional.of(new Disk(m, tree, root));
            } catch (LinuxException e) {
                tree.close();
                throw e;
            }
        } catch (LinuxException e) {
            return Optional.empty();
        }
    }

    FilePath path() {
        return mount.path();
    }

    Fd root() {
        return root;
    }

    /** Opens a directory by its handle, past everything that is mounted over its path. */
    Fd byHandle(String handle) throws LinuxException {
        return FileHandle.parse(handle).open(root, At.O_RDONLY | At.O_DIRECTORY);
    }

    /** RamPipe's directory, made if it is missing, refused if it is not root's alone. */
    Fd logs() throws IOException {
        try {
            At.mkdir(root, DIRECTORY, 0700);
            io.rampipe.linux.Io.sync(root);
        } catch (LinuxException e) {
            if (!e.is(Errno.EEXIST)) {
                throw e;
            }
        }
        return existingLogs().orElseThrow();
    }

    /** The same, without making it. */
    Optional<Fd> existingLogs() throws IOException {
        Fd logs;
        try {
            logs =
                    At.openBeneathSameMount(
                            root, DIRECTORY, At.O_RDONLY | At.O_DIRECTORY | At.O_NOFOLLOW, 0);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return Optional.empty();
            }
            throw new IOException(
                    mount.path().resolve(DIRECTORY)
                            + " is in the way of RamPipe's own directory: "
                            + e.getMessage()
                            + "; move it away",
                    e);
        }
        Stat stat = Stat.of(logs);
        if (stat.uid() != 0 || (stat.permissions() & 077) != 0) {
            logs.close();
            throw new IOException(
                    mount.path().resolve(DIRECTORY)
                            + " is not root's alone, so what is in it cannot be trusted; look at it and"
                            + " move it away");
        }
        return Optional.of(logs);
    }

    @Override
    public void close() {
        root.close();
        tree.close();
    }
}
