package io.rampipe.api;

import java.io.IOException;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import org.osgi.annotation.versioning.ConsumerType;

/**
 * Writes what changed in RAM to disk. Stateless as to pins, except for what makes it faster: a
 * fresh instance may take longer, never do wrong. A service with the property {@link Names#NAME}.
 *
 * <p>At every moment the disk holds, or holds all that recovery needs to make, the whole state
 * before or the whole state after.
 */
@ConsumerType
public interface SyncBack {
    /**
     * Whether this machine lets it work, and if not, why and what to do; empty means that it does.
     * One that does not gets no new pins.
     */
    default Optional<String> unusable() {
        return Optional.empty();
    }

    /** Whether it understands pins of this {@link Pin#format}. */
    boolean accepts(String format);

    /**
     * Brings the disk up to a state that the pin's target had at one moment, while programs go on
     * using it.
     *
     * @return what was done; {@link Result#consistent} is false if the target did not rest long
     *     enough for a copy at one moment, in which case nothing was written
     * @throws IOException with the disk as before or as after, or between the two with all that is
     *     missing in a committed redo log, which the next syncback finishes; what is in RAM is
     *     right in each case. The message names the cause and what to do. A full disk says so
     *     ({@link DiskFullException})
     */
    Result checkpoint(Pin pin) throws IOException;

    /**
     * The same with means for targets that do not rest by themselves.
     *
     * @return {@link Result#consistent} is false if they did not suffice; then {@link Result#why}
     *     tells the cause
     */
    default Result checkpoint(Pin pin, Allowance allowance) throws IOException {
        return checkpoint(pin);
    }

    /**
     * Begins the last syncback of a pin, before its mount is taken away: holds those who would open
     * the files on disk meanwhile, and keeps room on the disk for what is still to be written, so
     * that a full disk is found out while the mount is there.
     *
     * @throws DiskFullException if there is no such room; nothing changed
     */
    Last begin(Pin pin) throws IOException;

    /** What is not on disk yet, cheaply (no file data is read): an upper bound. */
    Dirty dirty(Pin pin) throws IOException;

    /**
     * Whether the RAM that is set aside for the pin is about to be used up, so that a checkpoint is
     * due at once: it makes room in it. Cheap; called many times a second.
     */
    default boolean pressed(Pin pin) throws IOException {
        return false;
    }

    /**
     * Stands for the pin's changes as they are now: as long as it stays the same, whichever process
     * asks, nothing has changed in RAM. No file data is read.
     *
     * @return empty if that cannot be told, or if there is something to be done that is put off
     *     until the pin's end
     */
    Optional<String> version(Pin pin) throws IOException;

    /**
     * Forgets what it remembers of a pin that is gone, and removes what it has on disk for it that
     * is worth nothing any more.
     */
    void forget(Pin pin);

    /**
     * Replays finished redo logs and drops unfinished ones on the disks that hold these
     * directories. Called before anything is pinned there, with every mount of RamPipe's over those
     * directories gone or known by {@code pins}.
     *
     * @param pins live pins, whose targets are left alone
     * @return one line for people about each log found
     */
    List<String> recover(Collection<FilePath> directories, Collection<Pin> pins) throws IOException;

    /**
     * What others have changed behind pins, past ones included, on the disks that hold these
     * directories and pins: for as long as the copies are there that were kept.
     *
     * @return oldest first
     */
    default List<Conflict> conflicts(Collection<FilePath> directories, Collection<Pin> pins)
            throws IOException {
        return List.of();
    }

    /**
     * If others have removed the directory on disk of a pin that is not mounted any more, makes
     * another one beside it, where what is in RAM can go.
     *
     * @return the record from now on; the same if the directory is there
     */
    default Pin replaced(Pin pin) throws IOException {
        return pin;
    }

    /**
     * Adds something that others did to a pin's target as a whole to the {@link #conflicts}.
     *
     * @param what goes on behind the target's path
     */
    default void conflict(Pin pin, String what) throws IOException {}

    /** The last syncback. One thread. Closing lets waiting openers go on. */
    @ConsumerType
    interface Last extends AutoCloseable {
        /**
         * Called after the mount is gone: writes what is still missing. Returns with all of it
         * durable. (The mount is not to be put back while this is open, unless it fails: who waits
         * to open a file has found the one on disk already, and would go on beside the mount.) May
         * be called again after an exception.
         *
         * @throws UnfinishedException if the mount must not be put back any more
         * @throws IOException otherwise: the mount may be put back; whatever has changed on disk is
         *     covered by what is in RAM
         */
        Result finish() throws IOException;

        @Override
        void close();
    }

    /**
     * What a checkpoint may take.
     *
     * @param freeze how long the programs that write to the target may be held at a time; zero:
     *     never
     * @param memory bytes of RAM for a copy of what changed
     */
    record Allowance(Duration freeze, long memory) {
        /** No freeze, and little memory. */
        public static final Allowance NO_FREEZE = new Allowance(Duration.ZERO, 64 << 20);
    }

    /**
     * What a syncback did.
     *
     * @param consistent whether the disk now equals the target at one moment
     * @param files files and directories changed on disk
     * @param bytes file data changed on disk
     * @param written bytes written to the disk altogether, redo log included
     * @param held how long programs were held
     * @param why if it is not consistent, why not, for people; empty if that is all there is to say
     */
    record Result(
            boolean consistent, int files, long bytes, long written, Duration held, String why) {
        public static final Result NOT_AT_REST = new Result(false, 0, 0, 0);

        public Result(boolean consistent, int files, long bytes, long written) {
            this(consistent, files, bytes, written, Duration.ZERO, "");
        }

        public Result held(Duration time) {
            return new Result(consistent, files, bytes, written, time, why);
        }

        public Result because(String cause) {
            return new Result(consistent, files, bytes, written, held, cause);
        }

        public Result plus(Result other) {
            return new Result(
                    consistent && other.consistent,
                    files + other.files,
                    bytes + other.bytes,
                    written + other.written,
                    held.plus(other.held),
                    why.isEmpty() ? other.why : why);
        }
    }

    /**
     * What is not on disk.
     *
     * @param files names changed
     * @param bytes size of the changed files at most
     * @param oldest no change before then is missing on disk, milliseconds since the epoch; 0 if
     *     there is none
     */
    record Dirty(int files, long bytes, long oldest) {}
}
