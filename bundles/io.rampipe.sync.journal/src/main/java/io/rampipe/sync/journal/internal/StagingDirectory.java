package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Mask;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.function.Predicate;

/**
 * A pin's corner of {@link Disk#HOME}: its redo log, and the directory of staged files. One thread.
 */
final class StagingDirectory implements AutoCloseable {
    static final String COMMITTED = ".redo";
    static final String UNCOMMITTED = ".redo.tmp";
    static final String STAGED = ".d";

    /** Begins the name of an emptied directory. */
    private static final String KEPT = "kept-";

    private final Disk disk;
    private final FilePath log;
    private final FilePath uncommitted;
    private final FilePath name;
    private final Steps steps;
    private Mask mask;
    private Fd fd;

    StagingDirectory(Disk disk, String pin, Steps steps) {
        this.disk = disk;
        this.log = FilePath.of(pin + COMMITTED);
        this.uncommitted = FilePath.of(pin + UNCOMMITTED);
        this.name = FilePath.of(pin + STAGED);
        this.steps = steps;
    }

    /** The directory of staged files, made if need be. */
    Fd fd() throws IOException {
        if (fd == null) {
            try {
                fd = At.openDirectory(disk.home(), name);
            } catch (LinuxException e) {
                if (!e.is(Errno.ENOENT)) {
                    throw e;
                }
                steps.before("mkdir of the staging directory");
                At.mkdir(disk.home(), name, 0700);
                fd = At.openDirectory(disk.home(), name);
            }
        }
        return fd;
    }

    /** The directory of staged files if there is one, else null. */
    Fd existing() throws IOException {
        if (fd != null) {
            return fd;
        }
        Fd home = disk.existingHome();
        if (home == null) {
            return null;
        }
        try {
            fd = At.openDirectory(home, name);
            return fd;
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return null;
            }
            throw e;
        }
    }

    /** The committed log, open for reading, or null. The caller closes it. */
    Fd openLog() throws IOException {
        Fd home = disk.existingHome();
        if (home == null) {
            return null;
        }
        try {
            return At.open(home, log, At.O_RDONLY | At.O_NOFOLLOW, 0);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return null;
            }
            throw e;
        }
    }

    boolean hasLog() throws IOException {
        return exists(log);
    }

    boolean hasUncommitted() throws IOException {
        return exists(uncommitted);
    }

    private boolean exists(FilePath what) throws IOException {
        Fd home = disk.existingHome();
        if (home == null) {
            return false;
        }
        try {
            Stat.at(home, what);
            return true;
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return false;
            }
            throw e;
        }
    }

    /** An empty log to be written. The caller closes it. */
    Fd createLog() throws IOException {
        steps.before("create the log");
        return At.open(
                disk.home(),
                uncommitted,
                At.O_RDWR | At.O_CREAT | At.O_TRUNC | At.O_NOFOLLOW,
                0600);
    }

    /**
     * The one step before which the disk is as before, and after which it is as after. It is not
     * known to be on disk before {@link #makeCommitDurable} returns.
     */
    void commit() throws IOException {
        steps.before("rename the log: commit");
        At.rename(disk.home(), uncommitted, disk.home(), log);
    }

    /** If it fails, the commit may or may not be on disk: nothing is to be applied yet. */
    void makeCommitDurable() throws IOException {
        steps.before("fsync of the log's directory");
        Io.sync(disk.home());
    }

    /** Ends a log that has been applied durably. */
    void dropLog() throws IOException {
        steps.before("unlink the log");
        At.unlink(disk.home(), log);
        steps.before("fsync of the log's directory");
        Io.sync(disk.home());
    }

    /** Sets a damaged log aside; returns its new name. */
    FilePath setAside(FilePath what, String as) throws IOException {
        for (int i = 1; ; i++) {
            FilePath aside = FilePath.ofRaw(what.raw() + "." + as + "-" + i);
            try {
                steps.before("rename a damaged log");
                At.renameNoReplace(disk.home(), what, disk.home(), aside);
                steps.before("fsync of the log's directory");
                Io.sync(disk.home());
                return disk.shown().resolve(Disk.HOME).resolve(aside);
            } catch (LinuxException e) {
                if (!e.is(Errno.EEXIST)) {
                    throw e;
                }
            }
        }
    }

    FilePath log() {
        return log;
    }

    /** Removes what was not committed; with {@code staged}, the staging directory as well. */
    void discard(boolean staged) throws IOException {
        Fd home = disk.existingHome();
        if (home == null) {
            return;
        }
        try {
            steps.before("unlink the uncommitted log");
            At.unlink(home, uncommitted);
        } catch (LinuxException e) {
            if (!e.is(Errno.ENOENT)) {
                throw e;
            }
        }
        if (staged) {
            removeStaged("");
        }
    }

    /**
     * Removes what is staged, but for names that begin with {@code except}; if nothing is left, the
     * directory itself.
     */
    void removeStaged(String except) throws IOException {
        removeStaged(n -> except.isEmpty() || !n.raw().startsWith(except));
    }

    /** Removes what one log has staged. */
    void removeStagedOf(String prefix) throws IOException {
        removeStaged(n -> n.raw().startsWith(prefix));
    }

    /** Removes what is staged under such names; if nothing is left, the directory itself. */
    void removeStaged(Predicate<FilePath> which) throws IOException {
        Fd dir = existing();
        if (dir == null) {
            return;
        }
        boolean left = false;
        for (FilePath n : At.list(dir)) {
            if (which.test(n) && !(mask != null && n.raw().startsWith(KEPT))) {
                left |= removeTree(dir, n);
            } else {
                left = true;
            }
        }
        if (!left) {
            fd.close();
            fd = null;
            steps.before("rmdir of the staging directory");
            At.rmdir(disk.home(), name);
        }
    }

    /**
     * While an overlay is mounted: directories that were on disk when it was made are only emptied.
     * It may have them still as parts of directories that have been absorbed, and a directory that
     * is gone cannot be listed (ENOENT).
     */
    void keepDirectories(Mask of) {
        mask = of;
    }

    /** Whether any directory in it is kept. */
    private boolean removeTree(Fd dir, FilePath name) throws IOException {
        Stat stat = Stat.at(dir, name);
        if (!stat.isDirectory()) {
            steps.before("unlink of what is removed");
            At.unlink(dir, name);
            return false;
        }
        boolean kept = false;
        try (Fd sub = At.openDirectory(dir, name)) {
            for (FilePath n : At.list(sub)) {
                kept |= removeTree(sub, n);
            }
        }
        if (mask == null || !mask.paths().containsKey(stat.inode())) {
            steps.before("rmdir of what is removed");
            At.rmdir(dir, name);
            return kept;
        }
        steps.before("rename away a directory that is kept");
        At.renameNoReplace(dir, name, fd, FilePath.of(KEPT + Long.toUnsignedString(stat.inode())));
        return true;
    }

    @Override
    public void close() {
        if (fd != null) {
            fd.close();
        }
    }
}
