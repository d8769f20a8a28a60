package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.PinStrategy.Estimate;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
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
import java.util.Collection;
import java.util.List;
import java.util.Map;

/** The rules about what may be pinned, and what it would cost. Changes nothing. */
final class Eligibility {
    private static final long PAGE = 4096;
    private static final long SECTOR = 512;

    /** Upper and work directory, index and attributes. */
    private static final long FOR_A_PIN = 64 * 1024;

    private static final long FOR_A_FILE = 1024;

    private static final byte[] SQLITE = "SQLite format 3\0".getBytes(StandardCharsets.US_ASCII);

    private final FileSystems fileSystems;
    private final int maxFiles;

    Eligibility(FileSystems fileSystems, int maxFiles) {
        this.fileSystems = fileSystems;
        this.maxFiles = maxFiles;
    }

    int maxFiles() {
        return maxFiles;
    }

    /** What does not depend on what is in the target. */
    void checkPlace(Place place) throws IOException {
        fileSystems.check(place.target().path(), place.mount());
        Exposure.now().check(place);
    }

    /** A directory target: everything below it. */
    Tree walk(Place place, Tree.Visitor visitor) throws IOException {
        return Tree.walk(
                place.target().path(),
                place.self(),
                SwapFiles.on(place.stat().device()),
                maxFiles,
                visitor);
    }

    /** A file target: whether it may be pinned alone. */
    void checkAlone(Place place) throws IOException {
        FilePath path = place.target().path();
        Tree.checkAttributes(path.toString(), place.stat());
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
                        Cause.UNSUPPORTED,
                        path.parent()
                                + " ignores case in names (chattr +F), which overlayfs does not");
            }
            checkSiblings(place, parent);
        }
        checkContent(place);
    }

    /** Nothing beside a file target may look as if it belonged to it. */
    static void checkSiblings(Place place, Fd parent) throws IOException {
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
    static boolean belongTogether(String name, String other) {
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

    static Estimate estimate(Target target, Tree tree, Collection<FilePath> hot) {
        Map<FilePath, Stat> files = tree.files();
        long base = FOR_A_PIN + (long) tree.count() * FOR_A_FILE;
        long most = base;
        for (Stat stat : files.values()) {
            most += pages(stat.size()) + FOR_A_FILE;
        }
        return new Estimate(base + bytes(files, hot), most, files.size());
    }

    static Estimate estimate(Stat file) {
        return new Estimate(
                FOR_A_PIN + allocated(file) + FOR_A_FILE,
                FOR_A_PIN + pages(file.size()) + FOR_A_FILE,
                1);
    }

    /** What copying up the hot files takes. */
    private static long bytes(Map<FilePath, Stat> files, Collection<FilePath> hot) {
        long bytes = 0;
        for (FilePath path : hot) {
            Stat stat = files.get(path);
            if (stat != null) {
                bytes += allocated(stat) + FOR_A_FILE;
            }
        }
        return bytes;
    }

    /**
     * Copying up keeps holes; a file kept in its inode has no blocks but takes a page all the same.
     */
    private static long allocated(Stat stat) {
        long pages = pages(stat.size());
        return Math.min(pages, Math.max(PAGE, pages(stat.blocks() * SECTOR)));
    }

    private static long pages(long size) {
        return (size + PAGE - 1) / PAGE * PAGE;
    }

    /** Refuses what does not fit now. */
    static void checkRoom(Target target, Estimate estimate, long room) throws RefusedException {
        if (estimate.bytes() > room) {
            throw new RefusedException(
                    Cause.NO_ROOM,
                    target
                            + " needs "
                            + estimate.bytes()
                            + " bytes of RAM at once; there is room for "
                            + room);
        }
    }

    /** Those of the hot files that are there. */
    static List<FilePath> present(Tree tree, List<FilePath> hot) {
        return hot.stream().distinct().filter(tree.files()::containsKey).toList();
    }
}
