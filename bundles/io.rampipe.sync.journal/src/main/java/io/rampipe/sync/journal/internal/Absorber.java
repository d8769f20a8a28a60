package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Stat;
import io.rampipe.linux.StatFs;
import io.rampipe.linux.Xattrs;
import io.rampipe.sync.journal.internal.Planner.Dir;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * Makes directories that programs have renamed independent of where they are on disk, so that they
 * can be moved there while the overlay is mounted. Such a directory refers to the one on disk by
 * its old path. Everything in it that is on disk only is copied up; then the upper layer has each
 * name that is below, or a whiteout of it, and keeps it so whatever programs do, and the directory
 * can be marked opaque without anybody seeing a difference. Its redirect stays, by which it is
 * recognised on disk. Programs go on meanwhile. One thread.
 */
final class Absorber {
    /** An entry without data. */
    private static final long FOR_AN_ENTRY = 1024;

    private static final long SECTOR = 512;
    private static final int SAME = -1;

    private static final int SET_ID = 06000;

    private static final int TO_LOOK = At.O_RDONLY | At.O_DIRECTORY | At.O_NOFOLLOW | At.O_NOATIME;
    private static final byte[] YES = "y".getBytes(StandardCharsets.US_ASCII);

    private final Pin pin;
    private final UpperLayer upper;
    private final long memory;

    /**
     * @param memory bytes of RAM that copying up a directory may take
     */
    Absorber(Pin pin, UpperLayer upper, long memory) {
        this.pin = pin;
        this.upper = upper;
        this.memory = memory;
    }

    /**
     * Does it for all renamed directories for which there is room.
     *
     * @return whether it was done for any: then the plan is out of date
     */
    boolean absorb(List<Dir> renamed) throws IOException {
        if (renamed.isEmpty() || upper.mask() == null) {
            return false;
        }
        boolean done = false;
        try (Fd mount = mount()) {
            for (Dir d : renamed) {
                done |= mount != null && absorb(mount, d);
            }
        } catch (LinuxException e) {
            // A name came or went, a program runs from there, RAM is full: it waits for the end.
            // EIO and ESTALE say, if not that the disk fails, which shows where it matters, that
            // others have changed it so that overlayfs does not understand it: it takes a file for
            // gone of which it knew all names, and finds another one.
            if (!e.is(
                    Errno.EIO,
                    Errno.ESTALE,
                    Errno.EUCLEAN,
                    Errno.ENOENT,
                    Errno.ENOTDIR,
                    Errno.ELOOP,
                    Errno.EXDEV,
                    Errno.EISDIR,
                    Errno.ENXIO,
                    Errno.ETXTBSY,
                    Errno.EAGAIN,
                    Errno.ENOSPC,
                    Errno.EDQUOT,
                    Errno.ENFILE,
                    Errno.EMFILE)) {
                throw e;
            }
        }
        return done;
    }

    /** The root of the overlay; null if it is not to be seen. */
    private Fd mount() throws IOException {
        for (MountInfo m : MountInfo.all()) {
            if (m.source().raw().equals("rampipe:" + pin.id()) && m.root().raw().equals("/")) {
                Fd fd = At.openNoLinks(m.path(), At.O_PATH | At.O_DIRECTORY);
                if (Stat.of(fd).mount() == m.id()) {
                    return fd;
                }
                fd.close();
            }
        }
        return null;
    }

    private boolean absorb(Fd mount, Dir d) throws IOException {
        // Programs need room, too: what those before have taken counts.
        long room = Math.min(memory, StatFs.of(upper.root()).availableBytes() / 2);
        try (Fd merged = At.openBeneathSameMount(mount, d.upperPath, TO_LOOK, 0);
                Fd above = At.openBeneath(upper.root(), d.upperPath, TO_LOOK, 0)) {
            // What cannot be done now must change nothing: else there would be no checkpoint.
            if (Stat.of(above).inode() != d.upperInode || missing(merged, above) > room) {
                return false;
            }
            copyUp(merged, above);
            if (!isSame(merged, above) || !covers(above, merged)) {
                return false;
            }
            Xattrs.set(above, UpperLayer.OPAQUE, YES);
            return true;
        }
    }

    /** Whether both are the same directory: what changes one changes the other. */
    private static boolean isSame(Fd merged, Fd above) throws IOException {
        Stat before = Stat.of(above);
        for (int pause : new int[] {0, 5, 20}) {
            JournalSyncBack.pause(pause);
            At.chown(merged, SAME, SAME);
            if (Digest.change(Stat.of(above)) != Digest.change(before)) {
                return true;
            }
        }
        return false;
    }

    /** Bytes of RAM for what is on disk only. */
    private static long missing(Fd merged, Fd above) throws IOException {
        long bytes = 0;
        for (FilePath name : At.list(merged)) {
            Stat s = Stat.at(merged, name);
            boolean there = above != null && has(above, name);
            if (!there) {
                bytes += FOR_AN_ENTRY + (s.isRegular() ? s.blocks() * SECTOR : 0);
            }
            if (s.isDirectory()) {
                try (Fd sub = At.open(merged, name, TO_LOOK, 0);
                        Fd subAbove = there ? At.open(above, name, TO_LOOK, 0) : null) {
                    bytes += missing(sub, subAbove);
                }
            }
        }
        return bytes;
    }

    private static void copyUp(Fd merged, Fd above) throws IOException {
        for (FilePath name : At.list(merged)) {
            Stat s = Stat.at(merged, name);
            if (!has(above, name)) {
                int flags = s.isRegular() ? At.O_WRONLY | At.O_APPEND | At.O_NONBLOCK : At.O_PATH;
                try (Fd fd = At.open(merged, name, flags | At.O_NOFOLLOW, 0)) {
                    if (!s.isRegular()) {
                        touch(fd, s);
                    }
                }
            }
            if (s.isDirectory()) {
                try (Fd sub = At.open(merged, name, TO_LOOK, 0);
                        Fd subAbove = At.open(above, name, TO_LOOK, 0)) {
                    copyUp(sub, subAbove);
                }
            }
        }
    }

    /** Changes nothing but the change time. A chown takes away set-user-ID and set-group-ID. */
    private static void touch(Fd fd, Stat s) throws IOException {
        if (s.isSymlink() || s.isDirectory() || (s.permissions() & SET_ID) == 0) {
            At.chown(fd, SAME, SAME);
        } else {
            At.chmod(fd, s.permissions());
        }
    }

    /** Whether the upper layer has all that is to be seen. */
    private static boolean covers(Fd above, Fd merged) throws IOException {
        Set<FilePath> there = new HashSet<>(At.list(above));
        for (FilePath name : At.list(merged)) {
            if (!there.contains(name)) {
                return false;
            }
        }
        for (FilePath name : At.listDirectories(merged)) {
            try (Fd sub = At.open(merged, name, TO_LOOK, 0);
                    Fd subAbove = At.open(above, name, TO_LOOK, 0)) {
                if (!covers(subAbove, sub)) {
                    return false;
                }
            }
        }
        return true;
    }

    private static boolean has(Fd dir, FilePath name) throws IOException {
        try {
            Stat.at(dir, name);
            return true;
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return false;
            }
            throw e;
        }
    }
}
