package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;

/**
 * What a program changed on disk that was on its way there when the target was covered, while
 * others have begun to work in the overlay. Its system call had not returned yet, so nobody can
 * tell that it did not come first. If the upper layer is what it would be then, all is well: what
 * is on disk now is the lower layer.
 *
 * @param before what was on disk when the target was covered
 * @param after what is there now that everybody has arrived, and nobody changes it any more
 */
record LateChanges(Tree before, Tree after) {

    /**
     * Whether all of them can have come first. Errs towards "no".
     *
     * @param lower directory on disk
     * @param upper upper layer, where programs may be writing
     */
    boolean cameFirst(Fd lower, Fd upper) throws IOException {
        Map<FilePath, Stat> old = all(before);
        Map<FilePath, Stat> now = all(after);
        Set<FilePath> names = new HashSet<>(old.keySet());
        names.addAll(now.keySet());
        for (FilePath name : names) {
            Stat was = old.get(name);
            Stat is = now.get(name);
            boolean same =
                    was != null
                            && is != null
                            && (is.isDirectory() ? sameDirectory(was, is) : is.unchangedSince(was));
            if (!same && !cameFirst(name, was, is, lower, upper)) {
                return false;
            }
        }
        return sameDirectory(before.root(), after.root());
    }

    private static Map<FilePath, Stat> all(Tree tree) {
        Map<FilePath, Stat> all = new HashMap<>(tree.files());
        all.putAll(tree.others());
        return all;
    }

    /** What is in it counts by itself. */
    private static boolean sameDirectory(Stat was, Stat is) {
        return is.sameFile(was)
                && is.mode() == was.mode()
                && is.uid() == was.uid()
                && is.gid() == was.gid();
    }

    private static boolean cameFirst(FilePath name, Stat was, Stat is, Fd lower, Fd upper)
            throws IOException {
        if (was != null && was.isDirectory()) {
            // The overlay goes on showing it: the mask has it.
            return false;
        }
        try (Fd above = At.openBeneath(upper, name, At.O_PATH | At.O_NOFOLLOW, 0)) {
            Stat upperStat = Stat.of(above);
            Optional<FileHandle> origin = FileHandle.copiedUpFrom(above);
            if (origin.isEmpty()) {
                // Made, or removed, through the overlay after that.
                return !upperStat.isDirectory() && (is == null || !is.isDirectory());
            }
            if (is == null) {
                // A copy of what has been removed on disk.
                return false;
            }
            try (Fd below = At.openBeneath(lower, name, At.O_PATH | At.O_NOFOLLOW, 0)) {
                OptionalLong copied = Stat.birth(above);
                return FileHandle.of(below).equals(origin.get())
                        && (is.isDirectory()
                                || copied.isPresent() && is.change() < copied.getAsLong());
            }
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return true;
            }
            if (e.is(Errno.ENOTDIR, Errno.ELOOP, Errno.EOPNOTSUPP)) {
                return false;
            }
            throw e;
        }
    }
}
