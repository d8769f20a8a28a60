package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy.PinJournal;
import io.rampipe.api.PinStrategy.PinRequest;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.OpenFiles;
import io.rampipe.linux.Processes;
import io.rampipe.linux.Stat;
import io.rampipe.linux.Xattrs;
import io.rampipe.pin.LeaseSet;
import io.rampipe.pin.PinMount;
import io.rampipe.pin.Place;
import java.io.IOException;
import java.time.Clock;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Pins a directory: leases on every file in it, the overlay over it, another look at everything,
 * and only then the leases are released and the hot files copied up. As long as the leases are
 * held, an opener waits, whether it comes through the overlay or past it; see {@link
 * LeaseSet#wantedForWriting} for how the two are told apart.
 */
final class DirectoryPinning extends Pinning {
    /** Descriptors for everything else that the daemon does. */
    private static final int OTHER_FILES = 4096;

    private final Map<FilePath, Stat> copied = new HashMap<>();

    DirectoryPinning(Eligibility eligibility, Clock clock, PinRequest request, PinJournal journal) {
        super(eligibility, clock, request, journal);
    }

    @Override
    Pin pin(Place place, PoolDirectory pool) throws IOException {
        checkNobodyInside(place, null);
        OpenFiles.ensure(eligibility.maxFiles() + (long) OTHER_FILES);
        Pin pin = journalled(preparing(place.self()));
        try {
            pool.make(place.self(), false);
            return cover(pin, place, pool);
        } catch (Kept e) {
            throw e;
        } catch (IOException e) {
            // Nothing of it is mounted any more.
            empty(pin, pool);
            throw e;
        }
    }

    private Pin cover(Pin preparing, Place place, PoolDirectory pool) throws IOException {
        Pin pin;
        Tree tree;
        try (LeaseSet leases = new LeaseSet(request.target().path())) {
            // All that takes time and can be done before the leases: openers wait for them.
            pool.makeMask(place.self());
            try (Fd overlay =
                    Overlay.make(preparing, place.self(), PinMount.flags(place.mount()))) {
                pin =
                        journalled(
                                preparing
                                        .at(Pin.Step.MOUNTING)
                                        .with(Pin.MOUNT, Long.toString(Stat.of(overlay).mount())));
                tree = eligibility.walk(place, visitor(pool, leases));
                checkBeforeAttaching(place, tree);
                tree.baseline().save(preparing.path(Pin.BASELINE));
                attach(overlay, place, leases);
            }
            try {
                checkNotBypassed(leases);
                seen(place, pin);
                checkNotBypassed(leases);
                lookAgain(place, pin, tree, leases);
                hold(leases);
                // Who was on the way to a name on disk when it was covered has arrived there.
                lookAgain(place, pin, tree, leases);
            } catch (IOException e) {
                return undoOrKeep(
                        pin,
                        place,
                        pool,
                        () -> UpperCheck.holdsOnly(pool, copied, place.self()),
                        p -> settled(p, place, leases),
                        e);
            }
        }
        List<FilePath> hot = Eligibility.present(tree, request.hot());
        try {
            copyUp(pin, place, pool, hot);
            return journalled(pin.at(Pin.Step.PINNED));
        } catch (IOException e) {
            return undoOrKeep(
                    pin,
                    place,
                    pool,
                    () -> UpperCheck.holdsOnly(pool, copied, place.self()),
                    p -> false,
                    e);
        }
    }

    private void checkBeforeAttaching(Place place, Tree tree) throws IOException {
        if (!tree.root().unchangedSince(place.stat())) {
            // The upper layer's root would have its old attributes.
            throw refused(Cause.CHANGED, request.target() + " changed while it was being pinned");
        }
        Eligibility.checkRoom(
                request.target(),
                Eligibility.estimate(request.target(), tree, request.hot()),
                request.room());
    }

    /**
     * Covers the target. From the check to the end of the attaching is the time in which somebody
     * may come past the overlay unnoticed until {@link #checkNotBypassed}, so nothing else happens
     * there.
     */
    private void attach(Fd overlay, Place place, LeaseSet leases) throws IOException {
        FilePath wanted = leases.wanted();
        if (wanted != null) {
            throw refused(Cause.IN_USE, full(wanted) + " was opened while it was being pinned");
        }
        Mounts.attach(overlay, place.self());
    }

    private Tree.Visitor visitor(PoolDirectory pool, LeaseSet leases) throws IOException {
        boolean userAttributes = pool.holdsUserAttributes();
        return (dir, name, path, stat) -> {
            Fd file = leases.take(dir, name, path, stat);
            if (!userAttributes) {
                checkNoUserAttributes(file, full(path));
            }
        };
    }

    /** Copying up would drop them without a word. */
    static void checkNoUserAttributes(Fd file, FilePath path) throws IOException {
        for (String attribute : Xattrs.list(file)) {
            if (attribute.startsWith("user.")) {
                throw new RefusedException(
                        Cause.UNSUPPORTED,
                        path
                                + " has the attribute "
                                + attribute
                                + ", which this kernel's tmpfs cannot hold (Linux 6.6 can)");
            }
        }
    }

    private void lookAgain(Place place, Pin pin, Tree tree, LeaseSet leases) throws IOException {
        checkCovered(place, pin);
        checkNobodyInside(place, tree);
        FilePath file = leases.changed();
        if (file != null) {
            throw refused(Cause.CHANGED, full(file) + " changed while it was being pinned");
        }
        String directory = tree.changed(place.self());
        if (!directory.isEmpty()) {
            throw refused(Cause.CHANGED, directory + " changed while it was being pinned");
        }
    }

    /**
     * Whether what programs have changed on disk past the mount can have come before all that was
     * done in the overlay; it is the lower layer then.
     */
    private boolean settled(Pin pin, Place place, LeaseSet leases) throws IOException {
        try (Fd lower = At.reopen(place.self(), At.O_RDONLY | At.O_DIRECTORY)) {
            hold(leases);
            checkCovered(place, pin);
            return Settling.settle(pin, lower, eligibility);
        } catch (RefusedException | LinuxException e) {
            return false;
        }
    }

    private void checkNobodyInside(Place place, Tree tree) throws IOException {
        List<Processes.Holder> inside =
                Processes.inside(place.self(), inode -> tree != null && tree.hasFile(inode), 1);
        if (!inside.isEmpty()) {
            throw refused(Cause.OCCUPIED, request.target() + " is occupied by " + inside.get(0));
        }
    }

    private void copyUp(Pin pin, Place place, PoolDirectory pool, List<FilePath> hot)
            throws IOException {
        try (Fd merged =
                        At.open(
                                place.parent(),
                                place.name(),
                                At.O_PATH | At.O_DIRECTORY | At.O_NOFOLLOW,
                                0);
                Fd upper = At.openDirectory(pool.fd(), PoolDirectory.UPPER)) {
            if (Stat.of(merged).mount() != Long.parseLong(pin.attribute(Pin.MOUNT))) {
                throw refused(Cause.CHANGED, request.target() + " was covered by another mount");
            }
            for (FilePath path : hot) {
                copyUp(merged, upper, path);
            }
        }
    }

    private void copyUp(Fd merged, Fd upper, FilePath path) throws IOException {
        try {
            OverlayStrategy.copyUp(merged, path);
            try (Fd copy = At.openBeneath(upper, path, At.O_PATH | At.O_NOFOLLOW, 0)) {
                copied.put(path, Stat.of(copy));
            }
        } catch (LinuxException e) {
            if (e.is(Errno.ENOSPC, Errno.EDQUOT)) {
                throw new RefusedException(
                        Cause.NO_ROOM,
                        request.target() + " does not fit into the thin pool: " + full(path),
                        e);
            }
            // Programs have it again: it may be gone, replaced or running. Then it stays on disk
            // until it is written.
            if (!e.is(
                    Errno.ENOENT,
                    Errno.ENOTDIR,
                    Errno.ELOOP,
                    Errno.EISDIR,
                    Errno.ENXIO,
                    Errno.ETXTBSY,
                    Errno.EAGAIN)) {
                throw e;
            }
        }
    }
}
