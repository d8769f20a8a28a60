package io.rampipe.engine.internal;

import io.rampipe.api.Access;
import io.rampipe.api.AccessEvent;
import io.rampipe.api.AccessListener;
import io.rampipe.api.EventSource;
import io.rampipe.api.RateEstimator;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * The sensing thread: the only one that talks to the event source's session and to the rate
 * estimator. It sleeps until there are events, lets them gather for a tick, and counts them; once a
 * second, if there is anything to tell, it publishes what is hot.
 */
final class Sense implements Runnable, AccessListener {
    private static final long EVALUATION_NANOS = 1_000_000_000L;
    private static final int MOST_DIRECTORIES = 4_096;
    private static final int MOST_FILES = 16_384;

    /** Below this share of the rate from which on things have names, names are forgotten. */
    private static final double FORGET = 0.5;

    private final Supplier<Settings> settings;
    private final Supplier<EventSource> wantedSource;
    private final Supplier<RateEstimator> wantedEstimator;
    private final Supplier<List<LivePin>> pins;
    private final Consumer<List<Hot>> publish;
    private final BiConsumer<EventSource, Exception> failed;
    private final Consumer<String> problem;

    private final Queue<FutureTask<?>> tasks = new ConcurrentLinkedQueue<>();
    private final LongMap<Hot> directories = new LongMap<>(MOST_DIRECTORIES);
    private final LongMap<Hot> files = new LongMap<>(MOST_FILES);
    private final Thread thread = new Thread(this, "rampipe-sense");

    private volatile boolean stopped;
    private volatile EventSource.Session session;
    private volatile long events;
    private volatile long dropped;
    private volatile double eventsPerSecond;
    private volatile int tracked;
    private volatile long trackedBytes;

    // The sensing thread's own.
    private EventSource source;
    private RateEstimator estimator;
    private Settings inForce;
    private double notice;
    private long now = System.nanoTime();
    private long nextEvaluation = now;
    private long lastEvaluation = now;
    private long lastEvents;
    private boolean lively;

    Sense(
            Supplier<Settings> settings,
            Supplier<EventSource> source,
            Supplier<RateEstimator> estimator,
            Supplier<List<LivePin>> pins,
            Consumer<List<Hot>> publish,
            BiConsumer<EventSource, Exception> failed,
            Consumer<String> problem) {
        this.settings = settings;
        this.wantedSource = source;
        this.wantedEstimator = estimator;
        this.pins = pins;
        this.publish = publish;
        this.failed = failed;
        this.problem = problem;
    }

    void start() {
        thread.start();
    }

    void stop() throws InterruptedException {
        stopped = true;
        wake();
        thread.join();
    }

    /** Makes the thread look at its tasks, settings and strategies. Any thread. */
    void wake() {
        EventSource.Session s = session;
        if (s != null) {
            s.wake();
        }
        LockSupport.unpark(thread);
    }

    /** Runs something on the sensing thread and waits for it. Any other thread. */
    <T> T call(Callable<T> task) throws IOException {
        FutureTask<T> future = new FutureTask<>(task);
        tasks.add(future);
        wake();
        try {
            while (true) {
                try {
                    return future.get(1, TimeUnit.SECONDS);
                } catch (TimeoutException e) {
                    if (!thread.isAlive()) {
                        future.cancel(false);
                    }
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", e);
        } catch (CancellationException e) {
            return null;
        } catch (ExecutionException e) {
            if (e.getCause() instanceof IOException io) {
                throw io;
            }
            throw new IOException("in the event source: " + e.getCause(), e.getCause());
        }
    }

    /** Watches a pin's own mount; its rate goes on where the target's was. */
    void pinned(LivePin pin) throws IOException {
        call(
                () -> {
                    if (session != null) {
                        session.pinned(pin.record(), pin.key());
                    }
                    if (estimator != null && pin.rate() > 0) {
                        estimator.seed(pin.key(), pin.rate(), System.nanoTime());
                    }
                    lively = true;
                    return null;
                });
    }

    void unpinned(LivePin pin) throws IOException {
        call(
                () -> {
                    if (session != null) {
                        session.unpinned(pin.record());
                    }
                    return null;
                });
    }

    /** No more events of these directories, please. */
    void ignore(List<Hot> unwanted) throws IOException {
        call(
                () -> {
                    for (Hot hot : unwanted) {
                        if (session != null) {
                            session.ignore(hot.key);
                        }
                        if (estimator != null) {
                            estimator.forget(hot.key);
                        }
                    }
                    directories.retain(h -> !unwanted.contains(h));
                    files.retain(f -> unwanted.stream().noneMatch(u -> u.key == f.directory));
                    return null;
                });
    }

    long events() {
        return events;
    }

    long dropped() {
        return dropped;
    }

    double eventsPerSecond() {
        return System.nanoTime() - lastEvaluation > 3 * EVALUATION_NANOS ? 0 : eventsPerSecond;
    }

    int tracked() {
        return tracked;
    }

    long trackedBytes() {
        return trackedBytes;
    }

    boolean watching() {
        return session != null;
    }

    String mode() {
        EventSource.Session s = session;
        if (s == null) {
            return "";
        }
        EventSource.SourceStats stats = s.stats();
        return stats.mode()
                + (stats.silenced() == 0 ? "" : "; " + stats.silenced() + " always busy, sampled");
    }

    @Override
    public void run() {
        try {
            while (!stopped) {
                try {
                    runTasks();
                    equip();
                    sense();
                } catch (IOException | RuntimeException e) {
                    problem.accept("watching failed, starting over: " + e.getMessage());
                    closeSession();
                    LockSupport.parkNanos(this, EVALUATION_NANOS);
                }
            }
        } finally {
            closeSession();
            runTasks();
        }
    }

    private void sense() throws IOException {
        if (session == null || estimator == null) {
            LockSupport.parkNanos(this, EVALUATION_NANOS);
            return;
        }
        if (stopped || !tasks.isEmpty()) {
            // Who woke the thread while the session was being opened could not wake the session.
            return;
        }
        // With nothing hot and nothing pinned there is nothing to decide: sleep until a file is
        // used.
        boolean busy = lively || !pins.get().isEmpty();
        long wait = busy ? Math.max(0, nextEvaluation - System.nanoTime()) : -1;
        if (session.await(wait)) {
            LockSupport.parkNanos(this, inForce.tick());
            now = System.nanoTime();
            int n = session.drain(this);
            if (n > 0) {
                events += n;
                lively = true;
            }
        }
        if (System.nanoTime() - nextEvaluation >= 0) {
            evaluate();
        }
    }

    @Override
    public void access(AccessEvent event) {
        int kinds = event.kinds();
        double weight = inForce.weight(kinds) * event.scale();
        if (weight > 0) {
            long directory = event.directory();
            double rate = estimator.add(directory, weight, now);
            if (rate >= notice) {
                noticed(directories, directory, event, rate);
            }
            if ((kinds & Access.DIRECTORY) == 0) {
                long file = event.file();
                rate = estimator.add(file, weight, now);
                if (rate >= notice) {
                    noticed(files, file, event, rate);
                }
            }
        }
        if ((kinds & (Access.APPEAR | Access.DISAPPEAR)) != 0) {
            Hot hot = files.get(event.file());
            if (hot != null) {
                hot.replaced = true;
            }
        }
    }

    private void noticed(LongMap<Hot> map, long key, AccessEvent event, double rate) {
        Hot hot = map.get(key);
        if (hot != null) {
            hot.rate = rate;
        } else if (!map.isFull()) {
            hot = new Hot(key, event.directory(), event.locate());
            hot.rate = rate;
            hot.replaced = (event.kinds() & (Access.APPEAR | Access.DISAPPEAR)) != 0;
            map.put(key, hot);
        }
    }

    @Override
    public void overflow() {
        dropped++;
    }

    private void evaluate() {
        long time = System.nanoTime();
        eventsPerSecond = (events - lastEvents) * 1e9 / Math.max(1, time - lastEvaluation);
        lastEvents = events;
        lastEvaluation = time;
        nextEvaluation = time + EVALUATION_NANOS;
        for (LivePin pin : pins.get()) {
            pin.rate(estimator.rate(pin.key(), time));
        }
        refresh(directories, time);
        refresh(files, time);
        tracked = estimator.size();
        trackedBytes = estimator.memory();
        List<Hot> all = new ArrayList<>(directories.size() + files.size());
        directories.forEach((hot, key) -> all.add(hot));
        files.forEach((hot, key) -> all.add(hot));
        lively = !all.isEmpty();
        publish.accept(all);
    }

    private void refresh(LongMap<Hot> map, long time) {
        map.forEach((hot, key) -> hot.rate = estimator.rate(key, time));
        map.retain(hot -> hot.rate >= notice * FORGET);
        if (map.isFull()) {
            // Rather the hotter half than whoever came first.
            double[] rates = new double[map.size()];
            int[] n = {0};
            map.forEach((hot, key) -> rates[n[0]++] = hot.rate);
            java.util.Arrays.sort(rates);
            double median = rates[rates.length / 2];
            map.retain(hot -> hot.rate > median);
        }
    }

    private void runTasks() {
        for (FutureTask<?> task = tasks.poll(); task != null; task = tasks.poll()) {
            task.run();
        }
    }

    /** Takes up changed settings and exchanged strategies. */
    private void equip() throws IOException {
        Settings wanted = settings.get();
        boolean newDirectories =
                inForce == null || !inForce.directories().equals(wanted.directories());
        inForce = wanted;
        notice = Math.max(wanted.unpinRate(), wanted.pinRate() / 10);
        RateEstimator nextEstimator = wantedEstimator.get();
        if (nextEstimator != estimator) {
            hand(estimator, nextEstimator);
            estimator = nextEstimator;
        }
        EventSource next = wantedSource.get();
        if (next != source || session == null && next != null) {
            closeSession();
            source = next;
            if (next != null) {
                EventSource.Session fresh = open(next);
                session = fresh;
                watch(wanted);
                for (LivePin pin : pins.get()) {
                    if (pin.state() != LivePin.State.ORPHANED) {
                        watch(fresh, pin);
                    }
                }
            }
        } else if (newDirectories && session != null) {
            watch(wanted);
        }
    }

    private EventSource.Session open(EventSource next) throws IOException {
        try {
            return next.open();
        } catch (IOException | RuntimeException e) {
            failed.accept(next, e);
            throw e;
        }
    }

    /** One that cannot be watched must not keep the others from it. */
    private void watch(EventSource.Session fresh, LivePin pin) {
        try {
            fresh.pinned(pin.record(), pin.key());
        } catch (IOException e) {
            problem.accept("the pinned " + pin + " will seem cold: " + e.getMessage());
        }
    }

    private void watch(Settings wanted) {
        try {
            session.watch(wanted.directories());
        } catch (IOException e) {
            problem.accept("not everything can be watched: " + e.getMessage());
        }
        directories.retain(h -> false);
        files.retain(h -> false);
    }

    /** What is hot stays hot when another estimator takes over. */
    private void hand(RateEstimator from, RateEstimator to) {
        if (from == null || to == null) {
            return;
        }
        long time = System.nanoTime();
        directories.forEach((hot, key) -> to.seed(key, hot.rate, time));
        files.forEach((hot, key) -> to.seed(key, hot.rate, time));
        for (LivePin pin : pins.get()) {
            to.seed(pin.key(), pin.rate(), time);
        }
    }

    private void closeSession() {
        EventSource.Session old = session;
        session = null;
        if (old != null) {
            old.close();
        }
    }
}
