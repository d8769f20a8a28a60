package io.rampipe.sync.journal.internal;

import io.rampipe.api.BusyException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Names;
import io.rampipe.api.Pin;
import io.rampipe.api.RedoLog;
import io.rampipe.api.SyncBack;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Processes;
import java.io.IOException;
import java.time.Duration;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

/**
 * Writes what a snapshot has changed to the file on disk that it is of, by the same redo log as
 * {@link JournalSyncBack}, which also recovers it: a log does not tell how the pin was made.
 */
@Component(property = Names.NAME + "=" + SnapshotSyncBack.NAME)
public final class SnapshotSyncBack implements SyncBack, RedoLog {
    static final String NAME = "snapshot";

    /** How often it follows programs that write faster than the disk before they have to wait. */
    private static final int ROUNDS = 4;

    private static final long LITTLE = 4 << 20;

    private static final Duration ENDLESS = Duration.ofDays(1);
    private static final long RENEWAL_PAUSE = 60_000_000_000L;

    private final Steps steps;
    private final Consumer<String> report;
    private final long[] key = BlockHash.key();
    private final Map<String, SnapshotState> states = new ConcurrentHashMap<>();

    @Activate
    public SnapshotSyncBack(@Reference(service = LoggerFactory.class) Logger log) {
        this(Steps.NONE, log::warn);
    }

    SnapshotSyncBack(Steps steps, Consumer<String> report) {
        this.steps = steps;
        this.report = report;
    }

    @Override
    public boolean accepts(String format) {
        return Pin.SNAPSHOT.equals(format) || Pin.SNAPSHOT_BLOCK.equals(format);
    }

    @Override
    public Result checkpoint(Pin pin) throws IOException {
        return checkpoint(pin, Allowance.NO_FREEZE);
    }

    @Override
    public Result checkpoint(Pin pin, Allowance allowance) throws IOException {
        SnapshotState state = state(pin);
        state.lock.lock();
        try (SnapshotView view = view(pin, state)) {
            state.dirty = look(view, state);
            return pressed(pin, state) && !allowance.freeze().isZero()
                    ? relieve(pin, state, view)
                    : checkpoint(pin, state, view, allowance.freeze());
        } catch (ExceptionTable.LostException e) {
            throw new SnapshotSync(pin, state, key, steps).lost(e);
        } finally {
            state.lock.unlock();
        }
    }

    private Result checkpoint(Pin pin, SnapshotState state, SnapshotView view, Duration freeze)
            throws IOException {
        Result result = Result.NOT_AT_REST;
        if (freeze.isZero() || state.tooLong) {
            result = run(pin, state, view, SnapshotSync.Mode.AT_REST, freeze);
        }
        return result.consistent() || freeze.isZero()
                ? result
                : run(pin, state, view, SnapshotSync.Mode.HOLDING, freeze);
    }

    /**
     * The same if the RAM for its changes is about to be used up: then it is given back. For as
     * long as much changes meanwhile, all of it is brought to disk once more before, while programs
     * go on, so that they have to wait for little in the end.
     */
    private Result relieve(Pin pin, SnapshotState state, SnapshotView view) throws IOException {
        Result all = new Result(true, 0, 0, 0);
        for (int i = 0; i < ROUNDS; i++) {
            Result round = run(pin, state, view, SnapshotSync.Mode.HOLDING, ENDLESS);
            all = all.plus(round);
            if (!round.consistent()) {
                return all;
            }
            if (round.bytes() < LITTLE) {
                break;
            }
        }
        return all.plus(renew(pin, state, view));
    }

    /**
     * Brings to disk what has changed during the checkpoint before, and gives the snapshot a fresh
     * store. Programs that write wait for all of that.
     */
    private Result renew(Pin pin, SnapshotState state, SnapshotView view) throws IOException {
        view.flush();
        GuardedFreeze freeze = view.freeze();
        try {
            Result result = run(pin, state, view, SnapshotSync.Mode.FROZEN_LIVE, ENDLESS);
            if (result.consistent()) {
                freshStore(pin, state, view);
            }
            return result.held(freeze.held());
        } finally {
            freeze.close();
        }
    }

    /** Programs go on if it fails, with the part of the store that is on disk. */
    private void freshStore(Pin pin, SnapshotState state, SnapshotView view)
            throws ExceptionTable.LostException {
        String why = "";
        try {
            if (new StoreRenewal(pin, view, steps).run()) {
                state.known.clear();
            } else {
                why =
                        "programs have moved or replaced much of it; it is given back when it is"
                                + " unpinned";
            }
        } catch (ExceptionTable.LostException e) {
            throw e;
        } catch (IOException e) {
            why = e.getMessage();
        }
        if (!why.isEmpty()) {
            state.nextRenewal = System.nanoTime() + RENEWAL_PAUSE;
            report.accept(
                    pin.target()
                            + " has used up the RAM that is set aside for its changes, and goes on"
                            + " with room on its disk, because that RAM cannot be given back now: "
                            + why);
        }
    }

    @Override
    public boolean pressed(Pin pin) throws IOException {
        try {
            return pressed(pin, state(pin));
        } catch (ExceptionTable.LostException e) {
            // The next checkpoint tells.
            return false;
        }
    }

    private static boolean pressed(Pin pin, SnapshotState state) throws IOException {
        return System.nanoTime() - state.nextRenewal >= 0 && SnapshotView.crowded(pin);
    }

    private Result run(
            Pin pin, SnapshotState state, SnapshotView view, SnapshotSync.Mode mode, Duration most)
            throws IOException {
        return run(pin, state, view, mode, new SnapshotSync(pin, state, key, steps).holding(most));
    }

    private Result run(
            Pin pin,
            SnapshotState state,
            SnapshotView view,
            SnapshotSync.Mode mode,
            SnapshotSync sync)
            throws IOException {
        try {
            Result result = sync.run(view, mode);
            state.tooLong = sync.tookTooLong();
            return result;
        } catch (IOException | RuntimeException e) {
            state.known.clear();
            state.synced = null;
            throw e;
        } finally {
            for (String line : sync.reports()) {
                report.accept(pin.target() + ": " + line);
            }
        }
    }

    private static SnapshotView view(Pin pin, SnapshotState state) throws IOException {
        try {
            SnapshotView view = SnapshotView.open(pin);
            if (state.fresh) {
                view.thaw();
                view.showStore();
                state.fresh = false;
            }
            return view;
        } catch (LinuxException e) {
            throw new IOException(
                    "what is in RAM of "
                            + pin.target()
                            + " cannot be read: "
                            + e.getMessage()
                            + "; dmsetup status "
                            + pin.attribute(Pin.SNAPSHOT_DEVICE)
                            + " and dmesg may tell more",
                    e);
        }
    }

    /**
     * Writes everything at once, holding the file system until the end: whoever opens the file in
     * between gets the one on disk only when it has all that was in RAM.
     */
    @Override
    public Last begin(Pin pin) throws IOException {
        SnapshotState state = state(pin);
        state.lock.lock();
        try {
            boolean mounted = checkUnused(pin);
            SnapshotView view = view(pin, state);
            GuardedFreeze freeze = null;
            boolean begun = false;
            try {
                freeze = view.freeze();
                state.settle(view);
                Result result = run(pin, state, view, SnapshotSync.Mode.FROZEN, ENDLESS);
                state.last = view;
                begun = true;
                return new Ending(state, view, freeze, result);
            } catch (ExceptionTable.LostException e) {
                SnapshotSync sync = new SnapshotSync(pin, state, key, steps);
                if (mounted) {
                    throw sync.lost(e);
                }
                sync.giveUp(sync.lost(e));
                sync.reports().forEach(report);
                return new Ending(state, null, null, new Result(true, 0, 0, 0));
            } finally {
                if (!begun) {
                    if (freeze != null) {
                        freeze.close();
                    }
                    view.close();
                }
            }
        } finally {
            state.lock.unlock();
        }
    }

    @Override
    public Optional<Committed> commit(Pin pin, Hold hold) throws IOException {
        SnapshotState state = state(pin);
        state.lock.lock();
        SnapshotView view = null;
        boolean done = false;
        try {
            checkUnused(pin);
            view = view(pin, state);
            hold.take();
            state.settle(view);
            SnapshotSync sync = new SnapshotSync(pin, state, key, steps);
            Result result = run(pin, state, view, SnapshotSync.Mode.COMMIT_ONLY, sync);
            if (!result.consistent()) {
                return Optional.empty();
            }
            state.last = view;
            done = true;
            return Optional.of(new Net(pin, state, view, sync, result));
        } finally {
            if (!done && view != null) {
                view.close();
            }
            state.lock.unlock();
        }
    }

    /** See {@link #commit}. */
    private final class Net implements Committed {
        private final Pin pin;
        private final SnapshotState state;
        private final SnapshotView view;
        private final SnapshotSync sync;
        private final Result result;

        Net(Pin pin, SnapshotState state, SnapshotView view, SnapshotSync sync, Result result) {
            this.pin = pin;
            this.state = state;
            this.view = view;
            this.sync = sync;
            this.result = result;
        }

        @Override
        public Result done() throws IOException {
            state.lock.lock();
            try {
                sync.applied();
                return result;
            } catch (IOException | RuntimeException e) {
                state.known.clear();
                state.synced = null;
                throw e;
            } finally {
                sync.reports().forEach(line -> report.accept(pin.target() + ": " + line));
                state.lock.unlock();
            }
        }

        @Override
        public void close() {
            state.lock.lock();
            state.last = null;
            view.close();
            state.lock.unlock();
        }
    }

    /** Rather than hold programs in vain. Returns whether programs could use it. */
    private static boolean checkUnused(Pin pin) throws IOException {
        Set<Long> mounts = new HashSet<>();
        for (MountInfo m : MountInfo.all()) {
            if (m.pin().equals(Optional.of(pin.id()))) {
                mounts.add((long) m.id());
            }
        }
        if (!mounts.isEmpty()) {
            List<Processes.Holder> holders = Processes.onMounts(mounts, 1);
            if (!holders.isEmpty()) {
                throw new BusyException(pin.target() + " is in use: " + holders.get(0));
            }
        }
        return !mounts.isEmpty();
    }

    /** See {@link #begin}. Without a view if there is nothing left to be seen. */
    private static final class Ending implements Last {
        private final SnapshotState state;
        private final SnapshotView view;
        private final GuardedFreeze freeze;
        private Result result;

        Ending(SnapshotState state, SnapshotView view, GuardedFreeze freeze, Result result) {
            this.state = state;
            this.view = view;
            this.freeze = freeze;
            this.result = result;
        }

        @Override
        public Result finish() {
            Result done = result;
            result = new Result(true, 0, 0, 0);
            return done;
        }

        @Override
        public void close() {
            state.lock.lock();
            try {
                state.last = null;
                if (freeze != null) {
                    freeze.close();
                }
            } catch (IOException e) {
                // Then nobody can thaw it; what is in it is on disk.
                return;
            } finally {
                if (view != null) {
                    view.close();
                }
                state.lock.unlock();
            }
        }
    }

    @Override
    public Dirty dirty(Pin pin) throws IOException {
        SnapshotState state = state(pin);
        if (!state.lock.tryLock()) {
            return state.dirty;
        }
        try {
            if (state.last != null) {
                return state.dirty;
            }
            try (SnapshotView view = view(pin, state)) {
                state.dirty = look(view, state);
            }
            return state.dirty;
        } finally {
            state.lock.unlock();
        }
    }

    /** All that the store has may have changed again. */
    private static Dirty look(SnapshotView view, SnapshotState state) throws IOException {
        Optional<String> version = state.version(view, false);
        if (version.isPresent() && version.get().equals(state.synced)) {
            return new Dirty(0, 0, 0);
        }
        long beyond = Math.max(0, view.size() - view.blocks() * SnapshotView.BLOCK);
        long changed = view.changedNanos() / 1_000_000;
        return new Dirty(
                1,
                Math.min(view.size(), view.stored() + beyond),
                state.moment == 0 ? changed : Math.min(changed, state.moment));
    }

    @Override
    public Optional<String> version(Pin pin) throws IOException {
        SnapshotState state = state(pin);
        state.lock.lock();
        try {
            if (state.last != null) {
                return state.version(state.last, true);
            }
            try (SnapshotView view = view(pin, state)) {
                return state.version(view, false);
            }
        } finally {
            state.lock.unlock();
        }
    }

    @Override
    public void forget(Pin pin) {
        states.remove(pin.id());
    }

    /** {@link JournalSyncBack} does it for all logs. */
    @Override
    public List<String> recover(Collection<FilePath> directories, Collection<Pin> pins) {
        return List.of();
    }

    @Override
    public void conflict(Pin pin, String what) throws IOException {
        Disk.Identity identity = Disk.Identity.of(pin);
        try (Disk.Place place = Disk.find(identity, steps)) {
            ConflictList.ALL.add(
                    place.disk(),
                    identity,
                    pin.id(),
                    List.of(new Drift.Found(pin.target().path().name(), FilePath.of(""), what)));
        }
    }

    private SnapshotState state(Pin pin) {
        return states.computeIfAbsent(pin.id(), id -> new SnapshotState());
    }
}
