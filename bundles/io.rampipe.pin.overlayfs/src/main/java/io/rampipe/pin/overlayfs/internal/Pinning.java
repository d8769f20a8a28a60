package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.BusyException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.PinStrategy.PinJournal;
import io.rampipe.api.PinStrategy.PinRequest;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.Stat;
import io.rampipe.pin.Exposure;
import io.rampipe.pin.LeaseSet;
import io.rampipe.pin.Place;
import io.rampipe.pin.Stragglers;
import java.io.IOException;
import java.time.Clock;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;

/** What pinning a directory and pinning a file have in common. Used once, by one thread. */
abstract class Pinning {
    private static final long POLL_NANOS = 2_000_000;

    /** How long undoing waits for programs that are in the overlay only for a moment. */
    private static final long UNDO_NANOS = 100_000_000;

    final Eligibility eligibility;
    final PinRequest request;
    final PinJournal journal;
    private final Clock clock;

    Pinning(Eligibility eligibility, Clock clock, PinRequest request, PinJournal journal) {
        this.eligibility = eligibility;
        this.clock = clock;
        this.request = request;
        this.journal = journal;
    }

    /** See {@link PinStrategy#pin}. */
    final Pin pin() throws IOException {
        try (Place place = Place.open(request.target());
                PoolDirectory pool = openPool()) {
            eligibility.checkPlace(place);
            return pin(place, pool);
        } catch (LinuxException e) {
            throw new RefusedException(Cause.ERROR, request.target() + ": " + e.getMessage(), e);
        }
    }

    /** Everything is as before when it throws a RefusedException or a LinuxException. */
    abstract Pin pin(Place place, PoolDirectory pool) throws IOException;

    final Pin journalled(Pin pin) throws IOException {
        journal.write(pin);
        return pin;
    }

    final Pin preparing(Fd lower) throws IOException {
        return Records.preparing(request, clock, lower);
    }

    private PoolDirectory openPool() throws IOException {
        try {
            return PoolDirectory.open(request.pool());
        } catch (LinuxException e) {
            throw new RefusedException(
                    Cause.ERROR, "the pin's directory in the thin pool: " + e.getMessage(), e);
        }
    }

    /**
     * Gives back what a pin has in the pool that is not to be. A daemon that dies meanwhile leaves
     * a record that does not ask for what is not there any more.
     */
    final void empty(Pin pin, PoolDirectory pool) throws IOException {
        journalled(pin.at(Pin.Step.DISCARDING));
        pool.empty();
    }

    final RefusedException refused(Cause cause, String message) {
        return new RefusedException(cause, message);
    }

    final FilePath full(FilePath below) {
        return Place.below(request.target().path(), below);
    }

    /** The mount that now covers the target; throws if it is not there to be seen. */
    final MountInfo seen(Place place, Pin pin) throws IOException {
        try (Place again = reopen(place)) {
            Optional<MountInfo> mount = MountInfo.byId(again.stat().mount());
            if (mount.isPresent() && mount.get().source().equals(Overlay.source(pin.id()))) {
                return mount.get();
            }
        }
        throw refused(
                request.target().kind() == Target.Kind.FILE ? Cause.REPLACED : Cause.CHANGED,
                request.target() + " was moved or replaced while it was being pinned");
    }

    private Place reopen(Place place) throws IOException {
        Fd parent = null;
        Fd self = null;
        try {
            parent = At.openNoLinks(place.target().path().parent(), At.O_PATH | At.O_DIRECTORY);
            self = At.open(parent, place.name(), At.O_PATH | At.O_NOFOLLOW, 0);
            return new Place(
                    place.target(), parent, place.name(), self, Stat.of(self), place.mount());
        } catch (LinuxException e) {
            if (parent != null) {
                parent.close();
            }
            if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                throw refused(
                        Cause.CHANGED,
                        request.target() + " was moved or replaced while it was being pinned");
            }
            throw e;
        }
    }

    final void checkCovered(Place place, Pin pin) throws IOException {
        Optional<String> open = Exposure.now().uncovered(place, Overlay.source(pin.id()).raw());
        if (open.isPresent()) {
            throw refused(
                    Cause.MOUNT_POINT,
                    request.target() + " can be reached past the mount over it: " + open.get());
        }
    }

    /**
     * The sooner it is noticed, the more likely is it that nobody is in the overlay yet, and that
     * it can be undone.
     */
    final void checkNotBypassed(LeaseSet leases) throws IOException {
        FilePath bypassed = leases.wantedForWriting();
        if (bypassed != null) {
            throw new Bypass(
                    bypassed, full(bypassed) + " was opened for writing while it was being pinned");
        }
    }

    /** Waits until everybody who was on the way to the disk when it was covered has arrived. */
    final void hold(LeaseSet leases) throws IOException {
        Stragglers.of(request.target().path()).await(() -> checkNotBypassed(leases));
    }

    /**
     * Takes away what has been mounted, as long as no program has changed anything through it, and
     * throws the reason.
     *
     * @return the pin, if programs are in the overlay or have written to it: it must stay, since
     *     what they wrote is nowhere else. It is marked, to be unpinned as soon as can be, unless
     *     what has been changed past it is harmless
     */
    final Pin undoOrKeep(
            Pin pin, Place place, PoolDirectory pool, Upper upper, Late late, IOException because)
            throws IOException {
        Pin kept = pin;
        try {
            if (because instanceof Bypass && unmountedAtOnce(pin, place) || unmounted(pin)) {
                if (upper.untouched()) {
                    empty(pin, pool);
                    throw because;
                }
                kept = Remounting.remount(pin);
            } else if (Overlay.over(pin).isEmpty()) {
                // Nothing covers the target: programs are at the disk's version, as they should.
                throw new IOException("the overlay out of sight cannot be unmounted");
            }
            boolean settled = !(because instanceof Bypass) && late.settled(kept);
            return journalled((settled ? kept : bypassed(kept, because)).at(Pin.Step.PINNED));
        } catch (IOException e) {
            if (e == because) {
                throw e;
            }
            e.addSuppressed(because);
            throw new Kept(
                    "the pin of "
                            + request.target()
                            + " is neither done nor undone: "
                            + e.getMessage(),
                    e);
        }
    }

    /** How to make good what has been changed on disk past the mount. */
    @FunctionalInterface
    interface Late {
        /** Whether the pin is as it should be, now that everybody has arrived. */
        boolean settled(Pin pin) throws IOException;
    }

    /** How to tell whether programs wrote to the upper layer. */
    @FunctionalInterface
    interface Upper {
        boolean untouched() throws IOException;
    }

    /**
     * Without looking for anything first, before programs come into the overlay; nobody can have
     * copied the mount yet.
     */
    private static boolean unmountedAtOnce(Pin pin, Place place) {
        try {
            long top = Stat.at(place.parent(), place.name()).mount();
            if (Long.toString(top).equals(pin.attributes().get(Pin.MOUNT))
                    && !pin.attributes().containsKey(Pin.HIDDEN)) {
                Mounts.unmount(place.parent(), place.name());
                return true;
            }
        } catch (LinuxException e) {
            // In use or moved: that takes a closer look.
        }
        return false;
    }

    private boolean unmounted(Pin pin) throws IOException {
        long start = System.nanoTime();
        while (true) {
            try {
                Optional<MountInfo> over = Overlay.over(pin);
                if (over.isPresent()) {
                    Overlay.unmount(pin, over.get());
                }
                Optional<MountInfo> hidden = Overlay.hidden(pin);
                if (hidden.isPresent()) {
                    Overlay.unmount(pin, hidden.get());
                }
                return true;
            } catch (BusyException e) {
                if (System.nanoTime() - start > UNDO_NANOS) {
                    return false;
                }
                LockSupport.parkNanos(POLL_NANOS);
            }
        }
    }

    /** The record of a pin that could not be undone says so. */
    static Pin bypassed(Pin pin, IOException because) {
        if (because instanceof RefusedException r && r.refusal().cause() == Cause.NO_ROOM) {
            return pin;
        }
        String path = because instanceof Bypass b ? b.path().raw() : "";
        return pin.with(Pin.BYPASSED, path);
    }

    /**
     * Neither done nor undone: the journal has the record, and the pool what programs may have
     * written. No RefusedException, because something did change.
     */
    static final class Kept extends IOException {
        private static final long serialVersionUID = 1L;

        Kept(String message, Throwable because) {
            super(message, because);
        }
    }

    /** Somebody got past the mount. */
    static final class Bypass extends RefusedException {
        private static final long serialVersionUID = 1L;

        private final transient FilePath path;

        Bypass(FilePath path, String message) {
            super(Cause.IN_USE, message);
            this.path = path;
        }

        /** Below the target. */
        FilePath path() {
            return path;
        }
    }
}
