package io.rampipe.api;

import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.osgi.annotation.versioning.ConsumerType;
import org.osgi.annotation.versioning.ProviderType;

/**
 * Puts a target behind RAM and takes the RAM away again. Stateless: everything it must remember is
 * in the {@link Pin}, so that another instance (after a restart, an update, a crash) can go on. A
 * service with the property {@link Names#NAME}.
 *
 * <p>Called by one engine thread at a time for each target, never on the event path.
 */
@ConsumerType
public interface PinStrategy {
    /**
     * Whether this machine lets the strategy work, and if not, why and what to do; empty means that
     * it does.
     */
    Optional<String> unusable();

    /**
     * Looks at a target and changes nothing.
     *
     * @param hot the files that made it hot, relative to a directory target; empty for a file
     *     target
     * @return what it would need
     * @throws RefusedException if it is not eligible, now or ever
     */
    Estimate examine(Target target, List<FilePath> hot) throws IOException;

    /**
     * Pins. On return the target's path leads to RAM, nobody uses what is below, and the hot files
     * are in RAM.
     *
     * @param journal is told each step before it is taken
     * @return the record, at {@link Pin.Step#PINNED}, already journalled
     * @throws RefusedException if it was not done; everything is as before
     */
    Pin pin(PinRequest request, PinJournal journal) throws IOException;

    /**
     * Takes the mount away from the target so that no program can change what is in RAM any more;
     * keeps the RAM.
     *
     * @throws BusyException if programs use it; nothing changed
     */
    void unmount(Pin pin) throws IOException;

    /** Puts the mount of {@link #unmount} back. */
    Pin remount(Pin pin) throws IOException;

    /**
     * Looks at a pin whose daemon died after it had been mounted and before anybody had looked
     * whether programs slipped past the mount meanwhile.
     *
     * @return the record, with {@link Pin#BYPASSED} if they may have
     */
    default Pin adopt(Pin pin) throws IOException {
        return pin.with(Pin.BYPASSED, "");
    }

    /** Whether the pin's mount is over its target now, in this mount namespace. */
    boolean mounted(Pin pin) throws IOException;

    /**
     * Whether programs may still change what is in RAM although others have taken the mount away
     * from the target: those that had files open go on with them. Removes what is left of the mount
     * as far as it can. Only for pins that are not {@link #mounted}.
     */
    default boolean lingers(Pin pin) throws IOException {
        return false;
    }

    /**
     * Removes everything that the pin holds in RAM and in the kernel. Only for pins that are
     * unmounted and synced. Idempotent.
     */
    void discard(Pin pin) throws IOException;

    /**
     * Looks for what pins without a record have left in the kernel: the record was deleted, or is
     * damaged. Changes nothing. Tells only what is RamPipe's beyond doubt and has its RAM in this
     * pool.
     *
     * @param pool the thin pool; the directory of each pin in it has the pin's id as its name
     * @param recorded ids that have a record
     */
    default List<Stray> strays(FilePath pool, Set<String> recorded) throws IOException {
        return List.of();
    }

    /**
     * A mount or device without a record. What is in its RAM may be nowhere else.
     *
     * @param id of the pin that it was
     * @param pin a record made anew, at {@link Pin.Step#PINNED}, by which it can be synced and
     *     unpinned like any other; empty if there is not enough left to make one
     * @param what for people: what it is, where, and why there is no record
     */
    record Stray(String id, Optional<Pin> pin, String what) {}

    /**
     * What a target would need.
     *
     * @param bytes RAM that pinning takes at once (hot files, structures)
     * @param most RAM that it could come to without any file growing: everything below the target
     *     changed
     * @param files regular files covered
     * @param reserved RAM that has to be there for it alone from the beginning; what it takes at
     *     once if it makes do without
     */
    record Estimate(long bytes, long most, int files, long reserved) {
        public Estimate(long bytes, long most, int files) {
            this(bytes, most, files, bytes);
        }
    }

    /**
     * An order to pin.
     *
     * @param id for the new pin
     * @param target what to pin
     * @param hot the files that made it hot, relative to a directory target
     * @param pool directory in the thin pool that the pin may fill; exists, empty, belongs to the
     *     pin
     * @param room bytes that it may take at once, or reserve
     */
    record PinRequest(String id, Target target, List<FilePath> hot, FilePath pool, long room) {}

    /**
     * Where records of pins go. Returns when the record is safe from the daemon's death (not from
     * the machine's). Refuses a record whose format no syncback accepts ({@link RefusedException}).
     */
    @ProviderType
    interface PinJournal {
        void write(Pin pin) throws IOException;
    }
}
