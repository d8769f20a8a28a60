package io.rampipe.engine.internal;

import io.rampipe.api.BusyException;
import io.rampipe.api.DiskFullException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.PinStrategy.Estimate;
import io.rampipe.api.PinStrategy.PinRequest;
import io.rampipe.api.Printable;
import io.rampipe.api.Refusal;
import io.rampipe.api.RefusedException;
import io.rampipe.api.SyncBack;
import io.rampipe.api.Target;
import io.rampipe.api.UnfinishedException;
import io.rampipe.api.Units;
import io.rampipe.linux.Freeze;
import io.rampipe.linux.LinuxException;
import java.io.IOException;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalTime;
import java.time.ZoneId;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.osgi.service.log.FormatterLogger;

/**
 * Owns the pins: makes them, checkpoints them, takes them away, takes them over from an earlier
 * daemon. Every step is journalled before it is taken. Any thread; one pin is worked on by one
 * thread at a time, and one target is pinned at a time.
 */
final class Keeper {
    /**
     * How often a pin is checkpointed before it is unmounted, for as long as much has changed
     * since.
     */
    private static final int UNPIN_ROUNDS = 3;

    /**
     * How often programs may interrupt an unpin by changing something before the unmounting, until
     * it goes on all the same.
     */
    private static final int QUIET_TRIES = 4;

    private static final long LITTLE = 8 << 20;

    private static final String LEFT = "left by an earlier daemon";

    private static final long FIRST_PAUSE = 1_000_000_000L;
    private static final int MOST_DOUBLINGS = 6;

    private static final long FROZEN_INTERVAL = 1_000_000_000L;

    /** How long a strategy is asked for a target that moves to it while programs have it open. */
    private static final long MIGRATION_PATIENCE = 3_000_000_000L;

    private static final long MIGRATION_PAUSE = 20_000_000L;

    /** Between two freezes programs run for so many times as long as they were held. */
    private static final int LEAST_FREE = 20;

    private final Supplier<Settings> settings;
    private final Strategies<PinStrategy> strategies;
    private final Strategies<SyncBack> syncs;
    private final ThinPool pool;
    private final PinFiles journal;
    private final FormatterLogger log;
    private final Leftovers leftovers;
    private final SecureRandom random = new SecureRandom();
    private final PullableDisk disks = new PullableDisk(Path.of("/sys"));
    private final List<LivePin> pins = new CopyOnWriteArrayList<>();
    private final ReentrantLock pinning = new ReentrantLock();
    private final AtomicLong written = new AtomicLong();
    private final AtomicLong absorbed = new AtomicLong();
    private Sense sense;
    private Runnable changed = () -> {};
    private final List<FilePath> takenAway = new ArrayList<>();
    private volatile boolean closed;
    private volatile boolean frozen;
    private volatile long thawAt;

    Keeper(
            Supplier<Settings> settings,
            Strategies<PinStrategy> strategies,
            Strategies<SyncBack> syncs,
            ThinPool pool,
            PinFiles journal,
            FormatterLogger log) {
        this.settings = settings;
        this.strategies = strategies;
        this.syncs = syncs;
        this.pool = pool;
        this.journal = journal;
        this.log = log;
        this.leftovers = new Leftovers(pool, journal, log);
    }

    /**
     * Before anything is pinned.
     *
     * @param whenPinned called after each pin
     */
    void connect(Sense s, Runnable whenPinned) {
        sense = s;
        changed = whenPinned;
    }

    List<LivePin> pins() {
        return pins;
    }

    /** What earlier daemons have left and people have to look at. */
    List<String> leftovers() {
        return leftovers.problems();
    }

    /** Bytes of RAM that are taken or set aside. */
    long used() throws IOException {
        return pool.used() + reserved();
    }

    private long reserved() {
        return pins.stream().mapToLong(p -> p.record().reserved()).sum();
    }

    /**
     * Whether what grows is near its limit: of what is not set aside, more is used than the high
     * water mark. What is set aside does not grow, however much of it is used.
     */
    boolean crowded(Settings s) throws IOException {
        return pool.used() > (s.poolSize() - reserved()) * s.highWater();
    }

    long written() {
        return written.get();
    }

    long absorbed() {
        return absorbed.get();
    }

    /** The pin whose target is that path or holds it. */
    Optional<LivePin> covering(FilePath path) {
        return pins.stream().filter(p -> p.record().target().path().contains(path)).findFirst();
    }

    /** The pin of exactly that path. */
    Optional<LivePin> exactly(FilePath path) {
        return pins.stream().filter(p -> p.record().target().path().equals(path)).findFirst();
    }

    /** No new pins once this returns. */
    void close() {
        pinning.lock();
        closed = true;
        pinning.unlock();
    }

    boolean closed() {
        return closed;
    }

    /** From when this returns until that time nothing is pinned. */
    void freeze(Duration time) {
        pinning.lock();
        thawAt = System.nanoTime() + time.toNanos();
        frozen = true;
        pinning.unlock();
    }

    boolean frozen() {
        return frozen;
    }

    boolean thawDue() {
        return frozen && System.nanoTime() - thawAt >= 0;
    }

    /** How long it is still frozen. */
    Duration thawIn() {
        return Duration.ofNanos(Math.max(0, thawAt - System.nanoTime()));
    }

    /** What was pinned by hand, and was taken away for the freeze. */
    synchronized List<FilePath> thaw() {
        frozen = false;
        List<FilePath> targets = List.copyOf(takenAway);
        takenAway.clear();
        return targets;
    }

    private synchronized void takenAway(LivePin pin) {
        if (frozen && pin.manual()) {
            takenAway.add(pin.record().target().path());
        }
    }

    /** What each strategy, in the configured order, says of a target: an estimate, or a refusal. */
    record Verdict(String strategy, Estimate estimate, Refusal refusal) {}

    List<Verdict> examine(Target target, List<FilePath> hot) {
        List<Verdict> verdicts = new ArrayList<>();
        for (String name : settings.get().strategies()) {
            verdicts.add(examine(name, target, hot));
        }
        return verdicts;
    }

    private Verdict examine(String name, Target target, List<FilePath> hot) {
        PinStrategy strategy = strategies.get(name).orElse(null);
        if (strategy == null) {
            return new Verdict(
                    name,
                    null,
                    refusal(Refusal.Cause.UNSUPPORTED, "there is no pin strategy " + name));
        }
        Optional<String> unusable = strategy.unusable();
        if (unusable.isPresent()) {
            return new Verdict(name, null, refusal(Refusal.Cause.UNSUPPORTED, unusable.get()));
        }
        try {
            Estimate estimate = strategy.examine(target, hot);
            Settings s = settings.get();
            if (estimate.most() > s.budget()) {
                return new Verdict(
                        name,
                        estimate,
                        refusal(
                                Refusal.Cause.TOO_LARGE,
                                target
                                        + " could come to "
                                        + Units.bytes(estimate.most())
                                        + " in RAM, and pool.size = "
                                        + Units.bytes(s.poolSize())
                                        + " less its reserve holds "
                                        + Units.bytes(s.budget())));
            }
            return new Verdict(name, estimate, null);
        } catch (RefusedException e) {
            return new Verdict(name, null, e.refusal());
        } catch (IOException | RuntimeException e) {
            return new Verdict(
                    name,
                    null,
                    refusal(
                            Refusal.Cause.ERROR,
                            "cannot examine " + target + ": " + e.getMessage()));
        }
    }

    private static Refusal refusal(Refusal.Cause cause, String message) {
        return new Refusal(cause, message);
    }

    /**
     * Pins a target with the first strategy that takes it.
     *
     * @param key under which its accesses are counted
     * @throws RefusedException with the reason of the strategy that came closest
     */
    LivePin pin(Target target, List<FilePath> hot, long key, double rate, boolean manual)
            throws IOException {
        if (!manual) {
            Optional<Refusal> pullable = pullable(target);
            if (pullable.isPresent()) {
                throw new RefusedException(pullable.get().cause(), pullable.get().message());
            }
        }
        return pin(target, hot, key, rate, manual, settings.get().strategies());
    }

    /** Why a target is pinned by command only; empty if it is pinned by itself. */
    Optional<Refusal> pullable(Target target) {
        return disks.refusal(target.path(), settings.get().directories());
    }

    private LivePin pin(
            Target target,
            List<FilePath> hot,
            long key,
            double rate,
            boolean manual,
            List<String> order)
            throws IOException {
        pinning.lock();
        try {
            if (closed) {
                throw new RefusedException(
                        Refusal.Cause.UNSUPPORTED,
                        target + ": RamPipe is stopping, nothing is pinned any more");
            }
            if (frozen) {
                throw new RefusedException(
                        Refusal.Cause.IN_USE,
                        target
                                + ": RamPipe is frozen for "
                                + Units.duration(thawIn())
                                + " more, nothing is pinned until then (rampipe thaw ends it)");
            }
            if (syncs.all().isEmpty()) {
                throw new RefusedException(
                        Refusal.Cause.UNSUPPORTED,
                        target + ": no syncback is there to write it back");
            }
            Optional<LivePin> over = covering(target.path());
            if (over.isPresent()) {
                throw new RefusedException(
                        Refusal.Cause.MOUNT_POINT,
                        target + " is pinned already, as part of " + over.get());
            }
            makeWay(target);
            Refusal last = null;
            for (String name : order) {
                Verdict verdict = examine(name, target, hot);
                if (verdict.refusal() == null) {
                    try {
                        return pin(name, verdict.estimate(), target, hot, key, rate, manual);
                    } catch (RefusedException e) {
                        last = closer(last, e.refusal());
                        if (Refusals.passing(e.refusal().cause())) {
                            // It is what this strategy is for, only not at this moment.
                            break;
                        }
                    }
                } else {
                    last = closer(last, verdict.refusal());
                }
            }
            Refusal r =
                    last == null
                            ? refusal(
                                    Refusal.Cause.UNSUPPORTED,
                                    "no pin strategy is there: see strategy.order and rampipe:strategies")
                            : last;
            throw new RefusedException(r.cause(), r.message());
        } finally {
            pinning.unlock();
        }
    }

    /** The one that tells more about what could be done; of two alike the later one. */
    private static Refusal closer(Refusal before, Refusal now) {
        return before == null || closeness(before) <= closeness(now) ? now : before;
    }

    private static int closeness(Refusal refusal) {
        Refusal.Cause cause = refusal.cause();
        if (Refusals.passing(cause)) {
            return 3;
        }
        return cause == Refusal.Cause.UNSUPPORTED ? 0 : cause.lasting() ? 1 : 2;
    }

    /**
     * Pins below the target would be mount points in it: their time is over if the whole directory
     * is hot.
     */
    private void makeWay(Target target) throws IOException {
        for (LivePin inner : pins) {
            if (target.path().contains(inner.record().target().path()) && !inner.manual()) {
                try {
                    unpin(inner, "makes way for " + target);
                } catch (BusyException e) {
                    throw new RefusedException(Refusal.Cause.IN_USE, e.getMessage(), e);
                }
            }
        }
    }

    private LivePin pin(
            String name,
            Estimate estimate,
            Target target,
            List<FilePath> hot,
            long key,
            double rate,
            boolean manual)
            throws IOException {
        PinStrategy strategy = strategies.get(name).orElseThrow();
        makeRoom(target, estimate.reserved(), rate, manual);
        String id = id();
        long start = System.nanoTime();
        FilePath directory = pool.directory(id);
        Pin record;
        try {
            PinRequest request =
                    new PinRequest(id, target, hot, directory, settings.get().budget() - used());
            record =
                    asked(
                            strategy.pin(request, r -> journal.write(asked(r, name, manual))),
                            name,
                            manual);
        } catch (GuardedStrategy.UnfinishedPinException e) {
            keepUnfinished(e.pin(), name, key, rate, e.getMessage());
            throw new RefusedException(
                    Refusal.Cause.ERROR,
                    "cannot pin " + target + ": " + e.getMessage() + "; what it has begun is kept",
                    e);
        } catch (IOException | RuntimeException e) {
            withdraw(id, e);
            if (e instanceof RefusedException refused) {
                throw refused;
            }
            throw new RefusedException(
                    Refusal.Cause.ERROR, "cannot pin " + target + ": " + e.getMessage(), e);
        }
        LivePin pin = new LivePin(record, key, rate, LivePin.State.PINNED);
        pin.nextCheckpoint = System.nanoTime() + interval(pin);
        pins.add(pin);
        watch(pin);
        changed.run();
        log.info(
                "pinned %s (%s, %d files, %s in RAM, %.1f accesses/s) in %s",
                target,
                name,
                estimate.files(),
                Units.bytes(estimate.bytes()),
                rate,
                Units.duration(Duration.ofNanos(System.nanoTime() - start)));
        return pin;
    }

    /** Nobody knows how far it has come: as if a daemon had died while it made the pin. */
    private void keepUnfinished(Pin record, String strategy, long key, double rate, String why)
            throws RefusedException {
        LivePin pin =
                new LivePin(named(record, strategy, false), key, rate, LivePin.State.ORPHANED);
        pin.state(LivePin.State.ORPHANED, why);
        pin.nextUnpin = System.nanoTime() + FIRST_PAUSE;
        pins.add(pin);
        changed.run();
    }

    /**
     * The record with the names of whoever is to care for it.
     *
     * @param must whether there has to be a syncback that understands it
     */
    private Pin named(Pin pin, String strategy, boolean must) throws RefusedException {
        Optional<String> sync = syncFor(pin.format());
        if (must && sync.isEmpty()) {
            throw new RefusedException(
                    Refusal.Cause.UNSUPPORTED,
                    pin.target()
                            + ": no syncback is there that understands the pins of "
                            + strategy
                            + " (format "
                            + pin.format()
                            + ")");
        }
        return new Pin(
                pin.id(),
                pin.target(),
                strategy,
                sync.orElse(pin.sync()),
                pin.format(),
                pin.step(),
                pin.since(),
                pin.attributes());
    }

    /** The record of a new pin, with who asked for it. */
    private Pin asked(Pin pin, String strategy, boolean manual) throws RefusedException {
        Pin named = named(pin, strategy, true);
        return manual ? named.with(Pin.BY_HAND, "") : named;
    }

    /** The preferred syncback for pins of that format. */
    private Optional<String> syncFor(String format) {
        return Stream.concat(
                        settings.get().syncs().stream().flatMap(n -> syncs.get(n).stream()),
                        syncs.all().stream())
                .filter(s -> s.unusable().isEmpty() && s.accepts(format))
                .findFirst()
                .map(syncs::nameOf);
    }

    /**
     * Moves a pin to another strategy; back to its own if that does not take it.
     *
     * @param hot the files that made it hot, relative to a directory target
     * @return the new pin
     * @throws RefusedException if the other one does not take it
     * @throws BusyException if it is in use: then it was checkpointed and stays as it is
     */
    LivePin migrate(LivePin pin, String to, List<FilePath> hot) throws IOException {
        Target target = pin.record().target();
        String from = pin.record().strategy();
        // Nobody else pins it in between.
        pinning.lock();
        try {
            checkMigration(pin, to);
            unpin(pin, "moves from " + from + " to " + to);
            IOException refused;
            try {
                return pinAgain(pin, to, hot);
            } catch (IOException e) {
                refused = e;
            }
            try {
                pinAgain(pin, from, hot);
            } catch (IOException e) {
                throw new RefusedException(
                        cause(refused),
                        target
                                + " is on disk, and not pinned any more: "
                                + to
                                + " does not take it ("
                                + refused.getMessage()
                                + "), and "
                                + from
                                + " cannot have it back now ("
                                + e.getMessage()
                                + ")",
                        refused);
            }
            throw new RefusedException(
                    cause(refused),
                    target
                            + " stays with "
                            + from
                            + ", because "
                            + to
                            + " does not take it: "
                            + refused.getMessage(),
                    refused);
        } finally {
            pinning.unlock();
        }
    }

    private static Refusal.Cause cause(IOException e) {
        return e instanceof RefusedException r ? r.refusal().cause() : Refusal.Cause.ERROR;
    }

    private void checkMigration(LivePin pin, String to) throws RefusedException {
        String problem = null;
        Optional<PinStrategy> strategy = strategies.get(to);
        if (pin.gone()) {
            problem = "is not pinned any more";
        } else if (pin.record().strategy().equals(to)) {
            problem = "is pinned by " + to + " already";
        } else if (strategy.isEmpty()) {
            problem =
                    "stays as it is: there is no pin strategy "
                            + Printable.of(to)
                            + ", only "
                            + String.join(", ", strategies.names());
        } else if (strategy.get().unusable().isPresent()) {
            problem = "stays as it is: " + to + " cannot work: " + strategy.get().unusable().get();
        } else if (closed || frozen) {
            problem =
                    "stays as it is: RamPipe is "
                            + (closed ? "stopping" : "frozen (rampipe thaw ends it)")
                            + ", and nothing is pinned";
        }
        if (problem != null) {
            throw new RefusedException(Refusal.Cause.UNSUPPORTED, pin + " " + problem);
        }
    }

    /** Tries for a while, because programs open files between one moment and the next. */
    private LivePin pinAgain(LivePin old, String strategy, List<FilePath> hot) throws IOException {
        long end = System.nanoTime() + MIGRATION_PATIENCE;
        while (true) {
            try {
                return pin(
                        old.record().target(),
                        hot,
                        old.key(),
                        old.rate(),
                        old.manual(),
                        List.of(strategy));
            } catch (RefusedException e) {
                if (!Refusals.passing(e.refusal().cause()) || System.nanoTime() - end >= 0) {
                    throw e;
                }
                LockSupport.parkNanos(this, MIGRATION_PAUSE);
            }
        }
    }

    private void withdraw(String id, Exception cause) {
        try {
            pool.release(id);
            journal.remove(id);
        } catch (IOException e) {
            // The record stays: the next start finds it and cleans up.
            cause.addSuppressed(e);
        }
    }

    /** Twelve characters: unique for as long as anyone could keep a redo log. */
    private String id() {
        String digits = "0123456789abcdefghijklmnopqrstuvwxyz";
        StringBuilder id = new StringBuilder();
        for (int i = 0; i < 12; i++) {
            id.append(digits.charAt(random.nextInt(digits.length())));
        }
        return id.toString();
    }

    private void watch(LivePin pin) {
        try {
            sense.pinned(pin);
        } catch (IOException e) {
            log.warn(
                    "cannot watch the pinned %s, so it will seem cold and be unpinned: %s",
                    pin, e.getMessage());
        }
    }

    /** Unpins colder ones until that much fits. */
    private void makeRoom(Target target, long bytes, double rate, boolean manual)
            throws IOException {
        Settings s = settings.get();
        long available = Memory.available() - s.memoryReserve();
        if (bytes > available) {
            throw new RefusedException(
                    Refusal.Cause.NO_ROOM,
                    target
                            + " needs "
                            + Units.bytes(bytes)
                            + ", and the machine has only "
                            + Units.bytes(Math.max(0, available))
                            + " to spare above memory.reserve");
        }
        double pressure = Memory.pressure();
        if (pressure >= s.memoryPressure()) {
            throw new RefusedException(
                    Refusal.Cause.NO_ROOM,
                    String.format(
                            "programs wait for memory %.0f %% of the time (memory.pressure)",
                            pressure));
        }
        for (LivePin colder : coldestFirst()) {
            if (bytes <= s.budget() - used()) {
                return;
            }
            boolean old = System.nanoTime() - colder.sinceNanos >= s.minTime();
            if (!colder.manual() && old && (manual || colder.rate() * 2 < rate)) {
                try {
                    unpin(colder, "makes room for " + target);
                } catch (IOException e) {
                    log.debug("%s cannot make room: %s", colder, e.getMessage());
                }
            }
        }
        if (bytes > s.budget() - used()) {
            throw new RefusedException(
                    Refusal.Cause.NO_ROOM,
                    target
                            + " needs "
                            + Units.bytes(bytes)
                            + ", and the thin pool has only "
                            + Units.bytes(Math.max(0, s.budget() - used()))
                            + " left, with nothing much colder in it");
        }
    }

    List<LivePin> coldestFirst() {
        return pins.stream().sorted((a, b) -> Double.compare(a.rate(), b.rate())).toList();
    }

    /**
     * Writes a pin's changes to disk; it stays pinned.
     *
     * @return not consistent if the target never rested; it is tried again later by itself
     */
    SyncBack.Result checkpoint(LivePin pin) throws IOException {
        pin.lock.lock();
        try {
            if (pin.gone()) {
                return new SyncBack.Result(true, 0, 0, 0);
            }
            return pin.record().step() == Pin.Step.UNMOUNTING
                    ? unpinLocked(pin, false)
                    : checkpointLocked(pin);
        } catch (IOException | RuntimeException e) {
            if (pin.state() != LivePin.State.ORPHANED) {
                fail(pin, e);
            }
            throw e;
        } finally {
            pin.lock.unlock();
        }
    }

    /** The same for somebody who waits for it: programs may be held even if they just were. */
    SyncBack.Result checkpointNow(LivePin pin) throws IOException {
        pin.nextFreeze = System.nanoTime();
        return checkpoint(pin);
    }

    /**
     * Whether programs are about to use up the RAM that is set aside for a pin. Waits for nobody
     * who works on it.
     */
    boolean pressed(LivePin pin) {
        if (pin.gone()
                || pin.state() == LivePin.State.ORPHANED
                || pin.record().step() != Pin.Step.PINNED
                || settings.get().checkpointFreeze() == 0) {
            return false;
        }
        try {
            return syncOf(pin).pressed(pin.record());
        } catch (IOException e) {
            log.debug("cannot tell how much of %s is in RAM: %s", pin, e.getMessage());
            return false;
        }
    }

    private SyncBack.Result checkpointLocked(LivePin pin) throws IOException {
        SyncBack sync = syncOf(pin);
        LivePin.State before = pin.state();
        pin.state(LivePin.State.SYNCING, pin.problem());
        long start = System.nanoTime();
        long dirty = sync.dirty(pin.record()).bytes();
        SyncBack.Result result = sync.checkpoint(pin.record(), allowance(pin));
        if (!result.held().isZero()) {
            pin.nextFreeze = System.nanoTime() + LEAST_FREE * result.held().toNanos();
        }
        if (result.consistent()) {
            absorbed.addAndGet(dirty);
            account(pin, result);
            recovered(pin);
            pin.setbacks = 0;
            pin.state(before == LivePin.State.BUSY ? before : LivePin.State.PINNED, "");
            if (result.files() > 0) {
                log.info(
                        "synced %s: %s in %d files, in %s%s; it stays pinned",
                        pin,
                        Units.bytes(result.bytes()),
                        result.files(),
                        Units.duration(Duration.ofNanos(System.nanoTime() - start)),
                        result.held().isZero()
                                ? ""
                                : " (its programs were held for "
                                        + Units.duration(result.held())
                                        + ")");
            }
            pin.nextCheckpoint = next(pin, start);
        } else {
            pin.setbacks++;
            pin.state(before, unrest(pin, result));
            log.debug(
                    "%s: %s; its programs were held for %s",
                    pin, pin.problem(), Units.duration(result.held()));
            pin.nextCheckpoint = System.nanoTime() + pauseAfterUnrest(pin);
        }
        return result;
    }

    /** Nanoseconds between two checkpoints. */
    long interval(LivePin pin) {
        long interval = settings.get().checkpointIntervals().of(pin.record().target().path());
        return frozen ? Math.min(interval, FROZEN_INTERVAL) : interval;
    }

    /** Intervals may have become shorter. */
    void settingsChanged() {
        for (LivePin pin : pins) {
            long due = System.nanoTime() + interval(pin);
            if (pin.setbacks == 0 && pin.nextCheckpoint - due > 0) {
                pin.nextCheckpoint = due;
            }
        }
    }

    /**
     * Programs that were held just now are not held again, but may rest by themselves. A copy of
     * what changed may take half of the memory that the machine can spare.
     */
    private SyncBack.Allowance allowance(LivePin pin) throws IOException {
        Settings s = settings.get();
        return new SyncBack.Allowance(
                System.nanoTime() - pin.nextFreeze < 0
                        ? Duration.ZERO
                        : Duration.ofNanos(s.checkpointFreeze()),
                Math.max(0, (Memory.available() - s.memoryReserve()) / 2));
    }

    /**
     * What changed right after a checkpoint's beginning has to be on disk within the interval: the
     * next one begins so much earlier as it will take.
     */
    private long next(LivePin pin, long start) {
        long interval = interval(pin);
        long took = System.nanoTime() - start;
        return start + interval - Math.min(interval / 4, took);
    }

    private String unrest(LivePin pin, SyncBack.Result result) {
        long since = pin.lastSync() == 0 ? pin.record().since().toEpochMilli() : pin.lastSync();
        LocalTime time =
                LocalTime.ofInstant(
                        Instant.ofEpochMilli(since).truncatedTo(ChronoUnit.SECONDS),
                        ZoneId.systemDefault());
        return "the disk has what it was like at "
                + time
                + ", because since then it never rested: "
                + (result.why().isEmpty()
                        ? settings.get().checkpointFreeze() == 0
                                ? "programs write all the time, and checkpoint.freeze = 0 forbids to hold them"
                                : "programs write all the time, and were held not long ago"
                        : result.why());
    }

    /** Soon, then within the interval. */
    private long pauseAfterUnrest(LivePin pin) {
        long pause = FIRST_PAUSE << Math.min(MOST_DOUBLINGS, pin.setbacks - 1);
        long interval = Math.max(FIRST_PAUSE, interval(pin));
        return Math.min(interval, pause);
    }

    private void fail(LivePin pin, Exception e) {
        String message = message(e);
        if (!message.contains(pin.toString())) {
            message = pin + " cannot be written to disk: " + message;
        }
        // Once per cause, however often it is tried: figures in messages change.
        String cause = cause(e);
        if (!cause.equals(pin.cause)) {
            log.error("%s; its data stays in RAM, and it is tried again", message);
        }
        pin.cause = cause;
        pin.setbacks++;
        pin.state(LivePin.State.FAILING, message);
        pin.nextCheckpoint = System.nanoTime() + pause(pin);
        pin.nextUnpin = pin.nextCheckpoint;
    }

    private static String message(Exception e) {
        return e instanceof IOException && e.getMessage() != null ? e.getMessage() : e.toString();
    }

    private static String cause(Throwable e) {
        for (Throwable t = e; t != null; t = t.getCause()) {
            if (t instanceof LinuxException l) {
                return l.call() + " " + l.errno();
            }
        }
        return e instanceof DiskFullException ? "full" : String.valueOf(e.getMessage());
    }

    private void recovered(LivePin pin) {
        if (!pin.cause.isEmpty()) {
            log.info("%s can be written to disk again, after %d failures", pin, pin.setbacks);
            pin.cause = "";
        }
    }

    /** The interval; sooner at first after a setback, then ever later up to a minute. */
    private long pause(LivePin pin) {
        long interval = interval(pin);
        return pin.setbacks == 0
                ? interval
                : Math.min(
                        Math.max(interval, 60 * FIRST_PAUSE),
                        FIRST_PAUSE << Math.min(MOST_DOUBLINGS, pin.setbacks - 1));
    }

    private void account(LivePin pin, SyncBack.Result result) {
        written.addAndGet(result.written());
        pin.synced(System.currentTimeMillis());
    }

    /**
     * Writes everything to disk and takes the pin away.
     *
     * @param why for the log
     * @throws BusyException if it is in use: then it was checkpointed and stays pinned
     */
    SyncBack.Result unpin(LivePin pin, String why) throws IOException {
        return unpin(pin, why, false);
    }

    /**
     * The same when there is no hurry: while programs change something all the time it stays
     * pinned, so that none finds the disk without what it has just made.
     */
    SyncBack.Result unpinAtRest(LivePin pin, String why) throws IOException {
        return unpin(pin, why, true);
    }

    private SyncBack.Result unpin(LivePin pin, String why, boolean atRest) throws IOException {
        pin.lock.lock();
        try {
            if (pin.gone()) {
                return new SyncBack.Result(true, 0, 0, 0);
            }
            long start = System.nanoTime();
            SyncBack.Result result = unpinLocked(pin, atRest);
            takenAway(pin);
            log.info(
                    "unpinned %s (%s): %s in %d files written, in %s",
                    pin,
                    why,
                    Units.bytes(result.bytes()),
                    result.files(),
                    Units.duration(Duration.ofNanos(System.nanoTime() - start)));
            return result;
        } catch (BusyException e) {
            pin.setbacks++;
            pin.nextUnpin = System.nanoTime() + (FIRST_PAUSE << Math.min(5, pin.setbacks - 1));
            if (pin.state() != LivePin.State.BUSY) {
                log.info("%s cannot be unpinned yet (%s): %s", pin, why, e.getMessage());
            }
            pin.state(LivePin.State.BUSY, e.getMessage());
            throw e;
        } catch (IOException | RuntimeException e) {
            if (!pin.gone() && pin.state() != LivePin.State.ORPHANED) {
                fail(pin, e);
            }
            throw e;
        } finally {
            pin.lock.unlock();
        }
    }

    private SyncBack.Result unpinLocked(LivePin pin, boolean atRest) throws IOException {
        PinStrategy strategy = strategyOf(pin);
        SyncBack sync = syncOf(pin);
        boolean mounted = strategy.mounted(pin.record());
        if (!mounted) {
            replace(pin, sync);
            checkLeft(pin, strategy);
        }
        SyncBack.Result written = new SyncBack.Result(true, 0, 0, 0);
        for (int tries = QUIET_TRIES; ; tries--) {
            Settled before = settle(pin, strategy, sync);
            written = written.plus(before.written());
            try (SyncBack.Last last = sync.begin(pin.record())) {
                Optional<String> now = mounted ? sync.version(pin.record()) : Optional.empty();
                if (tries > 1 && now.isPresent() && !now.equals(before.version())) {
                    continue;
                }
                written = written.plus(unpin(pin, mounted, strategy, sync, last, before, atRest));
                step(pin, pin.record().at(Pin.Step.DISCARDING));
            }
            discard(pin, strategy, sync);
            return written;
        }
    }

    /**
     * What the checkpoints before an unmounting have done.
     *
     * @param version what is on disk; empty if that cannot be told
     */
    private record Settled(Optional<String> version, SyncBack.Result written) {}

    /**
     * Whoever opens a file while the rest is written has to wait, and does not find what is new:
     * let it be little, and best nothing at all, for the daemon may die between the unmounting and
     * the writing.
     */
    private Settled settle(LivePin pin, PinStrategy strategy, SyncBack sync) throws IOException {
        SyncBack.Result total = new SyncBack.Result(true, 0, 0, 0);
        Optional<String> settled = Optional.empty();
        for (int round = 0; round < UNPIN_ROUNDS && strategy.mounted(pin.record()); round++) {
            Optional<String> before = sync.version(pin.record());
            SyncBack.Result live = checkpointLocked(pin);
            total = live.consistent() ? total.plus(live) : total;
            settled = live.consistent() ? before : Optional.empty();
            if (settled.isPresent() && settled.equals(sync.version(pin.record()))) {
                break;
            }
            if (live.consistent() && round > 0 && sync.dirty(pin.record()).bytes() < LITTLE) {
                break;
            }
        }
        return new Settled(settled, total);
    }

    @SuppressWarnings("try") // what is held is let go when it is closed
    private SyncBack.Result unpin(
            LivePin pin,
            boolean mounted,
            PinStrategy strategy,
            SyncBack sync,
            SyncBack.Last last,
            Settled before,
            boolean atRest)
            throws IOException {
        boolean covered = strategy.mounted(pin.record());
        if (covered) {
            checkRest(pin, before.version(), sync.version(pin.record()), atRest);
            sense.unpinned(pin);
        }
        try (Freeze held = covered ? hold(pin) : null) {
            unmount(pin, strategy, sync, before.version(), atRest, held);
            try {
                SyncBack.Result rest = finish(pin, last);
                account(pin, rest);
                recovered(pin);
                return rest;
            } catch (UnfinishedException e) {
                throw e;
            } catch (IOException | RuntimeException e) {
                // Left without a mount by an earlier daemon: nobody knows how far that one was.
                if (mounted) {
                    putBack(pin, strategy, e);
                }
                throw e;
            }
        }
    }

    /**
     * Holds the programs that have changed something in the pin of late, from the last look until
     * what is in RAM is on disk: else what they do in between may meet the disk without what they
     * did before. Those that the event source does not tell of are not held.
     *
     * @return null if nobody can be held
     */
    private Freeze hold(LivePin pin) {
        long limit = settings.get().checkpointFreeze();
        Set<Integer> writers = pin.writers().processes();
        if (limit == 0 || writers.isEmpty()) {
            return null;
        }
        try {
            return Freeze.of(writers, Duration.ofNanos(limit));
        } catch (LinuxException e) {
            log.debug("the programs that write to %s are not held: %s", pin, e.getMessage());
            return null;
        }
    }

    private static void checkRest(
            LivePin pin, Optional<String> settled, Optional<String> now, boolean atRest)
            throws BusyException {
        if (atRest && now.isPresent() && !now.equals(settled)) {
            throw new BusyException(
                    pin + " is being changed; it is unpinned when it rests for a moment");
        }
    }

    /**
     * As long as programs have files open in an overlay that is not mounted any more, what they
     * write is in RAM alone: it is brought to disk again and again, and the RAM is kept.
     */
    private void checkLeft(LivePin pin, PinStrategy strategy) throws IOException {
        pin.lingers = strategy.lingers(pin.record());
        if (pin.lingers) {
            checkpointLocked(pin);
            throw new BusyException(
                    pin
                            + " is not mounted any more, but programs still have files of it open;"
                            + " what they write is written to disk until they close them");
        }
    }

    /** The directory on disk may be gone with the mount. */
    private void replace(LivePin pin, SyncBack sync) throws IOException {
        Pin there = sync.replaced(pin.record());
        if (!there.equals(pin.record())) {
            step(pin, there);
        }
    }

    /** Somebody has mounted or unmounted something. */
    void mountsChanged() {
        lookForDetached();
        sense.mountsChanged();
    }

    /** Looks for pins whose mounts others have taken away. */
    private void lookForDetached() {
        for (LivePin pin : pins) {
            pin.lock.lock();
            try {
                if (!pin.gone()
                        && pin.state() != LivePin.State.ORPHANED
                        && pin.record().step() == Pin.Step.PINNED
                        && !strategyOf(pin).mounted(pin.record())) {
                    detached(pin);
                }
            } catch (IOException | RuntimeException e) {
                log.error("cannot tell whether %s is still mounted: %s", pin, message(e));
            } finally {
                pin.lock.unlock();
            }
        }
    }

    private void detached(LivePin pin) throws IOException {
        String what =
                "was pinned, and its mount was taken away by others (unmounted, or its directory"
                        + " renamed or removed in another mount namespace); what was in RAM is"
                        + " written to disk, and the pin ends";
        log.warn("%s %s", pin, what);
        step(pin, pin.record().at(Pin.Step.UNMOUNTING));
        pin.state(LivePin.State.BUSY, "its mount was taken away by others");
        pin.nextUnpin = System.nanoTime();
        sense.unpinned(pin);
        try {
            syncOf(pin).conflict(pin.record(), what);
        } catch (IOException e) {
            log.warn("cannot add that to the list of conflicts: %s", message(e));
        }
    }

    /** Once more at once, where programs see a half-way state as long as it does not succeed. */
    private SyncBack.Result finish(LivePin pin, SyncBack.Last last) throws IOException {
        try {
            return last.finish();
        } catch (UnfinishedException e) {
            log.warn("the last syncback of %s is tried once more: %s", pin, e.getMessage());
        }
        try {
            return last.finish();
        } catch (IOException | RuntimeException e) {
            throw new UnfinishedException(
                    message(e)
                            + "; all of "
                            + pin
                            + " is in RAM, in "
                            + pool.path().resolve(pin.record().id())
                            + ", and in its redo log; its path leads to the disk, where directories"
                            + " may be missing until it is finished",
                    e);
        }
    }

    /**
     * Programs see what is in RAM again. Whoever opened something in between has opened it on disk,
     * and is beside the mount now: so the pin is to go as soon as it can.
     */
    private void putBack(LivePin pin, PinStrategy strategy, Exception because) throws IOException {
        try {
            Pin again = strategy.remount(pin.record()).at(Pin.Step.PINNED);
            step(
                    pin,
                    again.attributes().containsKey(Pin.BYPASSED)
                            ? again
                            : again.with(Pin.BYPASSED, ""));
            watch(pin);
        } catch (IOException | RuntimeException e) {
            because.addSuppressed(e);
            throw new IOException(
                    message(because)
                            + "; and its mount cannot be put back ("
                            + message(e)
                            + "): its path leads to the disk, and what is in RAM is kept in "
                            + pool.path().resolve(pin.record().id()),
                    because);
        }
    }

    private void unmount(
            LivePin pin,
            PinStrategy strategy,
            SyncBack sync,
            Optional<String> settled,
            boolean atRest,
            Freeze held)
            throws IOException {
        if (!strategy.mounted(pin.record())) {
            step(pin, pin.record().at(Pin.Step.UNMOUNTING));
            return;
        }
        try {
            Optional<String> now = sync.version(pin.record());
            checkRest(pin, settled, now, atRest);
            Pin next = pin.record().at(Pin.Step.UNMOUNTING);
            boolean still = settled.isPresent() && settled.equals(now);
            step(pin, still ? next.with(Pin.SETTLED, settled.get()) : next);
            if (atRest && held != null && !held.held()) {
                throw new BusyException(
                        pin + " could not be unmounted while its programs were held; it is later");
            }
            strategy.unmount(pin.record());
        } catch (IOException | RuntimeException e) {
            if (strategy.mounted(pin.record())) {
                step(pin, pin.record().at(Pin.Step.PINNED));
                watch(pin);
            }
            throw e;
        }
    }

    private void step(LivePin pin, Pin to) throws IOException {
        Pin next = to.step() == Pin.Step.UNMOUNTING ? to : to.without(Pin.SETTLED);
        journal.write(next);
        pin.record(next);
    }

    private void discard(LivePin pin, PinStrategy strategy, SyncBack sync) throws IOException {
        strategy.discard(pin.record());
        pool.release(pin.record().id());
        sync.forget(pin.record());
        journal.remove(pin.record().id());
        pins.remove(pin);
        pin.bury();
    }

    private PinStrategy strategyOf(LivePin pin) throws IOException {
        String name = pin.record().strategy();
        return strategies
                .get(name)
                .orElseThrow(() -> orphan(pin, "its pin strategy " + name + " is not there"));
    }

    private SyncBack syncOf(LivePin pin) throws IOException {
        String name = pin.record().sync();
        SyncBack sync =
                syncs.get(name)
                        .orElseThrow(() -> orphan(pin, "its syncback " + name + " is not there"));
        if (!sync.accepts(pin.record().format())) {
            throw orphan(
                    pin, "its syncback " + name + " does not understand " + pin.record().format());
        }
        return sync;
    }

    private static IOException orphan(LivePin pin, String why) {
        pin.state(LivePin.State.ORPHANED, why);
        return new IOException(pin + " is kept, but nothing can be done with it: " + why);
    }

    /** Bytes that programs have written and the disk has not, at most. Empty if nobody can tell. */
    Optional<SyncBack.Dirty> dirty(LivePin pin) {
        try {
            Optional<SyncBack> sync = syncs.get(pin.record().sync());
            return pin.gone() || sync.isEmpty()
                    ? Optional.empty()
                    : Optional.of(sync.get().dirty(pin.record()));
        } catch (IOException e) {
            log.debug("cannot tell what is dirty in %s: %s", pin, e.getMessage());
            return Optional.empty();
        }
    }

    /**
     * Takes the records that an earlier daemon left; {@link #adopt} goes on with them once the
     * strategies are there.
     */
    void load() throws IOException {
        leftovers.records().forEach(this::orphan);
    }

    /** Makes pins of what a strategy finds without a record, before it is used. */
    void adoptStrays(PinStrategy strategy, String name) {
        pinning.lock();
        try {
            leftovers.strays(strategy, name, p -> named(p, name, false)).forEach(this::orphan);
        } finally {
            pinning.unlock();
        }
    }

    private void orphan(Pin record) {
        LivePin pin = new LivePin(record, random.nextLong() | 1, 0, LivePin.State.ORPHANED);
        pin.state(LivePin.State.ORPHANED, LEFT);
        pins.add(pin);
    }

    /**
     * Takes over orphans whose strategies have come: live ones are kept, half-made and half-removed
     * ones finished.
     */
    void adopt() {
        for (LivePin pin : pins) {
            boolean possible =
                    strategies.get(pin.record().strategy()).isPresent()
                            && syncs.get(pin.record().sync()).isPresent();
            if (pin.state() == LivePin.State.ORPHANED
                    && possible
                    && System.nanoTime() - pin.nextUnpin >= 0) {
                pin.lock.lock();
                try {
                    adopt(pin);
                } catch (IOException | RuntimeException e) {
                    if (pin.cause.isEmpty()) {
                        log.error("cannot take over %s", pin);
                    }
                    fail(pin, e);
                    pin.state(LivePin.State.ORPHANED, pin.problem());
                } finally {
                    pin.lock.unlock();
                }
            } else if (!possible && pin.state() != LivePin.State.ORPHANED) {
                log.warn("%s is kept, but its strategy or syncback is gone", pin);
                pin.state(LivePin.State.ORPHANED, "its strategy or syncback is not there");
            }
        }
    }

    private void adopt(LivePin pin) throws IOException {
        PinStrategy strategy = strategyOf(pin);
        SyncBack sync = syncOf(pin);
        Pin record = pin.record();
        String since = pin.problem().equals(LEFT) ? "from an earlier daemon" : "again";
        if (strategy.mounted(record)) {
            Pin next = record.at(Pin.Step.PINNED);
            // Nobody has looked yet whether programs slipped past it while it was being made.
            boolean unsure = record.step() == Pin.Step.MOUNTING;
            step(pin, unsure ? strategy.adopt(next) : next);
            pin.rate(settings.get().pinRate());
            pin.nextCheckpoint = System.nanoTime();
            pin.state(LivePin.State.PINNED, "");
            watch(pin);
            log.info("took over %s %s", pin, since);
            return;
        }
        // Nothing covers the target any more, so what is in RAM can only go to disk.
        if (record.step() != Pin.Step.DISCARDING && strategy.lingers(record)) {
            step(pin, record.at(Pin.Step.UNMOUNTING));
            pin.lingers = true;
            pin.state(LivePin.State.BUSY, "its mount was taken away, and programs go on with it");
            log.info("took over %s %s, without its mount", pin, since);
            return;
        }
        if (Leftovers.unwritten(record, sync)) {
            replace(pin, sync);
            record = pin.record();
            try (SyncBack.Last last = sync.begin(record)) {
                account(pin, last.finish());
                recovered(pin);
            }
        }
        step(pin, record.at(Pin.Step.DISCARDING));
        discard(pin, strategy, sync);
        log.info("finished what an earlier daemon had begun with %s", pin);
    }
}
