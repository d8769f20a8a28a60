package io.rampipe.sync.merge.internal;

import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Guard;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.LoopDevice;
import io.rampipe.linux.Stat;
import io.rampipe.pin.BlockSnapshot;
import java.io.IOException;

/**
 * Keeps programs waiting that use a pin's device, while what is under it is merged: it is
 * suspended. If the daemon dies meanwhile, the snapshot is put back first, and then they go on: as
 * long as the merge is in force, what they wrote would get to the file on disk. One thread.
 */
final class Hold implements AutoCloseable {
    /** Keeps the loop device that it needs. */
    private static final String BEFORE = "exec 3<\"$1\" || exit;";

    /**
     * A table that is loaded already has to go first: the kernel takes no second snapshot with the
     * same origin and store ({@code drivers/md/dm-snap.c}, __validate_exception_handover).
     */
    private static final String AFTER =
            "dmsetup suspend --noudevsync --nolockfs --noflush \"$3\""
                    + " && dmsetup clear --noudevsync \"$3\""
                    + " && dmsetup load \"$3\" --table \"$4\""
                    + " && dmsetup resume --noudevsync \"$3\""
                    + " && dmsetup resume --noudevsync \"$2\"";

    private final Pin pin;
    private final String device;
    private final LoopDevice origin;
    private final Guard guard;
    private boolean held;

    /** Nobody waits yet. */
    Hold(BlockSnapshot snapshot) throws IOException {
        pin = snapshot.pin();
        device = pin.attribute(Pin.SNAPSHOT_DEVICE);
        try (Fd file = snapshot.file(At.O_RDONLY)) {
            origin = snapshot.loop(file, true);
        }
        boolean done = false;
        try {
            guard =
                    Guard.start(
                            BEFORE,
                            AFTER,
                            Guard.path(origin.fd()),
                            device,
                            snapshot.name(),
                            "0 "
                                    + snapshot.length()
                                    + " snapshot "
                                    + Stat.deviceText(origin.device())
                                    + " "
                                    + Stat.deviceText(snapshot.store())
                                    + " P "
                                    + BlockSnapshot.CHUNK);
            done = true;
        } finally {
            if (!done) {
                origin.close();
            }
        }
    }

    /** Where the snapshot that is put back reads what it has not itself. */
    long origin() {
        return origin.device();
    }

    void take() throws IOException {
        try (DeviceMapper dm = DeviceMapper.open()) {
            dm.suspend(device, false);
        }
        held = true;
    }

    /**
     * Lets programs go on, if the snapshot is there again. Else they wait: what they write would
     * get past the redo log. The guard stays, for if the daemon dies before {@link #letGo}
     * succeeds.
     */
    @Override
    public void close() throws IOException {
        if (held) {
            letGo(pin);
            held = false;
        }
        guard.close();
        origin.close();
    }

    /** Puts back the snapshot of a pin whose merge was cut short, and lets programs go on. */
    static void letGo(Pin pin) throws IOException {
        BlockSnapshot.goOn(pin);
        String device = pin.attribute(Pin.SNAPSHOT_DEVICE);
        try (DeviceMapper dm = DeviceMapper.open()) {
            if (dm.find(device).filter(DeviceMapper.Device::suspended).isPresent()) {
                dm.resume(device);
            }
        } catch (LinuxException e) {
            // Without device-mapper there are no devices.
            if (!e.is(Errno.ENODEV)) {
                throw e;
            }
        }
    }
}
