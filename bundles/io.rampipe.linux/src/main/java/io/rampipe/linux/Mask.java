package io.rampipe.linux;

import io.rampipe.api.FilePath;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * A layer between the upper layer of an overlay and what is on disk, in RAM: all directories of the
 * lower one, nothing in them but whiteouts. A name that is put on disk while the overlay is mounted
 * gets a whiteout here first. So an overlay shows such a name as long as its upper layer has it,
 * and never again after a program has deleted it there, although overlayfs leaves no whiteout where
 * it sees nothing below ({@code ovl_lower_positive} in fs/overlayfs/namei.c).
 *
 * <p>The directories must be there before the overlay is mounted, because it remembers which layers
 * have a directory. It takes owner, mode, times and attributes of a directory from the highest
 * layer that has it: from here, unless it is in the upper one.
 *
 * <p>One thread. Only root can reach these directories.
 */
public final class Mask implements AutoCloseable {
    /**
     * Inode number of the directory on disk, 8 bytes, big endian. Overlayfs neither shows nor
     * copies up what begins like this.
     */
    private static final String INODE = "trusted.overlay.rampipe.inode";

    /**
     * File handle of the directory on disk, as {@link FileHandle#toString} has it, if it has one.
     */
    private static final String HANDLE = "trusted.overlay.rampipe.handle";

    private static final int PRIVATE = 0700;
    private static final int TO_LOOK = At.O_RDONLY | At.O_DIRECTORY | At.O_NOFOLLOW | At.O_NOATIME;

    private final Fd root;
    private Map<Long, FilePath> paths;

    private Mask(Fd root) {
        this.root = root;
    }

    /** An existing one. */
    public static Mask open(FilePath path) throws LinuxException {
        return new Mask(At.openNoLinks(path, At.O_RDONLY | At.O_DIRECTORY));
    }

    /** Gives a new directory what another one has: owner, mode, attributes, times. */
    @FunctionalInterface
    public interface Attributes {
        void copy(Fd from, Fd to) throws IOException;
    }

    /**
     * Makes a directory here for each on disk.
     *
     * @param lower the lower layer, nothing of which must be covered by mounts
     */
    public void build(Fd lower, Attributes attributes) throws IOException {
        build(lower, root, attributes);
    }

    private static void build(Fd lower, Fd here, Attributes attributes) throws IOException {
        for (FilePath name : At.listDirectories(lower)) {
            try (Fd below = At.open(lower, name, TO_LOOK, 0)) {
                At.mkdir(here, name, PRIVATE);
                try (Fd made = At.openDirectory(here, name)) {
                    build(below, made, attributes);
                    attributes.copy(below, made);
                    long inode = Stat.of(below).inode();
                    Xattrs.set(made, INODE, ByteBuffer.allocate(Long.BYTES).putLong(inode).array());
                    setHandle(made, below);
                }
            } catch (LinuxException e) {
                // Gone, or something else by now; or the file system does not tell types.
                if (!e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                    throw e;
                }
            }
        }
    }

    private static void setHandle(Fd made, Fd below) throws LinuxException {
        try {
            String handle = FileHandle.of(below).toString();
            Xattrs.set(made, HANDLE, handle.getBytes(StandardCharsets.US_ASCII));
        } catch (LinuxException e) {
            if (!e.is(Errno.EOPNOTSUPP)) {
                throw e;
            }
        }
    }

    /** File handle of the directory that was on disk at a path when this was built. */
    public Optional<FileHandle> handle(FilePath path) throws LinuxException {
        try (Fd dir = directory(path)) {
            return dir == null
                    ? Optional.empty()
                    : Xattrs.get(dir, HANDLE)
                            .map(b -> new String(b, StandardCharsets.US_ASCII))
                            .map(FileHandle::parse);
        }
    }

    /**
     * Inode number of the directory that was on disk at a path when this was built; 0 if there was
     * none.
     */
    public long inode(FilePath path) throws LinuxException {
        try (Fd dir = directory(path)) {
            return dir == null
                    ? 0
                    : Xattrs.get(dir, INODE).map(b -> ByteBuffer.wrap(b).getLong()).orElse(0L);
        }
    }

    /**
     * Paths of all directories that were on disk when this was built, but for the target, by inode
     * number.
     */
    public Map<Long, FilePath> paths() throws LinuxException {
        if (paths == null) {
            Map<Long, FilePath> found = new HashMap<>();
            addPaths(root, FilePath.of(""), found);
            paths = found;
        }
        return paths;
    }

    private static void addPaths(Fd dir, FilePath path, Map<Long, FilePath> paths)
            throws LinuxException {
        for (FilePath name : At.listDirectories(dir)) {
            try (Fd sub = At.openDirectory(dir, name)) {
                FilePath child = path.resolve(name);
                Xattrs.get(sub, INODE)
                        .ifPresent(b -> paths.put(ByteBuffer.wrap(b).getLong(), child));
                addPaths(sub, child, paths);
            }
        }
    }

    /** The names in a directory that have a whiteout here, but for {@code others}. */
    public List<FilePath> hidden(FilePath path, Set<FilePath> others) throws LinuxException {
        List<FilePath> hidden = new ArrayList<>();
        try (Fd dir = directory(path)) {
            if (dir != null) {
                for (FilePath name : At.list(dir)) {
                    if (!others.contains(name) && isWhiteout(dir, name)) {
                        hidden.add(name);
                    }
                }
            }
        }
        return hidden;
    }

    /**
     * Hides what is, or will be, on disk under a name, for as long as the overlay is there: it
     * looks twice at a whiteout when it lists a directory, and takes one that goes in between for a
     * file, in all listings until that directory changes ({@code ovl_check_whiteouts} in
     * fs/overlayfs/readdir.c).
     *
     * @param path of the directory on disk as the overlay knows it
     * @return whether it is hidden: not in directories that have come to the disk later, which the
     *     overlay shows as they are
     */
    public boolean hide(FilePath path, FilePath name) throws LinuxException {
        try (Fd dir = directory(path)) {
            if (dir == null) {
                return isHidden(path);
            }
            At.mknod(dir, name, Stat.CHARACTER, 0);
            return true;
        } catch (LinuxException e) {
            if (e.is(Errno.EEXIST)) {
                return true;
            }
            throw e;
        }
    }

    private Fd directory(FilePath path) throws LinuxException {
        try {
            return At.openBeneath(root, path, At.O_RDONLY | At.O_DIRECTORY, 0);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENOTDIR)) {
                return null;
            }
            throw e;
        }
    }

    /** Whether a directory, or one that it is in, has a whiteout. */
    private boolean isHidden(FilePath path) throws LinuxException {
        for (FilePath p = path; !p.isEmpty(); p = p.parent()) {
            FilePath parent = p.parent();
            try (Fd dir = directory(parent)) {
                if (dir != null) {
                    return isWhiteout(dir, p.name());
                }
            }
        }
        return false;
    }

    private static boolean isWhiteout(Fd dir, FilePath name) throws LinuxException {
        try {
            Stat s = Stat.at(dir, name);
            return s.type() == Stat.CHARACTER && s.deviceNumber() == 0;
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return false;
            }
            throw e;
        }
    }

    @Override
    public void close() {
        root.close();
    }
}
