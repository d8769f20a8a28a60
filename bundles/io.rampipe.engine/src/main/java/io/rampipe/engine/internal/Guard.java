package io.rampipe.engine.internal;

import java.io.IOException;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import org.osgi.service.log.FormatterLogger;

/**
 * Calls a pin strategy or a syncback, which may be anybody's, on other threads than the engine's
 * and for a limited time. One that answers nonsense, lacks a class, or throws what it must not
 * again and again is set aside: told once, and given nothing new until its bundle is updated; one
 * that does not return, until it does. Pins that it has are kept, and it goes on being asked for
 * them, but no more for one that it has not returned for. Any thread.
 */
final class Guard {
    /** What takes no more than a look may take at most, however long anything else may. */
    private static final long QUICK_NANOS = 60_000_000_000L;

    /** Unexpected exceptions of one step in a row. */
    private static final int MOST_FAILURES = 5;

    private static final long CLOSE_PAUSE_MILLIS = 100;

    private final String whose;
    private final Executor threads;
    private final LongSupplier patience;
    private final FormatterLogger log;
    private final Map<String, Running<?>> hanging = new ConcurrentHashMap<>();
    private final Map<String, Integer> failures = new ConcurrentHashMap<>();
    private volatile String aside = "";

    /** Calls that have not returned, and what lasts longer than a call; guarded by this. */
    private int busy;

    /** Guarded by this. */
    private boolean closed;

    /** A call of the strategy. */
    interface Call<T> {
        T run() throws IOException;
    }

    /** It has not returned, now or before; whatever it was to do may or may not be done. */
    static final class HangingException extends IOException {
        private static final long serialVersionUID = 1L;

        HangingException(String message) {
            super(message);
        }
    }

    /** It did what none may do. */
    static final class NonsenseException extends IOException {
        private static final long serialVersionUID = 1L;

        NonsenseException(String message, Throwable cause) {
            super(message, cause);
        }
    }

    /**
     * @param whose for people, such as {@code "pin strategy 'overlayfs'"}
     * @param threads runs calls, each at once
     * @param patience nanoseconds that a step may take
     */
    Guard(String whose, Executor threads, LongSupplier patience, FormatterLogger log) {
        this.whose = whose;
        this.threads = threads;
        this.patience = patience;
        this.log = log;
    }

    /** Why it is set aside; empty if it is not. */
    Optional<String> setAside() {
        if (!aside.isEmpty()) {
            return Optional.of("set aside until its bundle is updated: " + aside);
        }
        // It may only be slow: then it is used again when it has returned.
        return hanging.values().stream()
                .findFirst()
                .map(call -> "set aside until it returns: " + call.describe());
    }

    private void setAside(String why) {
        if (aside.isEmpty()) {
            aside = why;
            log.error(
                    "%s is set aside: %s; it gets nothing new until its bundle is updated, and what"
                            + " is pinned stays pinned",
                    whose, why);
        }
    }

    /** Sets it aside for an answer. The exception is to be thrown. */
    NonsenseException nonsense(String answer) {
        setAside(answer);
        return new NonsenseException(whose + ": " + answer, null);
    }

    /**
     * Before its bundle may go: nothing new is begun, and what has been begun comes to its end,
     * unless it hangs. A class loader that is taken away from under a syncback leaves it half done.
     */
    void close() throws InterruptedException {
        long end = System.nanoTime() + patience.getAsLong();
        synchronized (this) {
            closed = true;
            while (busy > hanging.size() && System.nanoTime() - end < 0) {
                TimeUnit.MILLISECONDS.timedWait(this, CLOSE_PAUSE_MILLIS);
            }
        }
    }

    /** Something is begun that may last longer than one call; {@link #leave} ends it. */
    synchronized void enter(String key) throws IOException {
        checkReturned(key);
        if (closed) {
            throw new IOException(whose + " is going: its bundle is being stopped or updated");
        }
        busy++;
    }

    /** Whether it is at nothing for this key any more. */
    private void checkReturned(String key) throws HangingException {
        Running<?> before = hanging.get(key);
        if (before != null) {
            throw new HangingException(before.toString());
        }
    }

    synchronized void leave() {
        busy--;
        notifyAll();
    }

    /** Calls something that only looks. */
    <T> T quick(String key, String step, Object of, Call<T> call) throws IOException {
        return once(key, step, of, Math.min(QUICK_NANOS, patience.getAsLong()), call);
    }

    /** Calls something that takes as long as the disk does. */
    <T> T slow(String key, String step, Object of, Call<T> call) throws IOException {
        return once(key, step, of, patience.getAsLong(), call);
    }

    private <T> T once(String key, String step, Object of, long limit, Call<T> call)
            throws IOException {
        enter(key);
        Call<T> leaving =
                () -> {
                    try {
                        return call.run();
                    } finally {
                        leave();
                    }
                };
        try {
            return call(threads, key, step, of, limit, leaving, t -> {});
        } catch (RejectedExecutionException e) {
            leave();
            throw new IOException(whose + " is not called any more: RamPipe has stopped", e);
        }
    }

    /**
     * The same on other threads, between {@link #enter} and {@link #leave}.
     *
     * @param key of what is worked on: as long as a call for it hangs there is no other
     * @param step for people, and to count its failures
     * @param of what it is done to, for people
     * @param late takes what is returned when nobody waits for it any more
     */
    <T> T during(Executor on, String key, String step, Object of, Call<T> call, Consumer<T> late)
            throws IOException {
        checkReturned(key);
        return call(on, key, step, of, patience.getAsLong(), call, late);
    }

    private <T> T call(
            Executor on,
            String key,
            String step,
            Object of,
            long limit,
            Call<T> call,
            Consumer<T> late)
            throws IOException {
        Running<T> running = new Running<>(key, (step + " " + of).strip(), call, late);
        on.execute(running);
        try {
            T answer = running.result(limit);
            failures.remove(step);
            return answer;
        } catch (ExecutionException e) {
            if (e.getCause() instanceof IOException io) {
                failures.remove(step);
                throw io;
            }
            throw unexpected(step, of, e.getCause());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", e);
        }
    }

    private NonsenseException unexpected(String step, Object of, Throwable thrown) {
        String what = "it throws " + thrown + " (" + (step + " " + of).strip() + ")";
        int times = failures.merge(step, 1, Integer::sum);
        if (times == 1) {
            log.error(whose + ": " + what, thrown);
        }
        if (thrown instanceof LinkageError || times >= MOST_FAILURES) {
            setAside(what);
        }
        return new NonsenseException(whose + ": " + what, thrown);
    }

    /** One call. Whoever decides first whether it came in time: the caller, or the call. */
    private final class Running<T> implements Runnable {
        private final String key;
        private final String step;
        private final Call<T> call;
        private final Consumer<T> late;
        private final long since = System.nanoTime();
        private final AtomicBoolean decided = new AtomicBoolean();
        private final CompletableFuture<T> result = new CompletableFuture<>();

        Running(String key, String step, Call<T> call, Consumer<T> late) {
            this.key = key;
            this.step = step;
            this.call = call;
            this.late = late;
        }

        @Override
        public void run() {
            T answer = null;
            Throwable thrown = null;
            try {
                answer = call.run();
            } catch (Throwable e) {
                thrown = e;
            }
            if (decided.compareAndSet(false, true)) {
                if (thrown == null) {
                    result.complete(answer);
                } else {
                    result.completeExceptionally(thrown);
                }
                return;
            }
            try {
                if (thrown == null) {
                    late.accept(answer);
                }
            } finally {
                hanging.remove(key, this);
                log.warn("%s has returned after %s, and is used again (%s)", whose, age(), step);
            }
        }

        T result(long limit) throws IOException, ExecutionException, InterruptedException {
            try {
                return result.get(limit, TimeUnit.NANOSECONDS);
            } catch (TimeoutException e) {
                hanging.put(key, this);
                if (decided.compareAndSet(false, true)) {
                    log.error(
                            "%s is set aside: %s; it gets nothing new until it returns, and what is"
                                    + " pinned stays pinned",
                            whose, describe());
                    throw new HangingException(toString());
                }
                hanging.remove(key, this);
                return result.get();
            }
        }

        String describe() {
            return "it has not returned for " + age() + " (" + step + ")";
        }

        private String age() {
            return Duration.ofNanos(System.nanoTime() - since).toSeconds() + " s";
        }

        @Override
        public String toString() {
            return whose + ": " + describe();
        }
    }
}
