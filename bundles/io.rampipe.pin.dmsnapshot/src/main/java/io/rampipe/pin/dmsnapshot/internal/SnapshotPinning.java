package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.BusyException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy.PinJournal;
import io.rampipe.api.PinStrategy.PinRequest;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.linux.At;
import io.rampipe.linux.Baseline;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Extents;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.Processes;
import io.rampipe.linux.Stat;
import io.rampipe.pin.CopiedAttributes;
import io.rampipe.pin.Exposure;
import io.rampipe.pin.LeaseSet;
import io.rampipe.pin.LowerDirectory;
import io.rampipe.pin.Place;
import io.rampipe.pin.SingleFile;
import io.rampipe.pin.Stragglers;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Clock;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;

/** Pins one file, once, on one thread. Each step is journalled before it is taken. */
final class SnapshotPinning {
    private static final FilePath SELF = FilePath.of("");
    private static final FilePath FILE = FilePath.of(Pin.SNAPSHOT_FILE);

    private static final long POLL_NANOS = 2_000_000;

    /** How long it waits for a moment at which nobody has the file open. */
    private static final long LEASE_NANOS = 200_000_000;

    /** How long undoing waits for programs that have the file open only for a moment. */
    private static final long UNDO_NANOS = 100_000_000;

    private final Eligibility eligibility;
    private final Clock clock;
    private final PinRequest request;
    private final PinJournal journal;

    SnapshotPinning(Eligibility eligibility, Clock clock, PinRequest request, PinJournal journal) {
        this.eligibility = eligibility;
        this.clock = clock;
        this.request = request;
        this.journal = journal;
    }

    Pin pin() throws IOException {
        try (Place place = Place.open(request.target())) {
            Layout layout = eligibility.check(place);
            if (layout.most() > request.room()) {
                throw Eligibility.noRoom(request.target(), layout, request.room());
            }
            return pin(place, layout);
        } catch (LinuxException e) {
            throw new RefusedException(Cause.ERROR, request.target() + ": " + e.getMessage(), e);
        }
    }

    private Pin pin(Place place, Layout layout) throws IOException {
        Pin pin = journalled(preparing(place, layout));
        boolean undo = true;
        try (Fd pool = At.openDirectory(Fd.CWD, request.pool());
                LeaseSet leases = new LeaseSet(request.target().path());
                Fd file = open(place)) {
            try (Fd store = Store.make(pool, layout)) {
                long first = layout.device() ? 0 : fileSystem(layout, store);
                if (layout.whole() > 0) {
                    pin = journalled(pin.with(Pin.SNAPSHOT_FIRST, Long.toString(first)));
                }
                Devices.make(pin, layout, store, file, first, place.parent());
            }
            checkSound(pin);
            Pinned.attach(pin, pool, Pinned.flags(place.parent()));
            Stat stat = layout.device() ? hold(place, layout, file, leases) : null;
            if (stat == null) {
                try (Fd root = At.openDirectory(pool, Labels.HIDDEN);
                        Fd copy = copy(pin, layout, root)) {
                    // All that takes its time, before anybody has to wait.
                    Stat filled = Stat.of(file);
                    fill(copy, layout, file);
                    Io.syncFileSystem(copy);
                    stat = hold(place, layout, file, leases);
                    if (!stat.unchangedSince(filled)) {
                        fill(copy, layout, file);
                    }
                }
            }
            saveBaseline(place, pin, stat);
            Pin mounting = journalled(pin.at(Pin.Step.MOUNTING));
            // From here on it may have to stay.
            undo = false;
            return cover(mounting, place, pool, leases);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOSPC, Errno.ENOMEM) && undo) {
                throw new RefusedException(
                        Cause.NO_ROOM, request.target() + ": " + e.getMessage(), e);
            }
            throw e;
        } finally {
            if (undo) {
                remove(pin.id());
            }
        }
    }

    /** Nothing of it is mounted over anything. */
    private void remove(String id) throws IOException {
        try (Fd pool = At.openDirectory(Fd.CWD, request.pool())) {
            Store.unmount(pool, Labels.HIDDEN);
        }
        Devices.remove(id);
        Store.remove(request.pool());
    }

    private Pin journalled(Pin pin) throws IOException {
        journal.write(pin);
        return pin;
    }

    private Pin preparing(Place place, Layout layout) throws IOException {
        String id = request.id();
        FilePath store = request.pool().resolve(Labels.STORE);
        Pin pin =
                new Pin(
                                id,
                                request.target(),
                                SnapshotStrategy.NAME,
                                SnapshotStrategy.SYNC,
                                layout.device() ? Pin.SNAPSHOT_BLOCK : Pin.SNAPSHOT,
                                Pin.Step.PREPARING,
                                clock.instant(),
                                Map.of())
                        .with(Pin.SNAPSHOT_DEVICE, Labels.device(id))
                        .with(Pin.SNAPSHOT_NODE, store.resolve(Labels.node(id)).raw())
                        .with(Pin.SNAPSHOT_BLOCKS, Long.toString(layout.whole()))
                        .with(Pin.BASELINE, request.pool().resolve(Labels.BASELINE).raw())
                        .with(Pin.FILE_INODE, Long.toUnsignedString(place.stat().inode()))
                        .with(Pin.RESERVED, Long.toString(layout.most()))
                        .with(Pin.RESERVED_AT, store.raw());
        if (layout.device()) {
            pin = pin.with(Pin.FILE_SIZE, Long.toString(layout.size()));
        }
        if (layout.whole() > 0) {
            pin =
                    pin.with(Pin.SNAPSHOT_ORIGIN, Labels.snapshot(id))
                            .with(Pin.SNAPSHOT_STORE, store.resolve(Labels.CHANGES).raw());
            if (layout.split()) {
                pin = pin.with(Pin.SNAPSHOT_SPLIT, Labels.split(id));
            }
        }
        return LowerDirectory.identified(pin, place.parent());
    }

    /** Makes the file system; returns the block at which the file begins. */
    private long fileSystem(Layout layout, Fd store) throws IOException {
        FilePath path = request.pool().resolve(Labels.STORE);
        Path mke2fs =
                FileSystemMaker.mke2fs()
                        .orElseThrow(
                                () ->
                                        new RefusedException(
                                                Cause.UNSUPPORTED, SnapshotStrategy.NO_MKE2FS));
        try {
            FileSystemMaker.make(
                    layout,
                    path.resolve(Labels.GROWTH),
                    path.resolve(Labels.CONFIGURATION),
                    mke2fs);
            try (Fd image = At.open(store, Labels.GROWTH, At.O_RDONLY | At.O_NOFOLLOW, 0)) {
                return layout.whole() == 0 ? 0 : FileSystemMaker.firstBlock(image);
            }
        } catch (RefusedException e) {
            throw e;
        } catch (IOException e) {
            throw new RefusedException(
                    Cause.ERROR,
                    "cannot make the file system for " + request.target() + ": " + e.getMessage(),
                    e);
        }
    }

    /** The loop device and the lease have the same open file: any other one is in the way. */
    private Fd open(Place place) throws IOException {
        try {
            Fd file =
                    At.open(
                            place.parent(),
                            place.name(),
                            At.O_RDONLY | At.O_NOFOLLOW | At.O_NOATIME | At.O_NONBLOCK,
                            0);
            if (Stat.of(file).sameFile(place.stat())) {
                return file;
            }
            file.close();
        } catch (LinuxException e) {
            if (e.is(Errno.EAGAIN)) {
                throw new RefusedException(
                        Cause.IN_USE, request.target() + " is leased by a program", e);
            }
            if (!e.is(Errno.ENOENT, Errno.ELOOP, Errno.ENXIO)) {
                throw e;
            }
        }
        throw changed();
    }

    /**
     * Waits for a moment at which nobody has the file open, and keeps others from opening it.
     *
     * @return what it is like from then on
     */
    private Stat hold(Place place, Layout layout, Fd file, LeaseSet leases) throws IOException {
        Stat stat = leases.hold(file, SELF, place.stat(), LEASE_NANOS);
        if (stat.size() != layout.size() || stat.links() != 1) {
            throw changed();
        }
        return stat;
    }

    private RefusedException changed() {
        return new RefusedException(
                Cause.CHANGED, request.target() + " changed while it was being pinned");
    }

    /** The file in the file system. */
    private Fd copy(Pin pin, Layout layout, Fd root) throws IOException {
        int flags = layout.whole() == 0 ? At.O_CREAT | At.O_EXCL : 0;
        Fd copy = At.open(root, FILE, At.O_RDWR | At.O_NOFOLLOW | flags, 0600);
        boolean good = false;
        try {
            if (layout.whole() > 0) {
                checkExtents(copy, layout, Long.parseLong(pin.attribute(Pin.SNAPSHOT_FIRST)));
            }
            good = true;
            return copy;
        } finally {
            if (!good) {
                copy.close();
            }
        }
    }

    /** Makes it exactly like the one on disk. */
    private static void fill(Fd copy, Layout layout, Fd file) throws IOException {
        long whole = layout.whole() * Layout.BLOCK;
        ByteBuffer rest = ByteBuffer.allocateDirect(Layout.BLOCK);
        rest.limit((int) (layout.size() - whole));
        if (rest.hasRemaining()) {
            Io.readFully(file, rest, whole);
            rest.flip();
            Io.writeFully(copy, rest, whole);
        }
        Io.truncate(copy, layout.size());
        CopiedAttributes.give(file, copy);
    }

    /** What the file system says of the file is what counts. */
    private void checkExtents(Fd copy, Layout layout, long first) throws IOException {
        long next = 0;
        for (Extents.Extent e : Extents.of(copy)) {
            if (e.logical() != next
                    || e.physical() != first * Layout.BLOCK + e.logical()
                    || !e.plain()) {
                throw notInOnePiece();
            }
            next = e.logical() + e.length();
        }
        if (next != layout.file() * Layout.BLOCK) {
            throw notInOnePiece();
        }
    }

    private RefusedException notInOnePiece() {
        return new RefusedException(
                Cause.UNSUPPORTED,
                request.target() + ": mke2fs did not make its file in one piece");
    }

    /** Of the one name; that the file is as it was then is looked at under its lease. */
    private static void saveBaseline(Place place, Pin pin, Stat stat) throws IOException {
        Stat parent = Stat.of(place.parent());
        Baseline baseline = new Baseline();
        baseline.directory(parent);
        baseline.name(parent.inode(), place.name(), stat);
        baseline.save(pin.path(Pin.BASELINE));
    }

    private void checkSound(Pin pin) throws IOException {
        String name = pin.attributes().get(Pin.SNAPSHOT_ORIGIN);
        if (name == null) {
            return;
        }
        try (DeviceMapper dm = DeviceMapper.open()) {
            String status = dm.status(name).get(0).parameters();
            if (!status.matches("\\d+/\\d+ \\d+")) {
                throw new RefusedException(
                        Cause.ERROR, request.target() + ": the snapshot is " + status);
            }
        }
    }

    private Pin cover(Pin mounting, Place place, Fd pool, LeaseSet leases) throws IOException {
        Pin pin = mounting;
        try {
            Pinned.bind(pool, place.self());
            checkNotBypassed(leases);
            pin = pin.with(Pin.MOUNT, Integer.toString(seen(pin).id()));
            lookAgain(place, pin, leases);
            Stragglers.of(request.target().path()).await(() -> checkNotBypassed(leases));
            return journalled(pin.at(Pin.Step.PINNED));
        } catch (IOException e) {
            return undoOrKeep(pin, e);
        }
    }

    private void checkNotBypassed(LeaseSet leases) throws IOException {
        if (leases.wanted() != null) {
            throw new RefusedException(
                    Cause.IN_USE, request.target() + " was opened while it was being pinned");
        }
    }

    private MountInfo seen(Pin pin) throws IOException {
        FilePath path = request.target().path();
        try (Fd parent = At.openNoLinks(path.parent(), At.O_PATH | At.O_DIRECTORY)) {
            long id = Stat.at(parent, path.name()).mount();
            Optional<MountInfo> mount = MountInfo.byId(id);
            if (mount.isPresent() && mount.get().pin().equals(Optional.of(pin.id()))) {
                return mount.get();
            }
        } catch (LinuxException e) {
            if (!e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                throw e;
            }
        }
        throw new RefusedException(
                Cause.REPLACED,
                request.target() + " was moved or replaced while it was being pinned");
    }

    /** Of the mount over the target. */
    private static String source(Pin pin) {
        return Pinned.isDevice(pin)
                ? Labels.node(pin.id()).raw()
                : pin.path(Pin.SNAPSHOT_NODE).raw();
    }

    private void lookAgain(Place place, Pin pin, LeaseSet leases) throws IOException {
        Optional<String> open = Exposure.now().uncovered(place, source(pin));
        if (open.isPresent()) {
            throw new RefusedException(
                    Cause.MOUNT_POINT,
                    request.target() + " can be reached past the mount over it: " + open.get());
        }
        if (leases.changed() != null) {
            throw new RefusedException(
                    Cause.CHANGED, request.target() + " changed while it was being pinned");
        }
        List<Processes.Holder> holders = Processes.using(place.stat(), false, 1);
        if (!holders.isEmpty()) {
            throw new RefusedException(
                    Cause.IN_USE, request.target() + " is in use by " + holders.get(0));
        }
        try (Fd parent = At.reopen(place.parent(), At.O_RDONLY | At.O_DIRECTORY)) {
            SingleFile.checkSiblings(place, parent);
        }
    }

    /**
     * Takes it away again, as long as no program has it open, and throws the reason.
     *
     * @return the pin, if it is in use, or was written to: then it must stay
     */
    private Pin undoOrKeep(Pin pin, IOException because) throws IOException {
        try {
            if (unmounted(pin)) {
                if (untouched(pin)) {
                    remove(pin.id());
                    throw because;
                }
                Pinned.bindAgain(pin);
            }
            MountInfo mount =
                    Pinned.over(pin).orElseThrow(() -> new IOException("its mount is gone"));
            return journalled(
                    pin.with(Pin.MOUNT, Integer.toString(mount.id()))
                            .with(Pin.BYPASSED, "")
                            .at(Pin.Step.PINNED));
        } catch (IOException e) {
            if (e == because) {
                throw e;
            }
            e.addSuppressed(because);
            throw new IOException(
                    "the pin of "
                            + request.target()
                            + " is neither done nor undone: "
                            + e.getMessage(),
                    e);
        }
    }

    private static boolean unmounted(Pin pin) throws IOException {
        long start = System.nanoTime();
        while (true) {
            Optional<MountInfo> over = Pinned.over(pin);
            if (over.isEmpty()) {
                return true;
            }
            try {
                Pinned.unmount(pin, over.get());
            } catch (BusyException e) {
                if (System.nanoTime() - start > UNDO_NANOS) {
                    return false;
                }
                LockSupport.parkNanos(POLL_NANOS);
            }
        }
    }

    /** Whether the file in RAM still has the data and attributes of the one on disk. */
    private boolean untouched(Pin pin) throws IOException {
        if (Pinned.isDevice(pin)) {
            try (DeviceMapper dm = DeviceMapper.open()) {
                String[] status =
                        dm.status(pin.attribute(Pin.SNAPSHOT_ORIGIN))
                                .get(0)
                                .parameters()
                                .split("[/ ]");
                return status[0].equals(status[2]);
            }
        }
        try (Fd root = Pinned.mount(pin, Mounts.MS_NOATIME | Mounts.MS_NODEV)) {
            Stat now = Stat.at(root, FILE);
            Stat disk = new DiskFile(pin).stat();
            return now.size() == disk.size()
                    && now.modifySeconds() == disk.modifySeconds()
                    && now.modifyNanos() == disk.modifyNanos()
                    && now.permissions() == disk.permissions()
                    && now.uid() == disk.uid()
                    && now.gid() == disk.gid();
        }
    }
}
