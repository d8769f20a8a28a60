package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Mask;
import io.rampipe.linux.Stat;
import io.rampipe.linux.Xattrs;
import io.rampipe.pin.CopiedAttributes;
import java.io.IOException;
import java.util.List;

/** A pin's directory in the thin pool: the upper layer, the work directory, the hidden mount. */
final class PoolDirectory implements AutoCloseable {
    static final FilePath UPPER = FilePath.of("upper");
    static final FilePath WORK = FilePath.of("work");
    static final FilePath MERGED = FilePath.of("merged");
    static final FilePath BASELINE = FilePath.of("baseline");
    static final FilePath MASK = FilePath.of("mask");

    private static final int PRIVATE = 0700;
    private static final String PROBE = "user.rampipe";

    private final FilePath path;
    private final Fd fd;

    private PoolDirectory(FilePath path, Fd fd) {
        this.path = path;
        this.fd = fd;
    }

    static PoolDirectory open(FilePath path) throws LinuxException {
        return new PoolDirectory(
                path, At.openNoLinks(path, At.O_RDONLY | At.O_DIRECTORY | At.O_NOFOLLOW));
    }

    FilePath path() {
        return path;
    }

    Fd fd() {
        return fd;
    }

    /** Makes the directories; the root of the upper layer is what programs see as the target's. */
    void make(Fd lower, boolean hidden) throws IOException {
        At.mkdir(fd, UPPER, PRIVATE);
        At.mkdir(fd, WORK, PRIVATE);
        if (hidden) {
            At.mkdir(fd, MERGED, PRIVATE);
        }
        try (Fd upper = At.openDirectory(fd, UPPER)) {
            CopiedAttributes.give(lower, upper);
        }
    }

    /** Makes the layer that hides names; nothing must cover what is below. */
    void makeMask(Fd lower) throws IOException {
        At.mkdir(fd, MASK, PRIVATE);
        try (Mask mask = Mask.open(path.resolve(MASK))) {
            mask.build(lower, CopiedAttributes::give);
        }
    }

    /** Whether files here can have attributes of users ({@code user.*}; tmpfs since Linux 6.6). */
    boolean holdsUserAttributes() throws IOException {
        try {
            Xattrs.set(fd, PROBE, new byte[] {1});
            Xattrs.remove(fd, PROBE);
            return true;
        } catch (LinuxException e) {
            if (e.is(Errno.EOPNOTSUPP)) {
                return false;
            }
            throw e;
        }
    }

    /**
     * Removes everything in it. Directories inside are moved up one level before they are emptied,
     * so that it takes the same few descriptors and no stack, however deep programs have nested
     * them. A mount inside stops it (EBUSY).
     */
    void empty() throws IOException {
        long next = 0;
        List<FilePath> top = At.list(fd);
        while (!top.isEmpty()) {
            for (FilePath name : top) {
                Stat stat = Stat.at(fd, name);
                if (!stat.isDirectory()) {
                    At.unlink(fd, name);
                    continue;
                }
                if ((stat.attributes() & Stat.MOUNT_ROOT) != 0) {
                    throw new LinuxException("remove", path.resolve(name), Errno.EBUSY);
                }
                try (Fd dir = At.openDirectory(fd, name)) {
                    for (FilePath child : At.list(dir)) {
                        if (Stat.at(dir, child).isDirectory()) {
                            next = moveUp(dir, child, next);
                        } else {
                            At.unlink(dir, child);
                        }
                    }
                }
                At.rmdir(fd, name);
            }
            top = At.list(fd);
        }
    }

    private long moveUp(Fd dir, FilePath child, long next) throws IOException {
        for (long n = next; ; n++) {
            try {
                At.renameNoReplace(dir, child, fd, FilePath.of("remove-" + n));
                return n + 1;
            } catch (LinuxException e) {
                if (!e.is(Errno.EEXIST)) {
                    throw e;
                }
            }
        }
    }

    @Override
    public void close() {
        fd.close();
    }
}
