package io.rampipe.engine.internal;

import io.rampipe.api.Access;
import io.rampipe.api.AccessEvent;
import io.rampipe.api.AccessListener;
import io.rampipe.api.EventSource;
import io.rampipe.api.RateEstimator;
import java.io.IOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.function.DoubleSupplier;
import java.util.function.Supplier;

/**
 * The sensing thread: the only one that talks to the event source's session and to the rate
 * estimator. It sleeps until there are events, lets them gather for a tick, and counts them; once a
 * second, if there is anything to tell, it publishes what is hot.
 *
 * <p>Source and estimator may be anybody's. One that throws, answers what is no rate, or does not
 * return is reported and set aside; in the last case another thread takes over, and what the old
 * one may still do has no effect.
 */
final class Sense {
    private static final long EVALUATION_NANOS = 1_000_000_000L;
    private static final int MOST_DIRECTORIES = 4_096;
    private static final int MOST_FILES = 16_384;
    private static final int MOST_PINS = 4_096;
    private static final int CHANGES =
            Access.WRITE | Access.CLOSE_WRITE | Access.APPEAR | Access.DISAPPEAR;

    /** Below this share of the rate from which on things have names, names are forgotten. */
    private static final double FORGET = 0.5;

    /** How long a round may take: a thousand times what it does. */
    private static final long PATIENCE_NANOS = 20_000_000_000L;

    private static final long WATCHDOG_NANOS = 2_000_000_000L;

    /** Failures of a source, each within a minute of the last, until it is set aside. */
    private static final int MOST_FAILURES = 5;

    private static final long FAILURE_FORGOTTEN_NANOS = 60_000_000_000L;

    private static final VarHandle ASKING;

    static {
        try {
            ASKING = MethodHandles.lookup().findVarHandle(Worker.class, "asking", boolean.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private final Supplier<Settings> settings;
    private final Supplier<EventSource> wantedSource;
    private final Supplier<RateEstimator> wantedEstimator;
    private final Supplier<List<LivePin>> pins;
    private final Consumer<List<Hot>> publish;
    private final Failures failures;
    private final long patience;
    private final Thread watchdog = new Thread(this::watch, "rampipe-watchdog");

    private volatile boolean stopped;
    private volatile Worker worker = new Worker();
    private volatile long events;
    private volatile long dropped;
    private volatile double eventsPerSecond;
    private volatile int tracked;
    private volatile long trackedBytes;
    private volatile long lastEvaluation = System.nanoTime();

    /** Takes what goes wrong. Any thread; quickly. */
    interface Failures {
        /** This source is not to be used any more, if there is another. */
        void source(EventSource source, Exception why);

        /** This estimator is not to be used any more. */
        void estimator(RateEstimator estimator, String why);

        /** Something is not as it should be; for people. */
        void problem(String what);
    }

    /** Something to be done by the sensing thread. */
    private interface Task<T> {
        T run(Worker worker) throws IOException;
    }

    /** The estimator did what no estimator may do. */
    private static final class EstimatorFailure extends RuntimeException {
        private static final long serialVersionUID = 1L;

        EstimatorFailure(String what, Throwable cause) {
            super(what, cause);
        }
    }

    Sense(
            Supplier<Settings> settings,
            Supplier<EventSource> source,
            Supplier<RateEstimator> estimator,
            Supplier<List<LivePin>> pins,
            Consumer<List<Hot>> publish,
            Failures failures) {
        this(settings, source, estimator, pins, publish, failures, PATIENCE_NANOS);
    }

    /**
     * @param patience nanoseconds after which a round is taken to hang
     */
    Sense(
            Supplier<Settings> settings,
            Supplier<EventSource> source,
            Supplier<RateEstimator> estimator,
            Supplier<List<LivePin>> pins,
            Consumer<List<Hot>> publish,
            Failures failures,
            long patience) {
        this.settings = settings;
        this.wantedSource = source;
        this.wantedEstimator = estimator;
        this.pins = pins;
        this.publish = publish;
        this.failures = failures;
        this.patience = patience;
    }

    void start() {
        worker.thread.start();
        watchdog.setDaemon(true);
        watchdog.start();
    }

    void stop() throws InterruptedException {
        stopped = true;
        LockSupport.unpark(watchdog);
        watchdog.join();
        wake();
        Worker last = worker;
        last.thread.join(TimeUnit.NANOSECONDS.toMillis(patience));
        if (last.thread.isAlive()) {
            failures.problem("the sensing thread hangs in " + last.where() + " and is left behind");
        }
    }

    /** The one that senses now. */
    Thread thread() {
        return worker.thread;
    }

    /** Makes the thread look at its tasks, settings and strategies. Any thread. */
    void wake() {
        worker.wake();
    }

    /** Runs something on the sensing thread and waits for it. Any other thread. */
    private <T> T call(Task<T> task) throws IOException {
        Worker on = worker;
        FutureTask<T> future = new FutureTask<>(() -> task.run(on));
        on.tasks.add(future);
        on.wake();
        try {
            while (true) {
                try {
                    return future.get(1, TimeUnit.SECONDS);
                } catch (TimeoutException e) {
                    if (on.abandoned) {
                        if (on.tasks.remove(future)) {
                            return call(task);
                        }
                        throw new IOException("it hangs in " + on.where());
                    }
                    if (!on.thread.isAlive() || stopped && on.hangs()) {
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

    /**
     * Returns once what is wanted now is in use, and nothing else is any more, unless it hangs. Any
     * other thread.
     */
    void exchanged() throws InterruptedException {
        try {
            // What is wanted is taken up between the tasks of one round and those of the next.
            for (int rounds = 0; rounds < 2; rounds++) {
                call(on -> null);
            }
        } catch (IOException e) {
            failures.problem("a strategy goes while it is used: " + e.getMessage());
        }
        if (Thread.interrupted()) {
            throw new InterruptedException();
        }
    }

    /** Watches a pin's own mount; its rate goes on where the target's was. */
    void pinned(LivePin pin) throws IOException {
        call(
                on -> {
                    on.pinned.put(pin.key(), pin);
                    if (on.session != null) {
                        on.session.pinned(pin.record(), pin.key());
                    }
                    if (on.estimator != null && pin.rate() > 0) {
                        on.seed(on.estimator, pin.key(), pin.rate(), System.nanoTime());
                    }
                    on.lively = true;
                    return null;
                });
    }

    /**
     * A watched directory may be on another file system now, or on the same one mounted anew.
     * Returns at once: an event source that hangs keeps nothing from the disk.
     */
    void mountsChanged() {
        Worker on = worker;
        on.tasks.add(
                new FutureTask<>(
                        () -> {
                            if (on.session != null && on.inForce != null) {
                                on.watchAgain();
                            }
                            return null;
                        }));
        on.wake();
    }

    void unpinned(LivePin pin) throws IOException {
        call(
                on -> {
                    on.pinned.retain(p -> p != pin);
                    if (on.session != null) {
                        on.session.unpinned(pin.record());
                    }
                    return null;
                });
    }

    /** No more events of these directories, please. */
    void ignore(List<Hot> unwanted) throws IOException {
        call(
                on -> {
                    for (Hot hot : unwanted) {
                        if (on.session != null) {
                            on.session.ignore(hot.key);
                        }
                        if (on.estimator != null) {
                            on.forget(hot.key);
                        }
                    }
                    on.directories.retain(h -> !unwanted.contains(h));
                    on.files.retain(f -> unwanted.stream().noneMatch(u -> u.key == f.directory));
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
        return worker.session != null;
    }

    String mode() {
        EventSource.Session s = worker.session;
        if (s == null) {
            return "";
        }
        EventSource.SourceStats stats = s.stats();
        return stats.mode()
                + (stats.silenced() == 0 ? "" : "; " + stats.silenced() + " always busy, sampled");
    }

    /** Looks whether a round hangs, as long as there are rounds. */
    private void watch() {
        while (!stopped) {
            Worker now = worker;
            if (now.idle) {
                LockSupport.park(this);
            } else {
                LockSupport.parkNanos(this, Math.min(WATCHDOG_NANOS, patience / 2));
            }
            if (!stopped && now.hangs()) {
                replace(now);
            }
        }
    }

    private void replace(Worker old) {
        String why = "it has not returned for " + patience / 1_000_000_000 + " s";
        old.abandoned = true;
        if (old.estimating()) {
            failures.estimator(old.estimator, why);
            // Its queue would fill for nothing.
            old.closeSession();
        } else {
            failures.source(old.source, new IOException(why));
            failures.problem(old.where() + " hangs: " + why);
        }
        Worker next = new Worker();
        worker = next;
        next.thread.start();
    }

    /** A sensing thread with all that belongs to it alone; other threads send it tasks. */
    private final class Worker implements Runnable, AccessListener {
        private final Queue<FutureTask<?>> tasks = new ConcurrentLinkedQueue<>();
        private final LongMap<Hot> directories = new LongMap<>(MOST_DIRECTORIES);
        private final LongMap<Hot> files = new LongMap<>(MOST_FILES);
        private final LongMap<LivePin> pinned = new LongMap<>(MOST_PINS);
        private final Thread thread = new Thread(this, "rampipe-sense");

        private volatile EventSource.Session session;

        /** Another one has taken over. */
        private volatile boolean abandoned;

        /** It waits, for as long as may be. */
        private volatile boolean idle = true;

        /** When the present round began. */
        private volatile long roundSince = System.nanoTime();

        /** It is the estimator that is being waited for; opaque, for it is set for each access. */
        private boolean asking;

        private EventSource source;
        private RateEstimator estimator;
        private Settings inForce;
        private double notice;
        private long now = System.nanoTime();
        private long nextEvaluation = now;
        private long evaluated = now;
        private long lastEvents = events;
        private boolean lively;
        private int failuresOfSource;
        private long lastFailure;

        void wake() {
            EventSource.Session s = session;
            if (s != null) {
                s.wake();
            }
            LockSupport.unpark(thread);
        }

        boolean hangs() {
            return !idle && thread.isAlive() && System.nanoTime() - roundSince > patience;
        }

        /** Whether it is the estimator that does not return. Any thread. */
        boolean estimating() {
            return (boolean) ASKING.getOpaque(this);
        }

        String where() {
            return estimating() ? "the rate estimator" : "the event source";
        }

        @Override
        public void run() {
            try {
                while (!stopped && !abandoned) {
                    round();
                }
            } finally {
                closeSession();
                runTasks();
            }
        }

        private void round() {
            roundSince = System.nanoTime();
            begin();
            try {
                runTasks();
                equip();
                sense();
            } catch (EstimatorFailure e) {
                if (!abandoned) {
                    failures.estimator(estimator, e.getMessage());
                }
                estimator = null;
                // It was left in the middle of handing events over.
                closeSession();
            } catch (IOException | RuntimeException | LinkageError e) {
                if (!abandoned) {
                    failed(e);
                }
                closeSession();
                rest();
            }
        }

        /** From here on until it rests, the watchdog looks after it. */
        private void begin() {
            if (idle) {
                idle = false;
                LockSupport.unpark(watchdog);
            }
        }

        private void rest() {
            idle = true;
            LockSupport.parkNanos(this, EVALUATION_NANOS);
        }

        private void failed(Throwable e) {
            failures.problem("watching failed, starting over: " + message(e));
            long time = System.nanoTime();
            failuresOfSource =
                    time - lastFailure > FAILURE_FORGOTTEN_NANOS ? 1 : failuresOfSource + 1;
            lastFailure = time;
            if (failuresOfSource >= MOST_FAILURES && source != null) {
                failuresOfSource = 0;
                failures.source(source, new IOException(message(e), e));
            }
        }

        private static String message(Throwable e) {
            return e instanceof IOException ? e.getMessage() : e.toString();
        }

        private void sense() throws IOException {
            if (session == null || estimator == null) {
                rest();
                return;
            }
            if (stopped || !tasks.isEmpty()) {
                // Who woke the thread while the session was being opened could not wake the
                // session.
                return;
            }
            // With nothing hot and nothing pinned there is nothing to decide: sleep until a file is
            // used.
            boolean busy = lively || !pins.get().isEmpty();
            long wait = busy ? Math.max(0, nextEvaluation - System.nanoTime()) : -1;
            idle = wait < 0;
            boolean there = session.await(wait);
            begin();
            if (there) {
                LockSupport.parkNanos(this, inForce.tick());
                now = System.nanoTime();
                int n = session.drain(this);
                if (n > 0 && !abandoned) {
                    events += n;
                    lively = true;
                }
            }
            if (System.nanoTime() - nextEvaluation >= 0 && !abandoned) {
                evaluate();
            }
        }

        @Override
        public void access(AccessEvent event) {
            int kinds = event.kinds();
            if ((kinds & CHANGES) != 0 && pinned.size() > 0) {
                LivePin pin = pinned.get(event.directory());
                if (pin != null) {
                    pin.writers().add(event.process());
                }
            }
            double weight = inForce.weight(kinds) * event.scale();
            if (weight > 0 && weight < Double.POSITIVE_INFINITY) {
                long directory = event.directory();
                double rate = add(directory, weight);
                if (rate >= notice) {
                    noticed(directories, directory, event, rate);
                }
                if ((kinds & Access.DIRECTORY) == 0) {
                    long file = event.file();
                    rate = add(file, weight);
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

        // ---- the estimator: whatever it does

        private double add(long key, double weight) {
            ASKING.setOpaque(this, true);
            try {
                return rate(estimator.add(key, weight, now));
            } catch (EstimatorFailure e) {
                throw e;
            } catch (RuntimeException | LinkageError | StackOverflowError | AssertionError e) {
                throw new EstimatorFailure("it throws " + e, e);
            } finally {
                ASKING.setOpaque(this, false);
            }
        }

        private double rate(long key, long time) {
            return ask(() -> rate(estimator.rate(key, time)));
        }

        void seed(RateEstimator to, long key, double rate, long time) {
            ask(
                    () -> {
                        to.seed(key, rate, time);
                        return 0;
                    });
        }

        void forget(long key) {
            ask(
                    () -> {
                        estimator.forget(key);
                        return 0;
                    });
        }

        private double ask(DoubleSupplier question) {
            ASKING.setOpaque(this, true);
            try {
                return question.getAsDouble();
            } catch (EstimatorFailure e) {
                throw e;
            } catch (RuntimeException | LinkageError | StackOverflowError | AssertionError e) {
                throw new EstimatorFailure("it throws " + e, e);
            } finally {
                ASKING.setOpaque(this, false);
            }
        }

        private static double rate(double answer) {
            if (answer >= 0 && answer < Double.POSITIVE_INFINITY) {
                return answer;
            }
            throw new EstimatorFailure("it answers " + answer + " as a rate", null);
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
            for (LivePin pin : pins.get()) {
                double rate = rate(pin.key(), time);
                if (!abandoned) {
                    pin.rate(rate);
                }
            }
            refresh(directories, time);
            refresh(files, time);
            if (abandoned) {
                return;
            }
            eventsPerSecond = (events - lastEvents) * 1e9 / Math.max(1, time - evaluated);
            lastEvents = events;
            evaluated = time;
            lastEvaluation = time;
            nextEvaluation = time + EVALUATION_NANOS;
            tracked = (int) ask(() -> estimator.size());
            trackedBytes = (long) ask(() -> estimator.memory());
            List<Hot> all = new ArrayList<>(directories.size() + files.size());
            directories.forEach((hot, key) -> all.add(hot));
            files.forEach((hot, key) -> all.add(hot));
            lively = !all.isEmpty();
            publish.accept(all);
        }

        private void refresh(LongMap<Hot> map, long time) {
            map.forEach((hot, key) -> hot.rate = rate(key, time));
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
                try {
                    if (task.isDone() && !task.isCancelled()) {
                        task.get();
                    }
                } catch (ExecutionException e) {
                    if (e.getCause() instanceof EstimatorFailure f) {
                        throw f;
                    }
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
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
                RateEstimator before = estimator;
                estimator = nextEstimator;
                hand(before == null, nextEstimator);
            }
            EventSource next = wantedSource.get();
            if (next != source || session == null && next != null) {
                closeSession();
                source = next;
                if (next != null) {
                    EventSource.Session fresh = open(next);
                    session = fresh;
                    watch();
                    for (LivePin pin : pins.get()) {
                        if (pin.state() != LivePin.State.ORPHANED) {
                            watch(fresh, pin);
                        }
                    }
                }
            } else if (newDirectories && session != null) {
                watch();
            }
        }

        private EventSource.Session open(EventSource next) throws IOException {
            try {
                return next.open();
            } catch (IOException | RuntimeException | LinkageError e) {
                failures.source(next, new IOException(message(e), e));
                throw e;
            }
        }

        /** One that cannot be watched must not keep the others from it. */
        private void watch(EventSource.Session fresh, LivePin pin) {
            pinned.put(pin.key(), pin);
            try {
                fresh.pinned(pin.record(), pin.key());
            } catch (IOException e) {
                failures.problem("the pinned " + pin + " will seem cold: " + e.getMessage());
            }
        }

        private void watchAgain() {
            try {
                session.watch(inForce.directories());
            } catch (IOException e) {
                failures.problem("not everything can be watched: " + e.getMessage());
            }
        }

        private void watch() {
            watchAgain();
            directories.retain(h -> false);
            files.retain(h -> false);
        }

        /**
         * What is hot stays hot when another estimator takes over; what is pinned does so even if
         * the one before was lost.
         */
        private void hand(boolean onlyPins, RateEstimator to) {
            if (to == null) {
                return;
            }
            long time = System.nanoTime();
            if (!onlyPins) {
                directories.forEach((hot, key) -> seed(to, key, hot.rate, time));
                files.forEach((hot, key) -> seed(to, key, hot.rate, time));
            }
            for (LivePin pin : pins.get()) {
                seed(to, pin.key(), pin.rate(), time);
            }
        }

        private void closeSession() {
            EventSource.Session old = session;
            session = null;
            if (old != null) {
                try {
                    old.close();
                } catch (RuntimeException | LinkageError e) {
                    failures.problem("the event source fails when it is closed: " + e);
                }
            }
        }
    }
}
