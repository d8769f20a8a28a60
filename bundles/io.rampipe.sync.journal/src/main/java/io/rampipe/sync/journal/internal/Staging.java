package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import io.rampipe.linux.Xattrs;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Map;

/**
 * Finished files that wait for their place, and what was taken from its place: a directory beside
 * the log.
 */
final class Staging implements AutoCloseable {
    private static final int COPY_BYTES = 256 * 1024;

    /** From this many files on it is cheaper to sync the file system once. */
    private static final int MANY = 16;

    private final Fd directory;
    private final ByteBuffer buffer = ByteBuffer.allocateDirect(COPY_BYTES);
    private int made;

    private Staging(Fd directory) {
        this.directory = directory;
    }

    static FilePath name(String pin) {
        return FilePath.of(pin + ".d");
    }

    /** A fresh one; what an unfinished attempt left is removed. */
    static Staging fresh(Fd logs, String pin) throws IOException {
        remove(logs, name(pin));
        At.mkdir(logs, name(pin), 0700);
        return open(logs, pin);
    }

    static Staging open(Fd logs, String pin) throws LinuxException {
        return new Staging(At.openDirectory(logs, name(pin)));
    }

    Fd directory() {
        return directory;
    }

    static FilePath file(int number) {
        return FilePath.of("s" + number);
    }

    static FilePath trash(int number) {
        return FilePath.of("t" + number);
    }

    static FilePath moved(int number) {
        return FilePath.of("m" + number);
    }

    /**
     * A copy of a file of any kind but a directory, with its attributes. Returns the bytes of data
     * written.
     */
    long copy(Fd from, FilePath name, Stat stat, FilePath as) throws IOException {
        made++;
        if (stat.isSymlink()) {
            At.symlink(At.readLink(from, name), directory, as);
            try (Fd source = At.open(from, name, At.O_PATH | At.O_NOFOLLOW, 0);
                    Fd copy = At.open(directory, as, At.O_PATH | At.O_NOFOLLOW, 0)) {
                At.chown(copy, stat.uid(), stat.gid());
                for (Map.Entry<String, byte[]> x : Overlay.xattrs(source).entrySet()) {
                    Xattrs.set(copy, x.getKey(), x.getValue());
                }
            }
            At.setTimes(directory, as, stat);
            return 0;
        }
        long bytes = 0;
        if (stat.isRegular()) {
            try (Fd source = At.open(from, name, At.O_RDONLY | At.O_NOFOLLOW | At.O_NONBLOCK, 0);
                    Fd copy = At.open(directory, as, At.O_RDWR | At.O_CREAT | At.O_EXCL, 0600)) {
                bytes = copyData(source, copy, stat.size());
                attributes(source, copy, stat);
            }
        } else {
            At.mknod(directory, as, stat.mode(), stat.deviceNumber());
            try (Fd source = At.open(from, name, At.O_PATH | At.O_NOFOLLOW, 0);
                    Fd copy = At.open(directory, as, At.O_PATH | At.O_NOFOLLOW, 0)) {
                attributes(source, copy, stat);
            }
        }
        return bytes;
    }

    private static void attributes(Fd source, Fd copy, Stat stat) throws IOException {
        At.chown(copy, stat.uid(), stat.gid());
        for (Map.Entry<String, byte[]> x : Overlay.xattrs(source).entrySet()) {
            Xattrs.set(copy, x.getKey(), x.getValue());
        }
        At.chmod(copy, stat.permissions());
        At.setTimes(copy, stat);
    }

    /** Data only: holes stay holes. */
    private long copyData(Fd from, Fd to, long size) throws IOException {
        long bytes = 0;
        for (long at = Io.nextData(from, 0); at >= 0 && at < size; at = Io.nextData(from, at)) {
            long end = Math.min(size, Io.nextHole(from, at));
            while (at < end) {
                buffer.clear().limit((int) Math.min(buffer.capacity(), end - at));
                int n = Io.readFully(from, buffer, at);
                if (n == 0) {
                    break;
                }
                buffer.flip();
                Io.writeFully(to, buffer, at);
                at += n;
                bytes += n;
            }
            if (at < end) {
                break;
            }
        }
        Io.truncate(to, size);
        return bytes;
    }

    /** One more name for a file that is staged already or is on the disk. */
    void link(Fd file, FilePath as) throws LinuxException {
        made++;
        At.link(file, directory, as);
    }

    /** Everything staged is on disk when this returns. */
    void sync() throws IOException {
        if (made > MANY) {
            Io.syncFileSystem(directory);
            return;
        }
        for (FilePath name : At.list(directory)) {
            if (Stat.at(directory, name).isRegular()) {
                try (Fd file = At.open(directory, name, At.O_RDONLY | At.O_NOFOLLOW, 0)) {
                    Io.sync(file);
                }
            }
        }
        Io.sync(directory);
    }

    /** Removes a staging directory with all that is in it; no error if there is none. */
    static void remove(Fd logs, FilePath name) throws IOException {
        try (Fd directory = At.openDirectory(logs, name)) {
            removeAll(directory);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return;
            }
            throw e;
        }
        At.rmdir(logs, name);
    }

    private static void removeAll(Fd directory) throws IOException {
        for (FilePath name : At.list(directory)) {
            if (Stat.at(directory, name).isDirectory()) {
                try (Fd below = At.openDirectory(directory, name)) {
                    removeAll(below);
                }
                At.rmdir(directory, name);
            } else {
                At.unlink(directory, name);
            }
        }
    }

    @Override
    public void close() {
        directory.close();
    }
}
