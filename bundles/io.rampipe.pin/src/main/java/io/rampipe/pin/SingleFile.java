package io.rampipe.pin;

import io.rampipe.api.FilePath;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.InodeFlags;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** The rules about which file may be pinned alone. Changes nothing. */
public final class SingleFile {
    private static final byte[] SQLITE = "SQLite format 3\0".getBytes(StandardCharsets.US_ASCII);

    private SingleFile() {}

    /** A file target: whether it may be pinned alone. */
    public static void checkAlone(Place place) throws IOException {
        FilePath path = place.target().path();
        checkAttributes(path.toString(), place.stat());
        if (SwapFiles.on(place.stat().device()).containsKey(place.stat().inode())) {
            throw new RefusedException(Cause.SWAP_FILE, path + " is a swap file in use");
        }
        if (place.stat().links() != 1) {
            throw new RefusedException(
                    Cause.LINKED_OUTSIDE, path + " has " + place.stat().links() + " hard links");
        }
        try (Fd parent = At.reopen(place.parent(), At.O_RDONLY | At.O_DIRECTORY)) {
            if ((InodeFlags.of(parent) & InodeFlags.CASEFOLD) != 0) {
                throw new RefusedException(
                        Cause.UNSUPPORTED, path.parent() + " ignores case in names (chattr +F)");
            }
            checkSiblings(place, parent);
        }
        checkContent(place);
    }

    /** Nothing beside a file target may look as if it belonged to it. */
    public static void checkSiblings(Place place, Fd parent) throws IOException {
        for (FilePath other : At.list(parent)) {
            if (belongTogether(place.name().raw(), other.raw())) {
                throw new RefusedException(
                        Cause.NOT_ALONE,
                        place.target()
                                + " may belong to "
                                + other
                                + " beside it: they would not be in step after a power cut");
            }
        }
    }

    /**
     * A sibling whose name begins with the file's name (a journal, a write-ahead log), or the other
     * way round, if what is added looks like a suffix.
     */
    public static boolean belongTogether(String name, String other) {
        if (other.equals(name)) {
            return false;
        }
        return other.startsWith(name)
                || name.startsWith(other)
                        && !Character.isLetterOrDigit(name.charAt(other.length()));
    }

    /** SQLite's rollback journal is beside the database only while a transaction runs. */
    private static void checkContent(Place place) throws IOException {
        ByteBuffer start = ByteBuffer.allocateDirect(SQLITE.length);
        try (Fd file = At.reopen(place.self(), At.O_RDONLY | At.O_NOATIME | At.O_NONBLOCK)) {
            Io.readFully(file, start, 0);
        } catch (LinuxException e) {
            if (!e.is(Errno.EAGAIN)) {
                throw e;
            }
            throw new RefusedException(Cause.IN_USE, place.target() + " is leased by a program", e);
        }
        if (start.flip().equals(ByteBuffer.wrap(SQLITE))) {
            throw new RefusedException(
                    Cause.NOT_ALONE,
                    place.target()
                            + " is an SQLite database: alone it would not be in step with its"
                            + " journal");
        }
    }

    /** What the file or directory is marked as must not stand against it. */
    public static void checkAttributes(String name, Stat stat) throws RefusedException {
        if ((stat.attributes() & (Stat.IMMUTABLE | Stat.APPEND_ONLY)) != 0) {
            throw new RefusedException(
                    Cause.IMMUTABLE,
                    name
                            + ((stat.attributes() & Stat.IMMUTABLE) != 0
                                    ? " is immutable (chattr +i)"
                                    : " is append-only (chattr +a)"));
        }
        if ((stat.attributes() & Stat.ENCRYPTED) != 0) {
            throw new RefusedException(
                    Cause.UNSUPPORTED,
                    name + " is encrypted by its file system; it would be in the clear in RAM");
        }
        if ((stat.attributes() & Stat.VERITY) != 0) {
            throw new RefusedException(
                    Cause.UNSUPPORTED, name + " is sealed by fs-verity and can never be written");
        }
    }
}
