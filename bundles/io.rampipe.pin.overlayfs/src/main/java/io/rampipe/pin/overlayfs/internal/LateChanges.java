package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Baseline;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Mask;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * What a program changed on disk that was on its way there when the target was covered, while
 * others have begun to work in the overlay. Its system call had not returned yet, so nobody can
 * tell that it did not come first. If the upper layer is what it would be then, all is well: what
 * is on disk now is the lower layer. One thread.
 *
 * @param before what was on disk when the target was covered
 * @param mask the directories that were
 * @param after what is there now that everybody has arrived, and nobody changes it any more
 * @param lower directory on disk, not O_PATH
 * @param upper upper layer, where programs may be writing
 * @param latest nanoseconds since the epoch; who changed something later was not on the way
 */
record LateChanges(Baseline before, Mask mask, Tree after, Fd lower, Fd upper, long latest) {

    /** Whether all of them can have come first. Errs towards "no". */
    boolean cameFirst() throws IOException {
        for (Map.Entry<Long, FilePath> d : mask.paths().entrySet()) {
            Stat now = after.others().get(d.getValue());
            if (now == null || !now.isDirectory() || now.inode() != d.getKey()) {
                // The overlay goes on showing it: the mask has it.
                return false;
            }
        }
        return before.untouched(after.root())
                && cameFirst(after.files())
                && cameFirst(after.others())
                && originsAreThere(upper);
    }

    private boolean cameFirst(Map<FilePath, Stat> all) throws IOException {
        for (Map.Entry<FilePath, Stat> e : all.entrySet()) {
            FilePath path = e.getKey();
            Stat now = e.getValue();
            FilePath parent = path.parent();
            Stat directory = parent.isEmpty() ? after.root() : after.others().get(parent);
            boolean same =
                    directory != null
                            && before.same(directory.inode(), path.name(), now)
                            && (!now.isDirectory() || before.untouched(now));
            if (!same && !cameFirst(path, now)) {
                return false;
            }
        }
        return true;
    }

    private boolean cameFirst(FilePath path, Stat now) throws IOException {
        try (Fd above = At.openBeneath(upper, path, At.O_PATH | At.O_NOFOLLOW, 0)) {
            Optional<FileHandle> origin = FileHandle.copiedUpFrom(above);
            if (origin.isEmpty()) {
                // Made, or removed, through the overlay after that.
                return !Stat.of(above).isDirectory() && !now.isDirectory() && inTime(now);
            }
            try (Fd below = At.openBeneath(lower, path, At.O_PATH | At.O_NOFOLLOW, 0)) {
                OptionalLong copied = Stat.birth(above);
                return FileHandle.of(below).equals(origin.get())
                        && (now.isDirectory()
                                || copied.isPresent() && now.change() < copied.getAsLong());
            }
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return inTime(now);
            }
            if (e.is(Errno.ENOTDIR, Errno.ELOOP, Errno.EOPNOTSUPP)) {
                return false;
            }
            throw e;
        }
    }

    private boolean inTime(Stat now) {
        return now.change() <= latest;
    }

    /** A copy of what has been removed on disk would be all that is left of it. */
    private boolean originsAreThere(Fd dir) throws IOException {
        for (FilePath name : At.list(dir)) {
            try (Fd above = At.open(dir, name, At.O_PATH | At.O_NOFOLLOW, 0)) {
                if (Stat.of(above).isDirectory()) {
                    try (Fd sub = At.openDirectory(dir, name)) {
                        if (!originsAreThere(sub)) {
                            return false;
                        }
                    }
                    continue;
                }
                Optional<FileHandle> origin = FileHandle.copiedUpFrom(above);
                if (origin.isPresent() && !isThere(origin.get())) {
                    return false;
                }
            } catch (LinuxException e) {
                // Programs are working here: it went, or became something else.
                if (!e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                    throw e;
                }
            }
        }
        return true;
    }

    private boolean isThere(FileHandle origin) throws IOException {
        try (Fd below = origin.open(lower, At.O_PATH)) {
            return Stat.of(below).links() > 0;
        } catch (LinuxException e) {
            if (e.is(Errno.ESTALE, Errno.ENOENT)) {
                return false;
            }
            throw e;
        }
    }
}
