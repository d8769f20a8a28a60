package io.rampipe.api;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.osgi.annotation.versioning.ProviderType;

/**
 * The engine's own service: what the shell commands use. All methods may be called by any thread.
 */
@ProviderType
public interface RamPipe {
    /** All pins, hottest first. */
    List<PinStatus> pins();

    /** The hottest files and directories known by name, hottest first. */
    List<HotFile> top(int most);

    /**
     * All that is known about a path: whether it is watched, its rate, pinned or not, and each
     * reason.
     */
    Explanation why(FilePath path) throws IOException;

    /**
     * Pins a target by hand, whatever its rate. It stays pinned until unpinned by hand or by lack
     * of room.
     *
     * @throws RefusedException with the reason
     */
    PinStatus pin(FilePath path) throws IOException;

    /**
     * Syncs a pin and takes it away.
     *
     * @throws BusyException if it is in use: it was checkpointed and stays pinned
     * @throws java.nio.file.NoSuchFileException if nothing is pinned there
     */
    SyncBack.Result unpin(FilePath path) throws IOException;

    /**
     * Moves a pin to another strategy: syncs and unpins it, so that all of it is on disk, and pins
     * it again. If the other strategy refuses it, it goes back to the one that it had.
     *
     * @param strategy name of a pin strategy
     * @return the new pin
     * @throws BusyException if it is in use: it was checkpointed and stays as it is
     * @throws RefusedException if the other strategy does not take it; says whether it is pinned by
     *     the old one, or by none and on disk
     * @throws java.nio.file.NoSuchFileException if nothing is pinned at just that path
     */
    PinStatus migrate(FilePath path, String strategy) throws IOException;

    /** Syncs a pin, which stays pinned. */
    SyncBack.Result sync(FilePath path) throws IOException;

    /**
     * For backups: until {@link #thaw} nothing new is held in RAM alone, or as near as can be.
     * Nothing is pinned any more, and every pin is synced and taken away. A pin that is in use
     * cannot be: it is checkpointed every second meanwhile, and taken away as soon as it is free.
     * Does not outlive the daemon. Frozen already: only the time changes.
     *
     * @param time after which it thaws by itself; more than zero, a day at most
     * @return what is still pinned, and so not wholly on disk
     */
    Frozen freeze(Duration time) throws IOException;

    /**
     * Ends {@link #freeze}; what was pinned by hand is pinned again.
     *
     * @return whether it was frozen
     */
    boolean thaw();

    Status status();

    /**
     * Which of the engine's threads has ended although it should not have; empty while all are
     * there. Takes no lock and never waits, so that whoever watches over the daemon can ask at any
     * time.
     */
    Optional<String> broken();

    /**
     * What a freeze has come to.
     *
     * @param until epoch milliseconds
     * @param unpinned what was taken away
     * @param left what could not be, each with its {@link PinStatus#problem} and its {@link
     *     PinStatus#lastSync}
     */
    record Frozen(long until, List<FilePath> unpinned, List<PinStatus> left) {}

    /**
     * What others have changed on disk behind pins, past ones included, for as long as the copies
     * are there that were kept; oldest first.
     *
     * @throws IOException if not all can be told
     */
    List<Conflict> conflicts() throws IOException;

    /**
     * Every strategy there is, and those that are not there although a bundle, the configuration or
     * a pin names them. Of a kind that has an order, those in use first, in that order.
     */
    List<StrategyStatus> strategies();

    /**
     * Stops choosing files, unpins and syncs everything. Idempotent; further pins are refused.
     *
     * @return the pins that could not be taken away, each with its reason; empty: all is on disk
     */
    Map<FilePath, String> shutdown();

    /**
     * A pin and how it fares.
     *
     * @param state {@code pinned}, {@code syncing}, {@code busy} (to be unpinned, but in use),
     *     {@code failing} (see problem) or {@code orphaned} (its strategy is not there)
     * @param manual pinned by hand
     * @param rate accesses a second
     * @param size bytes held in RAM
     * @param dirtyBytes bytes that would be lost now at a power cut, at most
     * @param dirtyFiles names changed since the last syncback
     * @param since epoch milliseconds
     * @param oldestDirty epoch milliseconds; no older change is missing on disk. 0 if none is
     * @param lastSync epoch milliseconds of the last complete syncback; 0 if none
     * @param interval milliseconds between two checkpoints
     * @param problem what went wrong last, for people; empty if nothing
     */
    record PinStatus(
            String id,
            Target target,
            String strategy,
            String state,
            boolean manual,
            double rate,
            long size,
            long dirtyBytes,
            int dirtyFiles,
            long since,
            long oldestDirty,
            long lastSync,
            long interval,
            String problem) {}

    /**
     * A hot file or directory.
     *
     * @param state {@code pinned}, {@code hot}, {@code warm} or {@code refused}
     * @param reason why it is not pinned; empty if it is
     */
    record HotFile(FilePath path, boolean directory, double rate, String state, String reason) {}

    /**
     * Answer to why.
     *
     * @param state {@code pinned}, {@code eligible}, {@code refused}, {@code cold} or {@code
     *     unwatched}
     * @param reasons for people, most important first
     */
    record Explanation(
            FilePath path,
            String state,
            double rate,
            double pinRate,
            double unpinRate,
            List<String> reasons) {}

    /**
     * The daemon's state.
     *
     * @param state {@code watching}, {@code observing} (nothing may be pinned, because no directory
     *     is named), {@code frozen} (see {@link #freeze}), {@code holding} (a strategy is missing),
     *     {@code warming} (what was hot before is being pinned), {@code stopping}
     * @param problems for people; empty if all is well
     * @param eventsPerSecond over the last second or so
     * @param events since start
     * @param dropped queue overflows since start
     * @param tracked keys in the estimator
     * @param trackedBytes memory for them
     * @param poolSize bytes the thin pool may hold at present
     * @param poolUsed bytes in it
     * @param poolReserve bytes never planned with
     * @param memoryAvailable bytes, as the kernel estimates
     * @param resident bytes of the daemon itself
     * @param absorbed bytes written by programs into RAM instead of to disk, at least: growth of
     *     and changes in pinned files that were found at syncbacks and overwritten before they
     *     reached the disk are not seen
     * @param written bytes written to disk by syncbacks
     * @param pins number of pins
     * @param dirtyBytes in all pins
     */
    record Status(
            String state,
            List<String> problems,
            List<FilePath> watched,
            double eventsPerSecond,
            long events,
            long dropped,
            int tracked,
            long trackedBytes,
            long poolSize,
            long poolUsed,
            long poolReserve,
            long memoryAvailable,
            long resident,
            long absorbed,
            long written,
            int pins,
            long dirtyBytes,
            long uptimeMillis,
            String version) {}

    /**
     * A strategy.
     *
     * @param kind {@code source}, {@code rate}, {@code pin} or {@code sync}
     * @param bundle symbolic name; empty if there is none
     * @param state {@code active}; {@code unusable} on this machine (see the note); {@code
     *     inactive} (its bundle runs, but its component does not); {@code stopped}; {@code
     *     unresolved} (its bundle lacks something); {@code missing} (no bundle has it)
     * @param inUse whether the engine uses it for new work
     * @param pins number of pins it holds (kinds pin and sync)
     * @param note why it cannot be used; its mode of work; empty if there is nothing to say
     */
    record StrategyStatus(
            String kind,
            String name,
            String bundle,
            String version,
            String state,
            boolean inUse,
            int pins,
            String note) {}
}
