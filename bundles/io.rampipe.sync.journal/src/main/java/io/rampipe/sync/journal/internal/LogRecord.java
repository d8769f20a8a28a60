package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.Stat;

/**
 * What a redo log consists of, in the order in which it is carried out. {@code docs/redo-log.md}
 * has the format.
 *
 * <p>Directories and files are numbered; number 0 is the target's own directory. They are known by
 * their inode number, and found wherever an interrupted run has left them: in the staging
 * directory, at the new place, at the old place.
 */
sealed interface LogRecord {
    /** No directory. */
    int NONE = -1;

    /** The target's directory. */
    int ROOT = 0;

    /**
     * First record.
     *
     * @param sequence of this log among those of the pin; begins the names of its staged files
     * @param deferred whether it has directories that must not change places while the overlay is
     *     mounted, which finds them where they were. Only while it is, the log waits, but for data
     *     and attributes of files
     * @param device and inode: of the target's directory
     * @param handle file handle of the target's directory; empty if there is none
     * @param target path at pin time, for messages and as a last resort
     * @param file whether the target is one file: {@code target}'s last component
     */
    record Header(
            String pin,
            long sequence,
            boolean deferred,
            String device,
            long inode,
            String handle,
            FilePath target,
            boolean file)
            implements LogRecord {}

    /**
     * A directory.
     *
     * @param staged path below the staging directory where it waits before it is placed; empty if
     *     it never does
     */
    record Directory(
            int id,
            long inode,
            int oldParent,
            FilePath oldName,
            int newParent,
            FilePath newName,
            FilePath staged)
            implements LogRecord {}

    /**
     * Anything but a directory.
     *
     * @param type as in {@link Stat}
     * @param home directory in which it has a name before and after; NONE if it is found in the
     *     staging directory
     */
    record File(int id, long inode, int type, int home, FilePath homeName, FilePath staged)
            implements LogRecord {}

    /** The file gets this size. */
    record Size(int file, long size) implements LogRecord {}

    /** These bytes go there; they follow in the log. */
    record Data(int file, long offset, int length) implements LogRecord {}

    /** This range becomes a hole. */
    record Hole(int file, long offset, long length) implements LogRecord {}

    /** The directory goes from its old place to the staging directory. */
    record Detach(int directory) implements LogRecord {}

    /**
     * What a file that others may have changed since was like when the log was written. Removing
     * and replacing do not change these of any other file, so they are good for a log that was
     * partly applied.
     *
     * @param size -1: not to be compared
     */
    record Was(long size, long modifySeconds, int modifyNanos) {
        /** Not to be compared. */
        static final Was UNKNOWN = new Was(-1, 0, 0);

        static Was of(Stat stat) {
            return stat.isDirectory()
                    ? UNKNOWN
                    : new Was(stat.size(), stat.modifySeconds(), stat.modifyNanos());
        }

        boolean is(Stat now) {
            return size < 0
                    || size == now.size()
                            && modifySeconds == now.modifySeconds()
                            && modifyNanos == now.modifyNanos();
        }
    }

    /**
     * The name goes, if it is still that file; a directory with all that is in it.
     *
     * @param was of a file
     */
    record Remove(int directory, FilePath name, long inode, boolean isDirectory, Was was)
            implements LogRecord {
        Remove(int directory, FilePath name, long inode, boolean isDirectory) {
            this(directory, name, inode, isDirectory, Was.UNKNOWN);
        }
    }

    /** The directory goes from the staging directory to its new place. */
    record PlaceDirectory(int directory) implements LogRecord {}

    /**
     * The staged file gets this name.
     *
     * @param expected inode that has the name before; 0 if none has
     * @param last whether the name in the staging directory is not needed any more
     * @param was of the expected one
     */
    record PlaceFile(int file, int directory, FilePath name, long expected, boolean last, Was was)
            implements LogRecord {
        PlaceFile(int file, int directory, FilePath name, long expected, boolean last) {
            this(file, directory, name, expected, last, Was.UNKNOWN);
        }
    }

    record FileAttributes(int file, Attributes attributes) implements LogRecord {}

    record DirectoryAttributes(int directory, Attributes attributes) implements LogRecord {}

    /**
     * Last record.
     *
     * @param records before this one
     * @param sum over their checksums
     */
    record Footer(long records, long sum) implements LogRecord {}
}
