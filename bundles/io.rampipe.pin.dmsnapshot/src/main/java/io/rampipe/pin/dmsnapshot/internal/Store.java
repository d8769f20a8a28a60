package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.NewMount;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.List;
import java.util.concurrent.locks.LockSupport;

/**
 * A pin's own file system in RAM, mounted in its directory in the pool. Its own, because the room
 * in it has to be certain: a snapshot whose store cannot grow loses all its changes. So it is as
 * large as the pin can ever come to, whatever other pins do in the pool, and its pages are used as
 * they are written.
 */
final class Store {
    /** Of the mount. */
    private static final FilePath SOURCE = FilePath.of("rampipe-store");

    private static final int PRIVATE = 0700;
    private static final long PATIENCE_NANOS = 5_000_000_000L;
    private static final long PAUSE_NANOS = 5_000_000L;

    private Store() {}

    /**
     * Mounts it in the pin's directory, and makes the files. Returns its root, open for reading.
     */
    static Fd make(Fd directory, Layout layout) throws IOException {
        At.mkdir(directory, Labels.STORE, PRIVATE);
        try (NewMount mount = NewMount.of("tmpfs")) {
            mount.option("source", SOURCE)
                    .option("size", FilePath.of(Long.toString(layout.most())))
                    .option("mode", FilePath.of("0700"));
            try (Fd made = mount.create(Mounts.MS_NOSUID | Mounts.MS_NOEXEC);
                    Fd point = At.openDirectory(directory, Labels.STORE)) {
                Mounts.attach(made, point);
            }
        }
        Fd store = At.openDirectory(directory, Labels.STORE);
        boolean done = false;
        try {
            if (layout.fileSystem() > 0) {
                create(store, Labels.GROWTH, layout.fileSystem());
            }
            if (layout.store() > 0) {
                create(store, layout.split() ? Labels.FIRST_CHANGES : Labels.CHANGES, layout.ram());
            }
            done = true;
            return store;
        } finally {
            if (!done) {
                store.close();
            }
        }
    }

    private static void create(Fd store, FilePath name, long blocks) throws IOException {
        try (Fd fd =
                At.open(store, name, At.O_RDWR | At.O_CREAT | At.O_EXCL | At.O_NOFOLLOW, 0600)) {
            Io.truncate(fd, blocks * Layout.BLOCK);
        }
    }

    /**
     * Takes it away, and whatever else is in the pin's directory. Idempotent. EBUSY if something is
     * still mounted there or uses it: whoever looks at each new device (udev) is waited for.
     */
    static void remove(FilePath pool) throws IOException {
        try (Fd directory = At.openNoLinks(pool, At.O_RDONLY | At.O_DIRECTORY | At.O_NOFOLLOW)) {
            unmount(directory, Labels.STORE);
            for (FilePath name : At.list(directory)) {
                Stat stat = Stat.at(directory, name);
                if (stat.isDirectory()) {
                    At.rmdir(directory, name);
                } else {
                    At.unlink(directory, name);
                }
            }
        } catch (LinuxException e) {
            if (!e.is(Errno.ENOENT)) {
                throw e;
            }
        }
    }

    /** Unmounts what is mounted on a name, if anything is. */
    static void unmount(Fd directory, FilePath name) throws IOException {
        long start = System.nanoTime();
        while (mounted(directory, name)) {
            try {
                Mounts.unmount(directory, name);
            } catch (LinuxException e) {
                if (e.is(Errno.EINVAL, Errno.ENOENT)) {
                    return;
                }
                if (!e.is(Errno.EBUSY) || System.nanoTime() - start > PATIENCE_NANOS) {
                    throw e;
                }
                LockSupport.parkNanos(PAUSE_NANOS);
            }
        }
    }

    private static boolean mounted(Fd directory, FilePath name) throws IOException {
        try {
            return (Stat.at(directory, name).attributes() & Stat.MOUNT_ROOT) != 0;
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return false;
            }
            throw e;
        }
    }

    /** Mounts of stores below a pool. */
    static List<MountInfo> all(FilePath pool) throws IOException {
        return MountInfo.all().stream()
                .filter(m -> m.source().equals(SOURCE) && pool.contains(m.path()))
                .toList();
    }
}
