package io.rampipe.engine.internal;

import io.rampipe.api.Conflict;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack;
import io.rampipe.api.UnfinishedException;
import java.io.IOException;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** A syncback behind a {@link Guard}, whose answers are looked at before anyone acts on them. */
final class GuardedSync implements SyncBack {
    private static final String RECOVERY = "recovery";

    private final SyncBack inner;
    private final Guard guard;

    GuardedSync(SyncBack inner, Guard guard) {
        this.inner = inner;
        this.guard = guard;
    }

    /** Before its bundle may go. */
    void close() throws InterruptedException {
        guard.close();
    }

    @Override
    public Optional<String> unusable() {
        Optional<String> aside = guard.setAside();
        if (aside.isPresent()) {
            return aside;
        }
        try {
            return some(
                    guard.quick("", "looks whether it can work", "", inner::unusable),
                    "whether it can work");
        } catch (IOException e) {
            return Optional.of(String.valueOf(e.getMessage()));
        }
    }

    private <T> T some(T answer, String question) throws IOException {
        if (answer == null) {
            throw guard.nonsense("it answers null when asked for " + question);
        }
        return answer;
    }

    @Override
    public boolean accepts(String format) {
        try {
            return guard.quick("", "looks at format", format, () -> inner.accepts(format));
        } catch (IOException e) {
            return false;
        }
    }

    @Override
    public Result checkpoint(Pin pin) throws IOException {
        return checkpoint(pin, Allowance.NO_FREEZE);
    }

    @Override
    public Result checkpoint(Pin pin, Allowance allowance) throws IOException {
        return checked(
                guard.slow(
                        pin.id(),
                        "checkpoints",
                        pin.target(),
                        () -> inner.checkpoint(pin, allowance)),
                pin);
    }

    private Result checked(Result result, Pin pin) throws IOException {
        if (result == null
                || result.files() < 0
                || result.bytes() < 0
                || result.written() < 0
                || result.held() == null
                || result.held().isNegative()
                || result.why() == null) {
            throw guard.nonsense("it answers " + result + " for " + pin.target());
        }
        return result;
    }

    @Override
    public boolean pressed(Pin pin) throws IOException {
        return guard.quick(pin.id(), "looks at the RAM of", pin.target(), () -> inner.pressed(pin));
    }

    /**
     * All of it on one thread: it holds files open, and may hold what belongs to the thread.
     * Whatever happens, it is closed after what was called before has returned.
     */
    @Override
    public Last begin(Pin pin) throws IOException {
        ExecutorService thread =
                Executors.newSingleThreadExecutor(
                        r -> {
                            Thread t = new Thread(r, "rampipe-last");
                            t.setDaemon(true);
                            return t;
                        });
        boolean begun = false;
        guard.enter(pin.id());
        try {
            Last last =
                    some(
                            guard.during(
                                    thread,
                                    pin.id(),
                                    "begins the last syncback of",
                                    pin.target(),
                                    () -> inner.begin(pin),
                                    Last::close),
                            "the last syncback");
            begun = true;
            return new GuardedLast(pin, last, thread);
        } finally {
            if (!begun) {
                // After what it may be at.
                thread.execute(guard::leave);
                thread.shutdown();
            }
        }
    }

    private final class GuardedLast implements Last {
        private final Pin pin;
        private final Last last;
        private final ExecutorService thread;

        GuardedLast(Pin pin, Last last, ExecutorService thread) {
            this.pin = pin;
            this.last = last;
            this.thread = thread;
        }

        @Override
        public Result finish() throws IOException {
            try {
                return checked(
                        guard.during(
                                thread,
                                pin.id(),
                                "writes the rest of",
                                pin.target(),
                                last::finish,
                                late -> {}),
                        pin);
            } catch (Guard.HangingException | Guard.NonsenseException e) {
                // Nobody knows what it has done, and it may be at it still.
                throw new UnfinishedException(e.getMessage(), e);
            }
        }

        @Override
        public void close() {
            try {
                guard.during(
                        thread,
                        pin.id(),
                        "ends the last syncback of",
                        pin.target(),
                        () -> {
                            last.close();
                            return null;
                        },
                        late -> {});
            } catch (Guard.HangingException e) {
                // After what it is doing now.
                thread.execute(last::close);
            } catch (IOException e) {
                // It threw; the guard has told.
            } finally {
                thread.execute(guard::leave);
                thread.shutdown();
            }
        }
    }

    @Override
    public Dirty dirty(Pin pin) throws IOException {
        Dirty dirty =
                some(
                        guard.quick(
                                pin.id(),
                                "looks what is dirty in",
                                pin.target(),
                                () -> inner.dirty(pin)),
                        "what is dirty");
        if (dirty.files() < 0 || dirty.bytes() < 0) {
            throw guard.nonsense("it answers " + dirty + " for " + pin.target());
        }
        return dirty;
    }

    @Override
    public Optional<String> version(Pin pin) throws IOException {
        return some(
                guard.quick(
                        pin.id(),
                        "looks at the version of",
                        pin.target(),
                        () -> inner.version(pin)),
                "a version");
    }

    @Override
    public void forget(Pin pin) {
        try {
            guard.quick(
                    pin.id(),
                    "forgets",
                    pin.target(),
                    () -> {
                        inner.forget(pin);
                        return null;
                    });
        } catch (IOException e) {
            // Nothing depends on it; the guard has told.
        }
    }

    @Override
    public List<String> recover(Collection<FilePath> directories, Collection<Pin> pins)
            throws IOException {
        return some(
                guard.slow(
                        RECOVERY, "recovers", directories, () -> inner.recover(directories, pins)),
                "what it has recovered");
    }

    @Override
    public List<Conflict> conflicts(Collection<FilePath> directories, Collection<Pin> pins)
            throws IOException {
        return some(
                guard.slow(
                        RECOVERY,
                        "looks for conflicts in",
                        directories,
                        () -> inner.conflicts(directories, pins)),
                "conflicts");
    }

    @Override
    public Pin replaced(Pin pin) throws IOException {
        Pin other =
                some(
                        guard.slow(
                                pin.id(),
                                "looks at the directory of",
                                pin.target(),
                                () -> inner.replaced(pin)),
                        "the directory");
        if (!other.id().equals(pin.id())) {
            throw guard.nonsense("it answers another pin's record for " + pin.target());
        }
        return other;
    }

    @Override
    public void conflict(Pin pin, String what) throws IOException {
        guard.slow(
                pin.id(),
                "keeps a conflict of",
                pin.target(),
                () -> {
                    inner.conflict(pin, what);
                    return null;
                });
    }
}
