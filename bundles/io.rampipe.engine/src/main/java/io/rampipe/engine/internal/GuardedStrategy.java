package io.rampipe.engine.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.Target;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * A pin strategy behind a {@link Guard}, whose answers are looked at before anyone acts on them.
 */
final class GuardedStrategy implements PinStrategy {
    /** Attributes that say where things are in the pin's own part of the pool. */
    private static final List<String> PLACES =
            List.of(
                    Pin.UPPER,
                    Pin.WORK,
                    Pin.MASK,
                    Pin.HIDDEN,
                    Pin.BASELINE,
                    Pin.SNAPSHOT_NODE,
                    Pin.SNAPSHOT_STORE,
                    Pin.RESERVED_AT);

    private final PinStrategy inner;
    private final Guard guard;

    /** A pin was neither made nor refused: there is a record, and nobody knows what else. */
    static final class UnfinishedPinException extends IOException {
        private static final long serialVersionUID = 1L;

        private final transient Pin pin;

        UnfinishedPinException(Pin pin, IOException cause) {
            super(cause.getMessage(), cause);
            this.pin = pin;
        }

        /** The last record that was journalled. */
        Pin pin() {
            return pin;
        }
    }

    GuardedStrategy(PinStrategy inner, Guard guard) {
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
            Optional<String> answer =
                    guard.quick("", "looks whether it can work", "", inner::unusable);
            if (answer == null) {
                throw guard.nonsense("it answers null when asked whether it can work");
            }
            return answer;
        } catch (IOException e) {
            return Optional.of(String.valueOf(e.getMessage()));
        }
    }

    @Override
    public Estimate examine(Target target, List<FilePath> hot) throws IOException {
        Estimate e =
                guard.slow(
                        target.path().raw(), "examines", target, () -> inner.examine(target, hot));
        if (e == null || e.bytes() < 0 || e.most() < 0 || e.files() < 0 || e.reserved() < 0) {
            throw guard.nonsense("it estimates " + e + " for " + target);
        }
        return e;
    }

    @Override
    public Pin pin(PinRequest request, PinJournal journal) throws IOException {
        Checked records = new Checked(request, journal);
        Pin pin;
        try {
            pin =
                    guard.slow(
                            request.id(),
                            "pins",
                            request.target(),
                            () -> inner.pin(request, records));
            if (pin == null || !pin.equals(records.last())) {
                throw guard.nonsense(
                        "it has pinned "
                                + request.target()
                                + " and answers a record that it has not journalled");
            }
            if (pin.step() != Pin.Step.PINNED) {
                throw guard.nonsense(
                        "it has pinned " + request.target() + " and answers " + pin.step());
            }
        } catch (IOException e) {
            Pin left = records.close();
            if (left != null && !undone(left, e)) {
                throw new UnfinishedPinException(left, e);
            }
            throw e;
        }
        return pin;
    }

    /** Whether nothing is left of a pin that was not made. */
    private boolean undone(Pin left, IOException why) {
        if (why instanceof Guard.HangingException) {
            return false;
        }
        try {
            return left.step() == Pin.Step.PREPARING || !mounted(left) && !lingers(left);
        } catch (IOException e) {
            why.addSuppressed(e);
            return false;
        }
    }

    /** The engine's journal, for one pin. */
    private final class Checked implements PinJournal {
        private final PinRequest request;
        private final PinJournal journal;
        private Pin last;
        private boolean closed;

        Checked(PinRequest request, PinJournal journal) {
            this.request = request;
            this.journal = journal;
        }

        @Override
        public synchronized void write(Pin pin) throws IOException {
            if (closed) {
                throw new IOException(
                        request.target() + " is not to be pinned any more: it took too long");
            }
            check(pin, request.id(), request.target(), request.pool());
            journal.write(pin);
            last = pin;
        }

        synchronized Pin last() {
            return last;
        }

        /** Nothing is journalled from now on. Null if nothing was. */
        synchronized Pin close() {
            closed = true;
            return last;
        }
    }

    private void check(Pin pin, String id, Target target, FilePath pool) throws IOException {
        if (pin == null) {
            throw guard.nonsense("it makes no record for " + target);
        }
        if (!pin.id().equals(id) || !pin.target().equals(target)) {
            throw guard.nonsense(
                    "asked for "
                            + target
                            + " it makes a record of "
                            + pin.target()
                            + ", "
                            + pin.id());
        }
        if (pool == null) {
            return;
        }
        for (String place : PLACES) {
            String raw = pin.attributes().get(place);
            if (raw != null && (!pool.contains(FilePath.ofRaw(raw)) || raw.contains("/../"))) {
                throw guard.nonsense(
                        "its record of "
                                + target
                                + " has "
                                + place
                                + " = "
                                + FilePath.ofRaw(raw)
                                + ", which is outside of the pin's "
                                + pool);
            }
        }
    }

    @Override
    public void unmount(Pin pin) throws IOException {
        guard.slow(
                pin.id(),
                "unmounts",
                pin.target(),
                () -> {
                    inner.unmount(pin);
                    return null;
                });
    }

    @Override
    public Pin remount(Pin pin) throws IOException {
        Pin again = guard.slow(pin.id(), "remounts", pin.target(), () -> inner.remount(pin));
        check(again, pin.id(), pin.target(), null);
        return again;
    }

    @Override
    public Pin adopt(Pin pin) throws IOException {
        Pin again = guard.slow(pin.id(), "takes over", pin.target(), () -> inner.adopt(pin));
        check(again, pin.id(), pin.target(), null);
        return again;
    }

    @Override
    public boolean mounted(Pin pin) throws IOException {
        return guard.quick(pin.id(), "looks at", pin.target(), () -> inner.mounted(pin));
    }

    @Override
    public boolean lingers(Pin pin) throws IOException {
        return guard.quick(pin.id(), "looks who uses", pin.target(), () -> inner.lingers(pin));
    }

    @Override
    public void discard(Pin pin) throws IOException {
        guard.slow(
                pin.id(),
                "discards",
                pin.target(),
                () -> {
                    inner.discard(pin);
                    return null;
                });
    }

    @Override
    public List<Stray> strays(FilePath pool, Set<String> recorded) throws IOException {
        List<Stray> strays =
                guard.quick("", "looks for strays in", pool, () -> inner.strays(pool, recorded));
        if (strays == null) {
            throw guard.nonsense("it answers null when asked for strays");
        }
        for (Stray stray : strays) {
            if (stray.pin().isPresent()) {
                Pin pin = stray.pin().get();
                check(pin, stray.id(), pin.target(), pool.resolve(stray.id()));
            }
        }
        return strays;
    }
}
