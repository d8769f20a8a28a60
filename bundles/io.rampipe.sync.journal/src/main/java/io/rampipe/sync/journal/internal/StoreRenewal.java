package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.DeviceMapper.Part;
import io.rampipe.linux.Extents;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LoopDevice;
import io.rampipe.linux.SplitStore;
import java.io.IOException;
import java.util.BitSet;
import java.util.List;

/**
 * Gives a snapshot a fresh store, and the RAM of the old one back, once the file on disk has all
 * that programs see. One thread, once, while the file system is frozen.
 *
 * <p>The device must not change by that. A block that programs see at its home is the same on disk
 * by now, so that the snapshot may read it from there. All others that are in the store stay in it:
 * they are parts of the file that have been moved, or of the file system.
 *
 * <p>The exchange is one call of the kernel's. Whoever dies before it leaves the old store in force
 * and perhaps the beginnings of a new one; whoever dies after it leaves the old one, which nobody
 * reads any more. The next renewal, and the pin's end, remove either.
 */
final class StoreRenewal {
    /** Of the RAM for the store, what may be in it from the beginning ({@code Layout.KEPT}). */
    private static final int KEPT = 8;

    private static final int SECTORS = SnapshotView.BLOCK / DeviceMapper.SECTOR;

    private final Pin pin;
    private final SnapshotView view;
    private final Steps steps;

    StoreRenewal(Pin pin, SnapshotView view, Steps steps) {
        this.pin = pin;
        this.view = view;
        this.steps = steps;
    }

    /** Returns whether it was done; not if too much would have to be kept. */
    boolean run() throws IOException {
        FilePath store = pin.path(Pin.SNAPSHOT_STORE);
        try (DeviceMapper dm = DeviceMapper.open();
                Fd directory = At.open(store.parent(), At.O_RDONLY | At.O_DIRECTORY)) {
            SplitStore old = SnapshotView.split(pin, dm);
            int other =
                    dm.find(device(0)).map(d -> d.number() == old.device()).orElse(false) ? 1 : 0;
            try (Fd current = view.openStore()) {
                BitSet kept = kept(ExceptionTable.read(current, view.blocks()));
                if (kept.cardinality() > old.ram() / SECTORS / KEPT) {
                    return false;
                }
                steps.before("make a fresh store");
                remove(dm, directory, other);
                fill(directory, other, old, current, kept);
            }
            make(dm, directory, other, old);
            steps.before("hide the store's node");
            SnapshotView.removeNode(directory, store.name());
            steps.before("exchange the store");
            dm.resume(pin.attribute(Pin.SNAPSHOT_ORIGIN));
            steps.before("remove the old store");
            view.showStore();
            dm.remove(device(1 - other));
            SnapshotView.removeNode(directory, file(1 - other));
            view.stored();
            return true;
        }
    }

    private String device(int which) {
        return pin.attribute(Pin.SNAPSHOT_SPLIT) + which;
    }

    private FilePath file(int which) {
        return FilePath.ofRaw(pin.path(Pin.SNAPSHOT_STORE).name().raw() + which);
    }

    /**
     * Leaves those blocks of the snapshot that cannot be read from the file on disk.
     *
     * @param kept what is in the store
     */
    private BitSet kept(BitSet kept) throws IOException {
        long whole = view.size() / SnapshotView.BLOCK;
        for (Extents.Extent e : view.extents()) {
            long from = e.logical() / SnapshotView.BLOCK;
            long to = Math.min(whole, from + e.length() / SnapshotView.BLOCK);
            long physical = e.physical() / SnapshotView.BLOCK;
            for (long b = from; b < to; b++, physical++) {
                if (view.isSnapshot(physical) && view.home(physical) == b && !e.unwritten()) {
                    kept.clear((int) b);
                }
            }
        }
        return kept;
    }

    /** What a daemon that died in the middle of it has left. */
    private void remove(DeviceMapper dm, Fd directory, int which) throws IOException {
        dm.clear(pin.attribute(Pin.SNAPSHOT_ORIGIN));
        dm.remove(device(which));
        SnapshotView.removeNode(directory, file(which));
    }

    private void fill(Fd directory, int which, SplitStore old, Fd current, BitSet kept)
            throws IOException {
        try (Fd fresh =
                At.open(
                        directory,
                        file(which),
                        At.O_RDWR | At.O_CREAT | At.O_EXCL | At.O_NOFOLLOW,
                        0600)) {
            Io.truncate(fresh, old.ram() * DeviceMapper.SECTOR);
            if (!kept.isEmpty()) {
                ExceptionTable.begin(fresh, current, kept, view.blocks());
            }
        }
    }

    private void make(DeviceMapper dm, Fd directory, int which, SplitStore old) throws IOException {
        String snapshot = pin.attribute(Pin.SNAPSHOT_ORIGIN);
        steps.before("make the fresh store's device");
        try (Fd fresh = At.open(directory, file(which), At.O_RDWR | At.O_NOFOLLOW, 0);
                LoopDevice ram =
                        LoopDevice.attach(
                                fresh, 0, false, pin.attribute(Pin.SNAPSHOT_DEVICE), directory)) {
            SplitStore made =
                    SplitStore.make(
                            dm,
                            device(which),
                            "RAMPIPE-" + device(which),
                            ram.device(),
                            old.ram(),
                            old.disk(),
                            old.sectors());
            steps.before("load the fresh store");
            Part now = dm.table(snapshot).get(0);
            dm.load(
                    snapshot,
                    List.of(Part.snapshot(now.length(), now.device(0), made.device(), SECTORS)));
        }
    }
}
