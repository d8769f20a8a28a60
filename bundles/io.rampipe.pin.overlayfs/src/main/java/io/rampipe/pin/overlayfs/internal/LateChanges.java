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
import io.rampipe.linux.Xattrs;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
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
 * is on disk now is the lower layer. One thread.
 */
final class LateChanges {
    private static final String OPAQUE = "trusted.overlay.opaque";
    private static final String REDIRECT = "trusted.overlay.redirect";
    private static final FilePath TOP = FilePath.of("");

    private final Baseline before;
    private final Mask mask;
    private final Tree after;
    private final Fd lower;
    private final Fd upper;
    private final long latest;

    /** Directories in the upper layer that have been renamed, by their paths on disk. */
    private final Map<FilePath, FilePath> renamed = new HashMap<>();

    /** Paths in the upper layer of directories there that are not those of the disk. */
    private final Set<FilePath> others = new HashSet<>();

    /**
     * @param before what was on disk when the target was covered
     * @param mask the directories that were
     * @param after what is there now that everybody has arrived, and nobody changes it any more
     * @param lower directory on disk, not O_PATH
     * @param upper upper layer, where programs may be writing
     * @param latest nanoseconds since the epoch; who changed something later was not on the way
     */
    LateChanges(Baseline before, Mask mask, Tree after, Fd lower, Fd upper, long latest) {
        this.before = before;
        this.mask = mask;
        this.after = after;
        this.lower = lower;
        this.upper = upper;
        this.latest = latest;
    }

    /** Whether all of them can have come first. Errs towards "no". */
    boolean cameFirst() throws IOException {
        findRenamed(upper, TOP, TOP);
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

    /**
     * @param path in the upper layer
     * @param below its path on disk; null if there it has none
     */
    private void findRenamed(Fd dir, FilePath path, FilePath below) throws IOException {
        for (FilePath name : At.listDirectories(dir)) {
            try (Fd sub = At.openDirectory(dir, name)) {
                FilePath child = path.resolve(name);
                FilePath was = below == null ? null : below.resolve(name);
                Optional<byte[]> redirect = Xattrs.get(sub, REDIRECT);
                if (Xattrs.get(sub, OPAQUE).isPresent()) {
                    was = null;
                } else if (redirect.isPresent()) {
                    FilePath to =
                            FilePath.ofRaw(new String(redirect.get(), StandardCharsets.ISO_8859_1));
                    was =
                            to.isAbsolute()
                                    ? FilePath.ofRaw(to.raw().replaceFirst("^/+", ""))
                                    : below == null ? null : below.resolve(to);
                    if (was != null) {
                        renamed.put(was, child);
                    }
                }
                if (was == null || redirect.isPresent()) {
                    others.add(child);
                }
                findRenamed(sub, child, was);
            } catch (LinuxException e) {
                // Programs are working here: it went, or became something else.
                if (!e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                    throw e;
                }
            }
        }
    }

    /** Where the directory that has that path on disk is in the upper layer; null if it is not. */
    private FilePath above(FilePath directory) {
        if (directory.isEmpty()) {
            return TOP;
        }
        FilePath now = renamed.get(directory);
        if (now != null) {
            return now;
        }
        FilePath parent = above(directory.parent());
        FilePath same = parent == null ? null : parent.resolve(directory.name());
        return same == null || others.contains(same) ? null : same;
    }

    private boolean cameFirst(FilePath path, Stat now) throws IOException {
        FilePath parent = above(path.parent());
        if (parent == null) {
            return false;
        }
        FilePath there = now.isDirectory() ? above(path) : parent.resolve(path.name());
        if (there == null) {
            return false;
        }
        try (Fd above = At.openBeneath(upper, there, At.O_PATH | At.O_NOFOLLOW, 0)) {
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
