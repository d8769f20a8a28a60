package io.rampipe.engine.internal;

import io.rampipe.api.Conflict;
import io.rampipe.api.EventSource;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.Printable;
import io.rampipe.api.RamPipe;
import io.rampipe.api.RateEstimator;
import io.rampipe.api.Refusal;
import io.rampipe.api.RefusedException;
import io.rampipe.api.SyncBack;
import io.rampipe.api.Target;
import io.rampipe.api.Units;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import io.rampipe.linux.StatFs;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.osgi.framework.BundleContext;
import org.osgi.framework.ServiceReference;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Modified;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.annotations.ReferenceCardinality;
import org.osgi.service.component.annotations.ReferencePolicy;
import org.osgi.service.log.FormatterLogger;
import org.osgi.service.log.LoggerFactory;
import org.osgi.service.metatype.annotations.Designate;

/** The engine as a service: puts the parts together, and answers the shell. */
@Component(service = RamPipe.class, immediate = true, configurationPid = EngineConfig.PID)
@Designate(ocd = EngineConfig.class)
public final class Engine implements RamPipe {
    private static final List<String> KINDS = List.of("source", "rate", "pin", "sync");

    private static final String DEFAULT_RUNTIME = "/run/rampipe";
    private static final String DEFAULT_STATE = "/var/lib/rampipe";

    /** Between two rounds of unpinning what was in use at a stop. */
    private static final long STOP_PAUSE_NANOS = 20_000_000L;

    /** What need not be there, because nobody asked for it. */
    private static final List<String> STANDARD_ORDER = List.of("overlayfs");

    private final FormatterLogger log;
    private final BundleContext context;
    private final String version;
    private final long started = System.nanoTime();
    private final Strategies<EventSource> sources = new Strategies<>("source");
    private final Strategies<RateEstimator> estimators = new Strategies<>("rate");
    private final Strategies<PinStrategy> strategies = new Strategies<>("pin");
    private final Strategies<SyncBack> syncs = new Strategies<>("sync");
    private final SourceChoice sourceChoice;
    private final ThinPool pool;
    private final Keeper keeper;
    private final WarmStart warm;
    private final Chooser chooser;
    private final Syncer syncer;
    private final Sense sense;
    private final ExitStatus exit;
    private static final Duration LONGEST_FREEZE = Duration.ofDays(1);

    /** Runs what pin strategies and syncbacks do. */
    private final ExecutorService calls = Executors.newCachedThreadPool(Engine::daemonThread);

    /** Held until the disks that new settings or a new syncback bring in have been recovered. */
    private final Object recovering = new Object();

    /** Estimators that did what no estimator may do, and what. */
    private final Map<RateEstimator, String> setAside =
            Collections.synchronizedMap(new IdentityHashMap<>());

    private volatile Settings settings;
    private volatile String watchProblem = "";
    private volatile String sourceProblem = "";
    private volatile boolean stopping;
    private volatile boolean running;

    @Activate
    public Engine(
            BundleContext context,
            EngineConfig config,
            @Reference(service = LoggerFactory.class) FormatterLogger log)
            throws IOException {
        this.log = log;
        this.context = context;
        this.version = context.getBundle().getVersion().toString();
        this.exit = ExitStatus.install(context);
        this.sourceChoice =
                new SourceChoice(sources::all, sources::nameOf, line -> log.info("%s", line));
        settings = resolved(Settings.of(config, Memory.total()));
        String runtime =
                Optional.ofNullable(context.getProperty("rampipe.runtime")).orElse(DEFAULT_RUNTIME);
        pool =
                new ThinPool(
                        Path.of(runtime, "pool"), settings.poolSize() + Syncer.headroom(settings));
        PinFiles journal = new PinFiles(Path.of(runtime, "pins"));
        keeper = new Keeper(this::settings, strategies, syncs, pool, journal, log);
        String state =
                Optional.ofNullable(context.getProperty("rampipe.state")).orElse(DEFAULT_STATE);
        warm =
                new WarmStart(
                        this::settings,
                        keeper,
                        this::equipped,
                        new HotSet(Path.of(state, "hot")),
                        log);
        chooser = new Chooser(this::settings, keeper, warm, log);
        syncer = new Syncer(this::settings, keeper, pool, this::thaw, log);
        sense =
                new Sense(
                        this::settings,
                        this::source,
                        this::estimator,
                        keeper::pins,
                        chooser::publish,
                        failures());
        keeper.connect(sense, syncer::wake);
        keeper.load();
        warm.load();
        begin();
    }

    private static Thread daemonThread(Runnable call) {
        Thread thread = new Thread(call, "rampipe-call");
        thread.setDaemon(true);
        return thread;
    }

    private void begin() {
        chooser.start(sense);
        syncer.start();
        sense.start();
        running = true;
        if (settings.directories().isEmpty()) {
            log.info(
                    "RamPipe %s: nothing is watched; name directories in watch.directories",
                    version);
        } else if (settings.observing()) {
            log.info(
                    "RamPipe %s observes %s and pins nothing: 'rampipe top' tells what it would"
                            + " pin; name directories in watch.directories to let it",
                    version, settings.directories());
        } else {
            log.info(
                    "RamPipe %s watches %s; pool %s, pin at %.2f/s, unpin at %.2f/s",
                    version,
                    settings.directories(),
                    Units.bytes(settings.poolSize()),
                    settings.pinRate(),
                    settings.unpinRate());
        }
    }

    @Modified
    void modified(EngineConfig config) {
        try {
            Settings next = resolved(Settings.of(config, Memory.total()));
            synchronized (recovering) {
                // Nothing can be pinned in what is not watched yet.
                syncs.all().forEach(sync -> recover(sync, next));
                settings = next;
            }
            chooser.refusals().clear();
            keeper.settingsChanged();
            changed();
            log.info("new settings are in force");
        } catch (IllegalArgumentException e) {
            log.error(
                    "the new settings are refused, the old ones stay in force: %s", e.getMessage());
        }
    }

    /**
     * Watched directories without links on the way, as the kernel will report what is below them.
     */
    private Settings resolved(Settings s) {
        List<FilePath> real = new ArrayList<>();
        StringBuilder problems = new StringBuilder();
        for (FilePath d : s.directories()) {
            try (Fd fd = At.open(d, At.O_PATH | At.O_DIRECTORY)) {
                FilePath path = fd.currentPath();
                if (!real.contains(path)) {
                    real.add(path);
                }
            } catch (LinuxException e) {
                if (s.observing() && e.is(Errno.ENOENT)) {
                    // The standard ones are not on every machine.
                    continue;
                }
                problems.append(problems.isEmpty() ? "" : "; ").append(e.getMessage());
                real.add(d);
            }
        }
        watchProblem =
                problems.isEmpty()
                        ? ""
                        : "not watched: " + problems + "; create it or correct watch.directories";
        if (!watchProblem.isEmpty()) {
            log.warn("%s", watchProblem);
        }
        return s.watching(List.copyOf(real));
    }

    private Settings settings() {
        return settings;
    }

    private Sense.Failures failures() {
        return new Sense.Failures() {
            @Override
            public void source(EventSource source, Exception why) {
                sourceChoice.failed(source, why);
            }

            @Override
            public void estimator(RateEstimator estimator, String why) {
                log.error(
                        "rate estimator '%s' is set aside: %s; what is pinned stays, and nothing is"
                                + " chosen until its bundle is updated, or another is named in rate.use",
                        estimators.nameOf(estimator), why);
                setAside.put(estimator, why);
            }

            @Override
            public void problem(String what) {
                watching(what);
            }
        };
    }

    private void watching(String problem) {
        if (!problem.equals(sourceProblem)) {
            log.warn("%s", problem);
        }
        sourceProblem = problem;
    }

    /** The event source to use now; null if there is none or nothing to watch. */
    private EventSource source() {
        Settings s = settings;
        if (s.directories().isEmpty() && keeper.pins().isEmpty()) {
            return null;
        }
        if (!s.source().equals("auto")) {
            return sources.get(s.source()).orElse(null);
        }
        return sourceChoice.get().orElse(null);
    }

    private RateEstimator estimator() {
        return estimators.get(settings.rate()).filter(e -> !setAside.containsKey(e)).orElse(null);
    }

    /** Something that waits. */
    private interface End {
        void await() throws InterruptedException;
    }

    private static void comesToItsEnd(End end) {
        try {
            end.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** The bundle of a source or an estimator must not go while it is used. */
    private void letGo() {
        changed();
        if (running) {
            comesToItsEnd(sense::exchanged);
        }
    }

    private Guard guard(String kind, String name) {
        return new Guard(
                kind + " '" + Printable.of(name) + "'",
                calls,
                () -> settings.strategyTimeout(),
                log);
    }

    /** Whether there is what it takes to pin: the first strategy that is named, and a syncback. */
    private boolean equipped() {
        List<String> order = settings.strategies();
        return !syncs.all().isEmpty()
                && !order.isEmpty()
                && strategies.get(order.get(0)).isPresent();
    }

    private void changed() {
        if (running) {
            sense.wake();
            chooser.wake();
            syncer.wake();
        }
    }

    /** Replays the redo logs of the watched disks, before anything is pinned there. */
    private void recover(SyncBack sync, Settings s) {
        if (s.directories().isEmpty()) {
            return;
        }
        try {
            List<Pin> pins = keeper.pins().stream().map(LivePin::record).toList();
            for (String line : sync.recover(s.directories(), pins)) {
                log.warn("%s", line);
            }
        } catch (IOException e) {
            log.error("redo logs cannot be looked for: %s", e.getMessage());
        }
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addSource(EventSource source, ServiceReference<EventSource> reference) {
        sources.add(source, reference);
        changed();
    }

    void removeSource(EventSource source, ServiceReference<EventSource> reference) {
        sources.remove(reference);
        letGo();
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addEstimator(RateEstimator estimator, ServiceReference<RateEstimator> reference) {
        estimators.add(estimator, reference);
        changed();
    }

    void removeEstimator(RateEstimator estimator, ServiceReference<RateEstimator> reference) {
        estimators.remove(reference);
        setAside.remove(estimator);
        letGo();
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addStrategy(PinStrategy strategy, ServiceReference<PinStrategy> reference) {
        String name = Strategies.nameOf(reference);
        PinStrategy guarded = new GuardedStrategy(strategy, guard("pin strategy", name));
        strategies.add(guarded, reference);
        keeper.adoptStrays(guarded, name);
        // What was refused while it was away, an update long, may be asked for again.
        chooser.refusals().clear();
        changed();
    }

    void removeStrategy(PinStrategy strategy, ServiceReference<PinStrategy> reference) {
        Optional<PinStrategy> gone = strategies.remove(reference);
        changed();
        if (gone.orElse(null) instanceof GuardedStrategy guarded) {
            comesToItsEnd(guarded::close);
        }
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addSync(SyncBack sync, ServiceReference<SyncBack> reference) {
        SyncBack guarded = new GuardedSync(sync, guard("syncback", Strategies.nameOf(reference)));
        synchronized (recovering) {
            recover(guarded, settings);
            syncs.add(guarded, reference);
        }
        chooser.refusals().clear();
        changed();
    }

    void removeSync(SyncBack sync, ServiceReference<SyncBack> reference) {
        Optional<SyncBack> gone = syncs.remove(reference);
        changed();
        if (gone.orElse(null) instanceof GuardedSync guarded) {
            comesToItsEnd(guarded::close);
        }
    }

    @Deactivate
    void deactivate() throws InterruptedException {
        Map<FilePath, String> left = shutdown();
        running = false;
        chooser.stop();
        syncer.stop();
        sense.stop();
        calls.shutdown();
        boolean done = left.isEmpty();
        try {
            if (done) {
                pool.unmount();
            }
        } catch (IOException e) {
            done = false;
            log.error("the thin pool stays mounted: %s; see rampipe-rescue", e.getMessage());
        }
        exit.set(done ? 0 : 1);
        if (done) {
            log.info("stopped; everything is on disk");
        } else {
            log.error("stopped; NOT everything is on disk");
        }
    }

    @Override
    public Map<FilePath, String> shutdown() {
        stopping = true;
        warm.close();
        keeper.close();
        Map<LivePin, String> left = new LinkedHashMap<>();
        long end = System.nanoTime() + settings.stopTimeout();
        boolean first = true;
        do {
            for (LivePin pin : keeper.pins()) {
                // What failed for another reason than being in use will hardly do better in a
                // moment.
                if (!left.containsKey(pin)
                        || pin.state() == LivePin.State.BUSY
                        || System.nanoTime() - pin.nextUnpin >= 0) {
                    left.remove(pin);
                    unpinForStop(pin).ifPresent(why -> left.put(pin, why));
                }
            }
            left.keySet().removeIf(LivePin::gone);
            if (!left.isEmpty()) {
                if (first) {
                    log.info(
                            "%d pins cannot be taken away yet; trying for %s",
                            left.size(), Units.duration(Duration.ofNanos(settings.stopTimeout())));
                }
                first = false;
                LockSupport.parkNanos(this, STOP_PAUSE_NANOS);
            }
        } while (!left.isEmpty() && System.nanoTime() - end < 0);
        Map<FilePath, String> remaining = new LinkedHashMap<>();
        left.forEach(
                (pin, why) -> {
                    remaining.put(pin.record().target().path(), why);
                    log.error(
                            "%s is still in RAM (%s) and NOT wholly on disk: %s",
                            pin, pool.path().resolve(pin.record().id()), why);
                });
        if (!left.isEmpty()) {
            log.error(
                    "what is in RAM is safe until the machine is switched off. To bring it to disk, remove the cause (make room on the disk,"
                            + " end the programs that use the target), then start RamPipe again, or run 'rampipe-rescue --apply' after it has"
                            + " ended. To save it elsewhere, copy each target from its path: it stays mounted there");
        }
        return remaining;
    }

    private Optional<String> unpinForStop(LivePin pin) {
        try {
            keeper.unpin(pin, "stopping");
            return Optional.empty();
        } catch (IOException | RuntimeException e) {
            return Optional.of(String.valueOf(e.getMessage()));
        }
    }

    @Override
    public List<PinStatus> pins() {
        return keeper.pins().stream()
                .sorted(Comparator.comparingDouble((LivePin p) -> -p.rate()))
                .map(this::status)
                .toList();
    }

    private PinStatus status(LivePin pin) {
        SyncBack.Dirty dirty = keeper.dirty(pin).orElse(new SyncBack.Dirty(0, 0, 0));
        return new PinStatus(
                pin.record().id(),
                pin.record().target(),
                pin.record().strategy(),
                pin.state().toString(),
                pin.manual(),
                pin.rate(),
                size(pin),
                dirty.bytes(),
                dirty.files(),
                pin.record().since().toEpochMilli(),
                dirty.oldest(),
                pin.lastSync(),
                keeper.interval(pin) / 1_000_000,
                pin.problem());
    }

    /** Bytes of RAM behind it. */
    private long size(LivePin pin) {
        try (Fd directory =
                At.open(pool.path().resolve(pin.record().id()), At.O_RDONLY | At.O_DIRECTORY)) {
            return DiskUse.of(directory) + ownUse(pin);
        } catch (LinuxException e) {
            return 0;
        }
    }

    /** Bytes in the file system in RAM that a pin may have to itself. */
    private static long ownUse(LivePin pin) {
        if (pin.record().reserved() == 0) {
            return 0;
        }
        try (Fd own = At.open(pin.record().path(Pin.RESERVED_AT), At.O_PATH)) {
            return StatFs.of(own).usedBytes();
        } catch (LinuxException e) {
            return 0;
        }
    }

    @Override
    public List<HotFile> top(int most) {
        // A file has one key on disk and another while it is pinned: its path is told once, with
        // the higher rate.
        Set<FilePath> seen = new HashSet<>();
        return chooser.hot().stream()
                .sorted(Comparator.comparingDouble((Hot h) -> -h.rate))
                .flatMap(h -> pathOf(h).filter(seen::add).map(p -> hotFile(h, p)).stream())
                .limit(most)
                .toList();
    }

    private Optional<FilePath> pathOf(Hot hot) {
        Optional<FilePath> pinned =
                keeper.pins().stream()
                        .filter(p -> p.key() == hot.directory)
                        .findFirst()
                        .map(p -> p.record().target().path());
        Optional<FilePath> directory = pinned.or(hot.location::directory);
        Optional<FilePath> path =
                hot.isDirectory() ? directory : directory.map(d -> d.resolve(hot.location.name()));
        return path.filter(p -> settings.unwatched(p).isEmpty());
    }

    private HotFile hotFile(Hot hot, FilePath path) {
        if (keeper.covering(path).isPresent()) {
            return new HotFile(path, hot.isDirectory(), hot.rate, "pinned", "");
        }
        Optional<Refusal> refusal =
                chooser.refusals()
                        .get(path)
                        .or(() -> chooser.refusals().get(path.parent()))
                        .map(Refusals.Entry::refusal);
        if (refusal.isPresent()) {
            return new HotFile(
                    path, hot.isDirectory(), hot.rate, "refused", refusal.get().message());
        }
        boolean isHot = hot.rate >= settings.pinRate();
        String reason =
                isHot
                        ? "is about to be pinned"
                        : String.format("below pin.rate = %.2f/s", settings.pinRate());
        return new HotFile(path, hot.isDirectory(), hot.rate, isHot ? "hot" : "warm", reason);
    }

    @Override
    public Explanation why(FilePath given) throws IOException {
        Settings s = settings;
        FilePath path;
        boolean directory;
        try (Fd fd = At.open(given, At.O_PATH)) {
            path = fd.currentPath();
            directory = Stat.of(fd).isDirectory();
        } catch (LinuxException e) {
            throw new NoSuchFileException(e.getMessage());
        }
        List<String> reasons = new ArrayList<>();
        double rate = rate(path);
        Optional<LivePin> pin = keeper.covering(path);
        if (pin.isPresent()) {
            LivePin p = pin.get();
            reasons.add(
                    String.format(
                            "pinned by %s as part of %s, %s, since %s",
                            p.record().strategy(), p, p.state(), p.record().since()));
            if (!p.problem().isEmpty()) {
                reasons.add(p.problem());
            }
            return explanation(path, "pinned", Math.max(rate, p.rate()), reasons);
        }
        String unwatched = s.unwatched(path);
        if (!unwatched.isEmpty()) {
            reasons.add(unwatched);
            return explanation(path, "unwatched", rate, reasons);
        }
        reasons.add(
                rate == 0
                        ? String.format(
                                "cold: fewer than %.2f accesses/s seen; it would be pinned from %.2f/s",
                                noticeRate(), s.pinRate())
                        : String.format(
                                "%.2f accesses/s; it is pinned from %.2f/s", rate, s.pinRate()));
        for (String name : s.strategies()) {
            notAsked(name).ifPresent(why -> reasons.add(name + " is not asked: " + why));
        }
        Optional<Refusal> pullable = keeper.pullable(Target.directory(path));
        pullable.ifPresent(r -> reasons.add(r.message()));
        boolean eligible =
                examine(
                        directory ? Target.directory(path) : Target.directory(path.parent()),
                        reasons);
        if (!directory) {
            eligible |= examine(Target.file(path), reasons);
        }
        chooser.refusals()
                .get(path)
                .or(() -> directory ? Optional.empty() : chooser.refusals().get(path.parent()))
                .ifPresent(
                        r ->
                                reasons.add(
                                        "last refused, "
                                                + r.tries()
                                                + " times in a row: "
                                                + r.refusal().message()));
        return explanation(
                path,
                !eligible || pullable.isPresent()
                        ? "refused"
                        : rate >= s.pinRate() ? "eligible" : "cold",
                rate,
                reasons);
    }

    /** Why a strategy of the configuration makes no pins; empty if it does. */
    private Optional<String> notAsked(String strategy) {
        Optional<PinStrategy> there = strategies.get(strategy);
        return there.isEmpty()
                ? Optional.of("it is not there (see rampipe strategies)")
                : there.get().unusable();
    }

    private boolean examine(Target target, List<String> reasons) {
        boolean eligible = false;
        for (Keeper.Verdict v : keeper.examine(target, List.of())) {
            if (notAsked(v.strategy()).isPresent()) {
                continue;
            }
            String what =
                    target.kind() == Target.Kind.DIRECTORY ? "the directory" : "the file alone";
            if (v.refusal() == null) {
                eligible = true;
                reasons.add(
                        String.format(
                                "%s would take %s: %d files, %s now and %s at most",
                                v.strategy(),
                                what,
                                v.estimate().files(),
                                Units.bytes(v.estimate().bytes()),
                                Units.bytes(v.estimate().most())));
            } else {
                reasons.add(v.strategy() + " refuses " + what + ": " + v.refusal().message());
            }
        }
        return eligible;
    }

    private Explanation explanation(
            FilePath path, String state, double rate, List<String> reasons) {
        return new Explanation(
                path, state, rate, settings.pinRate(), settings.unpinRate(), List.copyOf(reasons));
    }

    private double noticeRate() {
        return Math.max(settings.unpinRate(), settings.pinRate() / 10);
    }

    private double rate(FilePath path) {
        return chooser.hot().stream()
                .filter(h -> pathOf(h).filter(path::equals).isPresent())
                .mapToDouble(h -> h.rate)
                .max()
                .orElse(0);
    }

    @Override
    public PinStatus pin(FilePath given) throws IOException {
        Target target;
        try (Fd fd = At.open(given, At.O_PATH)) {
            Stat stat = Stat.of(fd);
            FilePath path = fd.currentPath();
            if (!stat.isDirectory() && !stat.isRegular()) {
                throw new RefusedException(
                        Refusal.Cause.NOT_A_TARGET,
                        path + " is neither a directory nor a regular file");
            }
            target = stat.isDirectory() ? Target.directory(path) : Target.file(path);
        } catch (LinuxException e) {
            throw new NoSuchFileException(e.getMessage());
        }
        String unwatched = settings.unwatched(target.path());
        if (!unwatched.isEmpty()) {
            throw new RefusedException(
                    Refusal.Cause.NOT_WATCHED, target + " is not pinned: " + unwatched);
        }
        if (settings.observing()) {
            throw new RefusedException(
                    Refusal.Cause.NOT_WATCHED,
                    target + " is not pinned: RamPipe only observes; set watch.directories");
        }
        Hot known =
                chooser.hot().stream()
                        .filter(h -> pathOf(h).filter(target.path()::equals).isPresent())
                        .findFirst()
                        .orElse(null);
        List<FilePath> names =
                known == null
                        ? List.of()
                        : chooser.hot().stream()
                                .filter(h -> h.directory == known.key && !h.isDirectory())
                                .map(h -> h.location.name())
                                .distinct()
                                .toList();
        long key = known != null ? known.key : ThreadLocalRandom.current().nextLong() | 1;
        LivePin pin = keeper.pin(target, names, key, known == null ? 0 : known.rate, true);
        changed();
        return status(pin);
    }

    @Override
    public SyncBack.Result unpin(FilePath path) throws IOException {
        LivePin pin = find(path);
        SyncBack.Result result = keeper.unpin(pin, "by command");
        warm.forget(pin.record().target());
        return result;
    }

    @Override
    public PinStatus migrate(FilePath given, String strategy) throws IOException {
        LivePin pin = find(given);
        FilePath target = pin.record().target().path();
        if (!keeper.exactly(target).equals(Optional.of(pin)) || !target.equals(current(given))) {
            throw new NoSuchFileException(
                    given + " is pinned as part of " + target + ": move that");
        }
        List<FilePath> names =
                chooser.hot().stream()
                        .filter(h -> h.directory == pin.key() && !h.isDirectory())
                        .map(h -> h.location.name())
                        .distinct()
                        .toList();
        LivePin moved = keeper.migrate(pin, strategy, names);
        changed();
        return status(moved);
    }

    @Override
    public SyncBack.Result sync(FilePath path) throws IOException {
        return keeper.checkpointNow(find(path));
    }

    @Override
    public Frozen freeze(Duration time) throws IOException {
        if (time.isZero() || time.isNegative() || time.compareTo(LONGEST_FREEZE) > 0) {
            throw new IOException(
                    "a freeze lasts more than 0 s and at most "
                            + Units.duration(LONGEST_FREEZE)
                            + ", not "
                            + Units.duration(time));
        }
        keeper.freeze(time);
        long until = System.currentTimeMillis() + time.toMillis();
        log.info("frozen for %s: nothing is pinned any more", Units.duration(time));
        List<FilePath> unpinned = new ArrayList<>();
        for (LivePin pin : keeper.pins()) {
            FilePath path = pin.record().target().path();
            try {
                keeper.unpin(pin, "frozen");
                unpinned.add(path);
            } catch (IOException e) {
                log.debug("%s stays pinned: %s", pin, e.getMessage());
            }
        }
        keeper.settingsChanged();
        changed();
        return new Frozen(until, unpinned, pins());
    }

    @Override
    public boolean thaw() {
        if (!keeper.frozen()) {
            return false;
        }
        List<FilePath> again = keeper.thaw();
        log.info("thawed: hot files are pinned again");
        for (FilePath path : again) {
            try {
                pin(path);
            } catch (IOException e) {
                log.warn(
                        "%s was pinned by hand and cannot be pinned again: %s",
                        path, e.getMessage());
            }
        }
        chooser.refusals().clear();
        changed();
        return true;
    }

    /** Without links on the way; as given if it cannot be opened. */
    private FilePath current(FilePath given) {
        try (Fd fd = At.open(given, At.O_PATH)) {
            return fd.currentPath();
        } catch (LinuxException e) {
            log.debug("%s", e.getMessage());
            return given;
        }
    }

    private LivePin find(FilePath given) throws NoSuchFileException {
        FilePath real = current(given);
        return keeper.exactly(real)
                .or(() -> keeper.covering(real))
                .orElseThrow(() -> new NoSuchFileException("nothing is pinned at " + real));
    }

    @Override
    public Optional<String> broken() {
        return stopping
                ? Optional.empty()
                : Stream.of(
                                chooser.thread(),
                                syncer.writerThread(),
                                syncer.guardThread(),
                                sense.thread())
                        .filter(t -> !t.isAlive())
                        .map(Thread::getName)
                        .findFirst();
    }

    @Override
    public Status status() {
        List<String> problems = new ArrayList<>();
        Settings s = settings;
        if (!watchProblem.isEmpty()) {
            problems.add(watchProblem);
        }
        if (keeper.frozen()) {
            problems.add(
                    "frozen for "
                            + Units.duration(keeper.thawIn())
                            + " more: nothing is pinned until then; rampipe thaw ends it");
        }
        if (!s.directories().isEmpty()) {
            if (estimator() == null) {
                problems.add(
                        "rate estimator '"
                                + s.rate()
                                + "' "
                                + estimators
                                        .get(s.rate())
                                        .map(setAside::get)
                                        .map(why -> "was set aside: " + why)
                                        .orElse("is not there")
                                + ": nothing is chosen");
            }
            if (source() == null) {
                problems.add(
                        "no event source works here: "
                                + String.join(
                                        "; ",
                                        sources.all().stream()
                                                .flatMap(x -> x.unusable().stream())
                                                .toList()));
            }
            for (String name : s.strategies()) {
                if (strategies.get(name).isEmpty() && !standard(name)) {
                    problems.add(
                            "strategy.order names " + Printable.of(name) + ", which is not there");
                }
            }
            if (s.strategies().stream().noneMatch(n -> strategies.get(n).isPresent())) {
                problems.add(
                        "none of the pin strategies "
                                + s.strategies()
                                + " is there: nothing is pinned");
            }
        }
        if (!sense.watching() && !sourceProblem.isEmpty()) {
            problems.add(sourceProblem);
        }
        problems.addAll(keeper.leftovers());
        long dirty = 0;
        for (LivePin pin : keeper.pins()) {
            dirty += keeper.dirty(pin).map(SyncBack.Dirty::bytes).orElse(0L);
            if (!pin.problem().isEmpty()) {
                problems.add(pin + ": " + pin.problem());
            }
        }
        boolean holding = !s.directories().isEmpty() && (estimator() == null || !sense.watching());
        String state =
                stopping
                        ? "stopping"
                        : keeper.frozen()
                                ? "frozen"
                                : s.directories().isEmpty()
                                        ? "idle"
                                        : holding
                                                ? "holding"
                                                : warm.working()
                                                        ? "warming"
                                                        : s.observing() ? "observing" : "watching";
        return new Status(
                state,
                List.copyOf(problems),
                s.directories(),
                sense.eventsPerSecond(),
                sense.events(),
                sense.dropped(),
                sense.tracked(),
                sense.trackedBytes(),
                s.poolSize(),
                poolUsed(),
                s.poolSize() - s.budget(),
                Memory.availableIfKnown(),
                Memory.resident(),
                keeper.absorbed(),
                keeper.written(),
                keeper.pins().size(),
                dirty,
                Duration.ofNanos(System.nanoTime() - started).toMillis(),
                version);
    }

    private long poolUsed() {
        try {
            return pool.used() + keeper.pins().stream().mapToLong(Engine::ownUse).sum();
        } catch (IOException e) {
            return 0;
        }
    }

    @Override
    public List<Conflict> conflicts() throws IOException {
        List<Pin> pins = keeper.pins().stream().map(LivePin::record).toList();
        List<Conflict> all = new ArrayList<>();
        for (SyncBack sync : syncs.all()) {
            all.addAll(sync.conflicts(settings.directories(), pins));
        }
        all.sort(Comparator.comparingLong(Conflict::when));
        return all;
    }

    @Override
    public List<StrategyStatus> strategies() {
        List<StrategyStatus> all = new ArrayList<>();
        Settings s = settings;
        EventSource source = source();
        RateEstimator estimator = estimator();
        all.addAll(
                sources.status(
                        x -> x == source,
                        n -> 0,
                        x -> x == source ? sense.mode() : "",
                        EventSource::unusable));
        all.addAll(
                estimators.status(
                        x -> x == estimator,
                        n -> 0,
                        x -> "",
                        x -> Optional.ofNullable(setAside.get(x))));
        all.addAll(
                strategies.status(
                        x -> s.strategies().contains(strategies.nameOf(x)),
                        n -> pins("pin", n),
                        x -> "",
                        PinStrategy::unusable));
        all.addAll(syncs.status(x -> true, n -> pins("sync", n), x -> "", SyncBack::unusable));
        all.addAll(Installed.others(context, all, x -> pins(x.kind(), x.name())));
        addMissing(all, "source", s.source().equals("auto") ? List.of() : List.of(s.source()));
        addMissing(all, "rate", List.of(s.rate()));
        addMissing(all, "pin", s.strategies().stream().filter(n -> !standard(n)).toList());
        addMissing(all, "sync", s.syncs());
        for (LivePin pin : keeper.pins()) {
            addMissing(all, "pin", List.of(pin.record().strategy()));
            addMissing(all, "sync", List.of(pin.record().sync()));
        }
        all.sort(
                Comparator.comparingInt((StrategyStatus x) -> KINDS.indexOf(x.kind()))
                        .thenComparing(x -> !x.inUse())
                        .thenComparingInt(x -> position(x, s)));
        return all;
    }

    private static boolean standard(String strategy) {
        return STANDARD_ORDER.contains(strategy);
    }

    private static int position(StrategyStatus x, Settings s) {
        int position = (x.kind().equals("pin") ? s.strategies() : s.syncs()).indexOf(x.name());
        return position < 0 ? Integer.MAX_VALUE : position;
    }

    private int pins(String kind, String name) {
        return (int)
                keeper.pins().stream()
                        .map(LivePin::record)
                        .map(kind.equals("sync") ? Pin::sync : Pin::strategy)
                        .filter(n -> !kind.equals("source") && !kind.equals("rate"))
                        .filter(name::equals)
                        .count();
    }

    private void addMissing(List<StrategyStatus> all, String kind, List<String> names) {
        for (String name : names) {
            if (all.stream().noneMatch(x -> x.kind().equals(kind) && x.name().equals(name))) {
                all.add(
                        new StrategyStatus(
                                kind,
                                name,
                                "",
                                "",
                                "missing",
                                false,
                                pins(kind, name),
                                "no bundle that is installed has it"));
            }
        }
    }
}
