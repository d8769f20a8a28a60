package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * A disk seen past everything mounted on it, through a private copy of one of its mounts: renames
 * and links work only within one mount. Keeps the file system busy until closed. One thread.
 */
final class Disk implements AutoCloseable {
    /** RamPipe's own directory at the root of the mount. */
    static final FilePath HOME = FilePath.of(".rampipe");

    private static final FilePath SELF = FilePath.of(".");
    private static final int HOME_MODE = 0700;

    private final FilePath shown;
    private final Fd tree;
    private final Fd root;
    private final Stat stat;
    private final Steps steps;
    private Fd home;

    private Disk(FilePath shown, Fd tree, Fd root, Steps steps) throws IOException {
        this.shown = shown;
        this.tree = tree;
        this.root = root;
        this.steps = steps;
        this.stat = Stat.of(root);
    }

    /**
     * Where a target's directory is.
     *
     * @param directory open for reading
     * @param own whether the disk is closed with it
     */
    record Place(Disk disk, Fd directory, Stat stat, boolean own) implements AutoCloseable {
        @Override
        public void close() {
            directory.close();
            if (own) {
                disk.close();
            }
        }
    }

    /**
     * Finds the directory of a target on this disk. This disk stays open when the place is closed.
     */
    Place find(Identity identity) throws IOException {
        Fd fd = directory(identity);
        if (fd == null) {
            throw new NoSuchFileException(
                    identity.path().toString(), null, "it is not on the disk any more");
        }
        Stat found = Stat.of(fd);
        if (!identity.is(found) || found.mount() != stat.mount()) {
            fd.close();
            throw new IOException(identity.path() + " is another directory than before");
        }
        return new Place(this, fd, found, false);
    }

    /** What identifies a target's directory. */
    record Identity(String device, long inode, String handle, FilePath path) {
        static Identity of(Pin pin) {
            FilePath path = pin.target().path();
            return new Identity(
                    pin.attribute(Pin.LOWER_DEVICE),
                    Long.parseUnsignedLong(pin.attribute(Pin.LOWER_INODE)),
                    pin.attributes().getOrDefault(Pin.LOWER_HANDLE, ""),
                    pin.target().kind() == io.rampipe.api.Target.Kind.FILE ? path.parent() : path);
        }

        boolean is(Stat stat) {
            return stat.isDirectory()
                    && stat.inode() == inode
                    && Stat.deviceText(stat.device()).equals(device);
        }
    }

    /** Finds the directory of a target, whatever is mounted over it. */
    static Place find(Identity identity, Steps steps) throws IOException {
        List<MountInfo> mounts = mounts(identity.device());
        // The mount through which the path leads is good for a path; the others only for a handle.
        for (MountInfo mount : mounts) {
            Disk disk = open(mount, steps);
            if (disk == null) {
                continue;
            }
            Fd directory = null;
            try {
                directory = disk.directory(identity);
                if (directory != null) {
                    Stat stat = Stat.of(directory);
                    if (identity.is(stat) && stat.mount() == disk.stat.mount()) {
                        Place place = new Place(disk, directory, stat, true);
                        directory = null;
                        disk = null;
                        return place;
                    }
                }
            } finally {
                if (directory != null) {
                    directory.close();
                }
                if (disk != null) {
                    disk.close();
                }
            }
        }
        throw new IOException(
                "the directory "
                        + identity.path()
                        + " (inode "
                        + Long.toUnsignedString(identity.inode())
                        + " on device "
                        + identity.device()
                        + ") is not to be found on disk; if its disk is not mounted, mount it");
    }

    /**
     * Where the directory above a target is, if the target's own is gone for sure: its disk is
     * mounted, and knows it neither by its handle nor by its path.
     *
     * @return null if it is there, or if that is not known
     */
    static Place findParent(Identity identity, Steps steps) throws IOException {
        Place parent = null;
        for (MountInfo mount : mounts(identity.device())) {
            Disk disk = open(mount, steps);
            if (disk == null) {
                continue;
            }
            Fd above = null;
            try {
                Fd directory = disk.directory(identity);
                if (directory != null) {
                    boolean there =
                            identity.is(Stat.of(directory)) && Stat.of(directory).links() > 0;
                    directory.close();
                    if (there) {
                        if (parent != null) {
                            parent.close();
                        }
                        return null;
                    }
                }
                FilePath path = identity.path().parent();
                if (parent == null && disk.shown.contains(path) && !path.equals(identity.path())) {
                    above = disk.beneath(disk.shown.relativize(path));
                    if (above != null
                            && Stat.deviceText(Stat.of(above).device()).equals(identity.device())) {
                        parent = new Place(disk, above, Stat.of(above), true);
                        above = null;
                        disk = null;
                    }
                }
            } finally {
                if (above != null) {
                    above.close();
                }
                if (disk != null) {
                    disk.close();
                }
            }
        }
        return parent;
    }

    private Fd beneath(FilePath path) throws IOException {
        try {
            return At.openBeneathSameMount(
                    root, path.isEmpty() ? SELF : path, At.O_RDONLY | At.O_DIRECTORY, 0);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.EXDEV)) {
                return null;
            }
            throw e;
        }
    }

    /** One disk for each mount of the device of a directory that has a home; the best first. */
    static List<Disk> withHome(FilePath directory, Steps steps) throws IOException {
        try (Fd fd = At.open(directory, At.O_PATH | At.O_DIRECTORY)) {
            return withHome(Stat.deviceText(Stat.of(fd).device()), steps);
        }
    }

    /** One disk for each mount of a device that has a home; the best first. */
    static List<Disk> withHome(String device, Steps steps) throws IOException {
        List<Disk> found = new ArrayList<>();
        try {
            for (MountInfo mount : mounts(device)) {
                Disk disk = open(mount, steps);
                if (disk != null) {
                    try {
                        if (disk.hasHome()) {
                            found.add(disk);
                            disk = null;
                        }
                    } finally {
                        if (disk != null) {
                            disk.close();
                        }
                    }
                }
            }
            return found;
        } catch (IOException e) {
            found.forEach(Disk::close);
            throw e;
        }
    }

    /**
     * Mounts of the device: those of the whole file system first, and those that may be written to.
     * Mounts of btrfs are all taken, because there files have other device numbers than mounts.
     */
    private static List<MountInfo> mounts(String device) throws IOException {
        List<MountInfo> mounts = new ArrayList<>();
        for (MountInfo m : MountInfo.all()) {
            if (Stat.deviceText(m.device()).equals(device) || m.type().equals("btrfs")) {
                mounts.add(m);
            }
        }
        mounts.sort(
                Comparator.comparing((MountInfo m) -> !m.root().raw().equals("/"))
                        .thenComparing(m -> List.of(m.flags().split(",")).contains("ro"))
                        .thenComparing(m -> !Stat.deviceText(m.device()).equals(device)));
        return mounts;
    }

    /** Null if it cannot be reached, being covered, or is not a directory. */
    private static Disk open(MountInfo mount, Steps steps) throws IOException {
        try (Fd top = At.openNoLinks(mount.path(), At.O_PATH | At.O_DIRECTORY)) {
            if (Stat.of(top).mount() != mount.id()) {
                return null;
            }
            Fd tree = Mounts.cloneTree(top);
            Fd root = null;
            try {
                root = At.open(tree, SELF, At.O_RDONLY | At.O_DIRECTORY, 0);
                Disk disk = new Disk(mount.path(), tree, root, steps);
                tree = null;
                root = null;
                return disk;
            } finally {
                if (root != null) {
                    root.close();
                }
                if (tree != null) {
                    tree.close();
                }
            }
        } catch (LinuxException e) {
            if (e.is(
                    Errno.ENOENT,
                    Errno.ENOTDIR,
                    Errno.ELOOP,
                    Errno.EACCES,
                    Errno.ESTALE,
                    Errno.EINVAL)) {
                return null;
            }
            throw e;
        }
    }

    private Fd directory(Identity identity) throws IOException {
        try {
            if (!identity.handle().isEmpty()) {
                return FileHandle.parse(identity.handle()).open(root, At.O_RDONLY | At.O_DIRECTORY);
            }
            return shown.contains(identity.path())
                    ? At.openBeneathSameMount(
                            root,
                            shown.relativize(identity.path()),
                            At.O_RDONLY | At.O_DIRECTORY,
                            0)
                    : null;
        } catch (LinuxException e) {
            if (e.is(Errno.ESTALE, Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.EXDEV)) {
                return null;
            }
            throw e;
        }
    }

    /** The root of the mount. */
    Fd root() {
        return root;
    }

    Stat stat() {
        return stat;
    }

    private boolean hasHome() throws IOException {
        try {
            Stat.at(root, HOME);
            return true;
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return false;
            }
            throw e;
        }
    }

    /** RamPipe's directory, or null if there is none. */
    Fd existingHome() throws IOException {
        return home != null || hasHome() ? home() : null;
    }

    /**
     * RamPipe's directory, made if need be. Nobody else can look into it or plant anything there:
     * otherwise it is refused.
     */
    Fd home() throws IOException {
        if (home != null) {
            return home;
        }
        if (!hasHome()) {
            steps.before("mkdir " + HOME);
            try {
                At.mkdir(root, HOME, HOME_MODE);
            } catch (LinuxException e) {
                if (!e.is(Errno.EEXIST)) {
                    throw e;
                }
            }
        }
        Fd fd;
        try {
            fd = At.openDirectory(root, HOME);
        } catch (LinuxException e) {
            if (e.is(Errno.ELOOP, Errno.ENOTDIR)) {
                throw new IOException(notOurs("is not a directory"), e);
            }
            throw e;
        }
        try {
            Stat s = Stat.of(fd);
            if (s.device() != stat.device() || s.mount() != stat.mount()) {
                throw new IOException(notOurs("is another file system"));
            }
            if (s.uid() != 0 || s.gid() != 0) {
                throw new IOException(notOurs("belongs to " + s.uid() + ":" + s.gid()));
            }
            if (s.permissions() != HOME_MODE) {
                throw new IOException(
                        notOurs("has mode " + Integer.toOctalString(s.permissions())));
            }
            home = fd;
            fd = null;
            return home;
        } finally {
            if (fd != null) {
                fd.close();
            }
        }
    }

    private String notOurs(String why) {
        return shown.resolve(HOME)
                + " "
                + why
                + ", so it is not RamPipe's and nothing can be synced: move it away";
    }

    /** For people. */
    FilePath shown() {
        return shown;
    }

    @Override
    public void close() {
        if (home != null) {
            home.close();
        }
        root.close();
        tree.close();
    }
}
