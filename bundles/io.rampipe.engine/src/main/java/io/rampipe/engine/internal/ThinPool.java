package io.rampipe.engine.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Units;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.StatFs;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;

/**
 * The tmpfs that holds everything pinned. Its pages are used as they are written, and its size can
 * be changed while it is in use ({@code tmpfs(5)}, remount). Mounted when the first pin needs it.
 */
final class ThinPool {
    private static final FilePath SOURCE = FilePath.of("rampipe-pool");

    private final Path where;
    private final FilePath path;
    private volatile long limit;
    private volatile boolean open;

    ThinPool(Path where, long limit) {
        this.where = where;
        this.path = FilePath.of(where.toAbsolutePath().normalize().toString());
        this.limit = limit;
    }

    /** Mounts it unless it is mounted, perhaps by an earlier daemon. */
    private void open() throws IOException {
        if (open) {
            return;
        }
        if (mounted()) {
            open = true;
            limit(Math.max(limit, used() + (limit >> 3)));
            return;
        }
        Files.createDirectories(
                where,
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        try {
            Mounts.mount(SOURCE, path, "tmpfs", 0, "mode=0700,nr_inodes=0,size=" + limit);
        } catch (LinuxException e) {
            throw new IOException(
                    "cannot mount the thin pool of "
                            + Units.bytes(limit)
                            + ": "
                            + e.getMessage()
                            + "; RamPipe needs root (CAP_SYS_ADMIN)",
                    e);
        }
        open = true;
    }

    /** Goes on with the one that an earlier daemon has left, if there is one. */
    synchronized void takeOver() throws IOException {
        if (mounted()) {
            open();
        }
    }

    /** Names in it: those of pins, and whatever else somebody put there. */
    synchronized List<FilePath> names() throws IOException {
        if (!mounted()) {
            return List.of();
        }
        try (Fd pool = At.open(path, At.O_RDONLY | At.O_DIRECTORY)) {
            return At.list(pool);
        }
    }

    private boolean mounted() throws IOException {
        return MountInfo.all().stream()
                .anyMatch(m -> m.path().equals(path) && m.source().equals(SOURCE));
    }

    FilePath path() {
        return path;
    }

    /** Bytes at which programs that write into it get ENOSPC. */
    long limit() {
        return limit;
    }

    /** Bytes in it; 0 as long as nothing was ever pinned. */
    long used() throws IOException {
        if (!open && !mounted()) {
            return 0;
        }
        try (Fd fd = At.open(path, At.O_PATH)) {
            return StatFs.of(fd).usedBytes();
        }
    }

    /** Lets it hold that much from now on. EINVAL if it holds more already. */
    void limit(long bytes) throws LinuxException {
        if (!open) {
            limit = bytes;
            return;
        }
        Mounts.mount(SOURCE, path, "tmpfs", Mounts.MS_REMOUNT, "size=" + bytes);
        limit = bytes;
    }

    /** A fresh directory for a pin. */
    synchronized FilePath directory(String id) throws IOException {
        open();
        try (Fd pool = At.open(path, At.O_RDONLY | At.O_DIRECTORY)) {
            At.mkdir(pool, FilePath.of(id), 0700);
        }
        return path.resolve(id);
    }

    /** Whether a pin's directory is a directory with nothing in it. */
    boolean isEmpty(String id) throws IOException {
        try (Fd pool = At.open(path, At.O_RDONLY | At.O_DIRECTORY);
                Fd directory = At.openDirectory(pool, FilePath.of(id))) {
            return At.list(directory).isEmpty();
        } catch (LinuxException e) {
            if (e.is(Errno.ENOTDIR, Errno.ELOOP)) {
                return false;
            }
            throw e;
        }
    }

    /** Removes a pin's empty directory, if it is still there. */
    void release(String id) throws LinuxException {
        try (Fd pool = At.open(path, At.O_RDONLY | At.O_DIRECTORY)) {
            At.rmdir(pool, FilePath.of(id));
        } catch (LinuxException e) {
            if (!e.is(Errno.ENOENT)) {
                throw e;
            }
        }
    }

    /**
     * Unmounts it if it is mounted.
     *
     * @throws IOException if anything is left in it, which would be lost
     */
    synchronized void unmount() throws IOException {
        if (mounted()) {
            List<FilePath> left = names();
            if (!left.isEmpty()) {
                throw new IOException(path + " still has " + left + ", which may be nowhere else");
            }
            open = false;
            Mounts.unmount(Fd.CWD, path);
        }
    }
}
