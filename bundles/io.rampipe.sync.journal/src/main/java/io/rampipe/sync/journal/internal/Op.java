package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import java.util.Map;

/**
 * One step from the disk's old state to its new one. Each may be done again after it was done,
 * wholly or in part, and does no harm: what is to be there lies ready under a number in the staging
 * directory, what is to go is moved there first, and what is found at a path is compared by
 * identity with what was there when the log was written.
 *
 * <p>Paths are relative to the lower directory; the empty path is the lower directory itself.
 * Identities are file handles as text (inode number and generation, so that a reused inode number
 * is not mistaken); the empty text stands for nothing at all.
 */
sealed interface Op {
    /**
     * Moves a renamed directory out of its old place, to {@code mN} in staging. In order of falling
     * depth.
     */
    record MoveOut(int number, FilePath path, String identity) implements Op {}

    /** Moves what was deleted or is in the way to {@code tN} in staging. */
    record Trash(int number, FilePath path, String identity) implements Op {}

    /** Moves a renamed directory from staging to its new place. */
    record MoveIn(int number, FilePath path) implements Op {}

    /** A new directory; its attributes follow. */
    record MakeDirectory(FilePath path) implements Op {}

    /**
     * Moves the finished {@code sN} from staging to its place, over the file of that identity if
     * there is one.
     */
    record Place(int number, FilePath path, String identity) implements Op {}

    /** Data for a file that stays the same file. The data follow the record in the log. */
    record Write(FilePath path, String identity, long offset, int length) implements Op {}

    /** A range of such a file that is now a hole. */
    record Punch(FilePath path, String identity, long offset, long length) implements Op {}

    /** The size of such a file. */
    record Resize(FilePath path, String identity, long size) implements Op {}

    /**
     * Attributes of a file or directory that stays, or of a new directory (then without identity).
     */
    record Attributes(
            FilePath path,
            String identity,
            int uid,
            int gid,
            int permissions,
            long accessSeconds,
            int accessNanos,
            long modifySeconds,
            int modifyNanos,
            Map<String, byte[]> xattrs)
            implements Op {}

    FilePath path();
}
