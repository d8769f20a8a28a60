package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy.PinJournal;
import io.rampipe.api.PinStrategy.PinRequest;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.linux.At;
import io.rampipe.linux.Baseline;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.Processes;
import io.rampipe.linux.Stat;
import io.rampipe.pin.LeaseSet;
import io.rampipe.pin.PinMount;
import io.rampipe.pin.Place;
import io.rampipe.pin.SingleFile;
import java.io.IOException;
import java.time.Clock;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Pins one file: an overlay of its directory where nobody sees it, the file copied up there, a
 * lease on the file on disk, and the copy bound over it. Nothing else in the directory is
 * concerned, since nobody gets at that overlay: no leases for the others, however many there are.
 *
 * <p>The file is copied before the lease is taken, because the kernel's own reading of it would
 * wait for the lease; that it did not change meanwhile is checked under the lease.
 */
final class FilePinning extends Pinning {
    private static final FilePath SELF = FilePath.of("");

    FilePinning(Eligibility eligibility, Clock clock, PinRequest request, PinJournal journal) {
        super(eligibility, clock, request, journal);
    }

    @Override
    Pin pin(Place place, PoolDirectory pool) throws IOException {
        SingleFile.checkAlone(place);
        Eligibility.checkRoom(request.target(), Eligibility.estimate(place.stat()), request.room());
        Pin pin =
                journalled(
                        preparing(place.parent())
                                .with(
                                        Pin.HIDDEN,
                                        request.pool().resolve(PoolDirectory.MERGED).raw()));
        try {
            pool.make(place.parent(), true);
            checkAttributesFit(place, pool);
            saveBaseline(place, pin);
            return cover(journalled(pin.at(Pin.Step.MOUNTING)), place, pool);
        } catch (Kept e) {
            throw e;
        } catch (IOException e) {
            // Nothing of it is mounted any more.
            empty(pin, pool);
            throw e;
        }
    }

    /** Of the one name; that the file is as it was then is looked at under its lease. */
    private static void saveBaseline(Place place, Pin pin) throws IOException {
        Stat parent = Stat.of(place.parent());
        Baseline baseline = new Baseline();
        baseline.directory(parent);
        baseline.name(parent.inode(), place.name(), place.stat());
        baseline.save(pin.path(Pin.BASELINE));
    }

    private void checkAttributesFit(Place place, PoolDirectory pool) throws IOException {
        if (!pool.holdsUserAttributes()) {
            DirectoryPinning.checkNoUserAttributes(place.self(), place.target().path());
        }
    }

    private Pin cover(Pin mounting, Place place, PoolDirectory pool) throws IOException {
        Map<FilePath, Stat> copied = new HashMap<>();
        Pin pin = mounting;
        try (LeaseSet leases = new LeaseSet(request.target().path())) {
            try {
                try (Fd overlay = Overlay.make(pin, place.parent(), PinMount.flags(place.mount()));
                        Fd point = At.openDirectory(pool.fd(), PoolDirectory.MERGED)) {
                    Mounts.attach(overlay, point);
                }
                bind(place, pool, leases, copied);
                checkNotBypassed(leases);
                pin = pin.with(Pin.MOUNT, Integer.toString(seen(place, pin).id()));
                lookAgain(place, pin, leases);
                hold(leases);
                // Who was on the way to a name on disk when it was covered has arrived there.
                lookAgain(place, pin, leases);
                if (leases.wanted() != null) {
                    throw new Bypass(SELF, request.target() + " was opened while being pinned");
                }
                return journalled(pin.at(Pin.Step.PINNED));
            } catch (IOException e) {
                return undoOrKeep(
                        pin,
                        place,
                        pool,
                        () -> UpperCheck.holdsOnly(pool, copied, place.parent()),
                        p -> false,
                        e);
            }
        }
    }

    /** Copies the file up and binds the copy over it. */
    private void bind(Place place, PoolDirectory pool, LeaseSet leases, Map<FilePath, Stat> copied)
            throws IOException {
        try (Fd merged = At.open(pool.fd(), PoolDirectory.MERGED, At.O_PATH | At.O_DIRECTORY, 0)) {
            copyUp(merged, place);
            try (Fd copy = At.open(merged, place.name(), At.O_PATH | At.O_NOFOLLOW, 0);
                    Fd upper = At.openDirectory(pool.fd(), PoolDirectory.UPPER)) {
                copied.put(place.name(), Stat.at(upper, place.name()));
                leases.take(place.parent(), place.name(), SELF, place.stat());
                Mounts.mount(
                        copy.magicPath(), place.self().magicPath(), null, Mounts.MS_BIND, null);
            }
        }
    }

    private void copyUp(Fd merged, Place place) throws IOException {
        try {
            OverlayStrategy.copyUp(merged, place.name());
        } catch (LinuxException e) {
            if (e.is(Errno.ENOSPC, Errno.EDQUOT)) {
                throw new RefusedException(
                        Cause.NO_ROOM, request.target() + " does not fit into the thin pool", e);
            }
            if (e.is(Errno.ETXTBSY)) {
                throw new RefusedException(
                        Cause.IN_USE, request.target() + " is a running program", e);
            }
            if (e.is(Errno.ENOENT, Errno.ELOOP, Errno.EXDEV)) {
                throw new RefusedException(
                        Cause.REPLACED, request.target() + " was replaced while being pinned", e);
            }
            throw e;
        }
    }

    private void lookAgain(Place place, Pin pin, LeaseSet leases) throws IOException {
        checkCovered(place, pin);
        if (leases.changed() != null) {
            throw refused(Cause.CHANGED, request.target() + " changed while it was being pinned");
        }
        List<Processes.Holder> holders = Processes.using(place.stat(), false, 1);
        if (!holders.isEmpty()) {
            throw refused(Cause.IN_USE, request.target() + " is in use by " + holders.get(0));
        }
        try (Fd parent = At.reopen(place.parent(), At.O_RDONLY | At.O_DIRECTORY)) {
            SingleFile.checkSiblings(place, parent);
        }
    }
}
