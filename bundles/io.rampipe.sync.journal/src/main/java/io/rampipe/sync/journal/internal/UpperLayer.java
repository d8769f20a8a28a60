package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Mask;
import io.rampipe.linux.Stat;
import io.rampipe.linux.Xattrs;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;

/**
 * A pin's upper directory, and the index of its overlay, where the data of hard links is that have
 * no name in upper ({@code Documentation/filesystems/overlayfs.rst}, "Index"). Read only. One
 * thread.
 */
final class UpperLayer implements AutoCloseable {
    /** Without waiting: a file that was one a moment ago may have become a pipe. */
    static final int READ = At.O_RDONLY | At.O_NOFOLLOW | At.O_NOATIME | At.O_NONBLOCK;

    static final String OPAQUE = "trusted.overlay.opaque";
    private static final String REDIRECT = "trusted.overlay.redirect";
    private static final String METACOPY = "trusted.overlay.metacopy";
    private static final String WHITEOUT = "trusted.overlay.whiteout";
    private static final FilePath INDEX = FilePath.of("index");
    private static final FilePath NO_NAME = FilePath.of("");

    private final Fd root;
    private final Fd index;
    private final Mask mask;
    private final FilePath only;

    private UpperLayer(Fd root, Fd index, Mask mask, FilePath only) {
        this.root = root;
        this.index = index;
        this.mask = mask;
        this.only = only;
    }

    static UpperLayer of(Pin pin) throws IOException {
        Fd root = At.openNoLinks(pin.path(Pin.UPPER), At.O_RDONLY | At.O_DIRECTORY | At.O_NOATIME);
        Fd index = null;
        String work = pin.attributes().get(Pin.WORK);
        if (work != null) {
            try {
                index =
                        At.openNoLinks(
                                FilePath.ofRaw(work).resolve(INDEX),
                                At.O_RDONLY | At.O_DIRECTORY | At.O_NOATIME);
            } catch (LinuxException e) {
                if (!e.is(Errno.ENOENT)) {
                    root.close();
                    throw e;
                }
            }
        }
        Mask mask = null;
        try {
            mask = pin.attributes().containsKey(Pin.MASK) ? Mask.open(pin.path(Pin.MASK)) : null;
        } catch (LinuxException e) {
            root.close();
            if (index != null) {
                index.close();
            }
            throw e;
        }
        boolean file = pin.target().kind() == Target.Kind.FILE;
        return new UpperLayer(root, index, mask, file ? pin.target().path().name() : null);
    }

    Fd root() {
        return root;
    }

    /** Whether hard links that are copied up stay together. */
    boolean indexed() {
        return index != null;
    }

    Fd index() {
        return index;
    }

    /** The layer below it that hides names; null if there is none. */
    Mask mask() {
        return mask;
    }

    boolean wholeDirectory() {
        return only == null;
    }

    /** The names in a directory of the layer that are the pin's business. */
    List<FilePath> names(Fd dir) throws IOException {
        if (only != null && dir == root) {
            try {
                Stat.at(root, only);
                return List.of(only);
            } catch (LinuxException e) {
                if (e.is(Errno.ENOENT)) {
                    return List.of();
                }
                throw e;
            }
        }
        return At.list(dir);
    }

    static Stat stat(Fd dir, FilePath name) throws IOException {
        try {
            return Stat.at(dir, name);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                throw new MovingException(name.toString());
            }
            throw e;
        }
    }

    static Fd open(Fd dir, FilePath name, int flags) throws IOException {
        try {
            return At.open(dir, name, flags, 0);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.ENXIO)) {
                throw new MovingException(name.toString());
            }
            throw e;
        }
    }

    Fd openDirectory(FilePath path) throws IOException {
        try {
            return At.openBeneath(root, path, At.O_RDONLY | At.O_DIRECTORY | At.O_NOATIME, 0);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                throw new MovingException(path.toString());
            }
            throw e;
        }
    }

    /** Names and attributes of everything. */
    Digest digest() throws IOException {
        Digest digest = new Digest();
        visit((parent, dir, name, stat) -> digest.add(parent, name, stat));
        return digest;
    }

    /** Told of each entry. */
    @FunctionalInterface
    interface Visitor {
        /**
         * @param parent inode number of the directory; 0 for the root itself; -1 for the index
         */
        void visit(long parent, Fd dir, FilePath name, Stat stat) throws IOException;
    }

    void visit(Visitor visitor) throws IOException {
        Stat stat = Stat.of(root);
        visitor.visit(0, root, NO_NAME, stat);
        visit(root, stat.inode(), visitor);
        if (index != null) {
            for (FilePath name : At.list(index)) {
                Stat s = stat(index, name);
                if (onlyInIndex(s)) {
                    visitor.visit(-1, index, name, s);
                }
            }
        }
    }

    private void visit(Fd dir, long inode, Visitor visitor) throws IOException {
        for (FilePath name : names(dir)) {
            Stat s = stat(dir, name);
            visitor.visit(inode, dir, name, s);
            if (s.isDirectory()) {
                try (Fd sub = open(dir, name, READ | At.O_DIRECTORY)) {
                    visit(sub, s.inode(), visitor);
                }
            }
        }
    }

    /** An index entry whose file has no name in upper. */
    static boolean onlyInIndex(Stat s) {
        return s.links() == 1 && !s.isDirectory() && !isWhiteoutDevice(s);
    }

    private static boolean isWhiteoutDevice(Stat s) {
        return s.type() == Stat.CHARACTER && s.deviceNumber() == 0;
    }

    /** Whether the entry says that the name below is gone. */
    static boolean isWhiteout(Fd dir, FilePath name, Stat s) throws IOException {
        if (isWhiteoutDevice(s)) {
            return true;
        }
        // Linux 6.7 knows whiteouts that are empty files; only in directories marked so.
        if (s.isRegular() && s.size() == 0 && "x".equals(text(dir, OPAQUE))) {
            try (Fd fd = open(dir, name, At.O_PATH | At.O_NOFOLLOW)) {
                return Xattrs.get(fd, WHITEOUT).isPresent();
            }
        }
        return false;
    }

    static boolean isOpaque(Fd dir) throws IOException {
        return "y".equals(text(dir, OPAQUE));
    }

    /** The path that a directory merges with: absolute from the target, or a name beside it. */
    static Optional<FilePath> redirect(Fd dir) throws IOException {
        return Optional.ofNullable(text(dir, REDIRECT)).map(FilePath::ofRaw);
    }

    static void refuseMetacopy(Fd file) throws IOException {
        if (Xattrs.get(file, METACOPY).isPresent()) {
            throw new IOException(
                    file + " is in RAM without its data (metacopy=on), so it cannot be synced");
        }
    }

    private static String text(Fd fd, String name) throws IOException {
        return Xattrs.get(fd, name)
                .map(b -> new String(b, StandardCharsets.ISO_8859_1))
                .orElse(null);
    }

    @Override
    public void close() {
        root.close();
        if (index != null) {
            index.close();
        }
        if (mask != null) {
            mask.close();
        }
    }
}
