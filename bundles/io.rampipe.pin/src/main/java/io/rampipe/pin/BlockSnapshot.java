package io.rampipe.pin;

import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.DeviceMapper.Device;
import io.rampipe.linux.DeviceMapper.Part;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.LoopDevice;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.List;
import java.util.Optional;

/**
 * The snapshot under the device that programs see of a pin of format {@link Pin#SNAPSHOT_BLOCK}. It
 * can be exchanged for the kernel's merge of it and back, while the device above is suspended.
 *
 * <p>Each exchange is to an origin that is another loop device on the same file. So the kernel
 * hands nothing over from one to the other, but reads the store anew ({@code drivers/md/dm-snap.c},
 * register_snapshot), which is complete because the snapshot is suspended meanwhile. One thread.
 */
public final class BlockSnapshot implements AutoCloseable {
    /** Sectors in a chunk. */
    public static final int CHUNK = 8;

    private final Pin pin;
    private final DeviceMapper dm;

    private BlockSnapshot(Pin pin, DeviceMapper dm) {
        this.pin = pin;
        this.dm = dm;
    }

    /** Whether the pin has such a one. Earlier versions had none. */
    public static boolean isUnder(Pin pin) {
        String name = pin.attributes().get(Pin.SNAPSHOT_ORIGIN);
        return pin.format().equals(Pin.SNAPSHOT_BLOCK)
                && name != null
                && !name.equals(pin.attribute(Pin.SNAPSHOT_DEVICE));
    }

    public static BlockSnapshot of(Pin pin) throws LinuxException {
        return new BlockSnapshot(pin, DeviceMapper.open());
    }

    /**
     * Ends a merge that a dead daemon has left in the middle: what was merged is read from disk,
     * the rest from the store, as it was before. Nothing if there is none. To be called before the
     * device above is resumed: what programs wrote would get to the file on disk past every redo
     * log.
     */
    public static void goOn(Pin pin) throws IOException {
        if (!isUnder(pin)) {
            return;
        }
        try (BlockSnapshot snapshot = of(pin)) {
            if (snapshot.interrupted()) {
                try (Fd file = snapshot.file(At.O_RDONLY);
                        LoopDevice origin = snapshot.loop(file, true)) {
                    snapshot.suspend();
                    snapshot.loadSnapshot(origin.device());
                    snapshot.resume();
                }
            }
        } catch (LinuxException e) {
            // Without device-mapper there are no devices.
            if (!e.is(Errno.ENODEV)) {
                throw e;
            }
        }
    }

    private boolean interrupted() throws IOException {
        Optional<Device> device = dm.find(name());
        if (device.isEmpty()) {
            return false;
        }
        List<Part> table = dm.table(name());
        return !table.isEmpty()
                && (device.get().suspended()
                        || device.get().loaded()
                        || table.get(0).type().equals(DeviceMapper.MERGE));
    }

    public Pin pin() {
        return pin;
    }

    public String name() {
        return pin.attribute(Pin.SNAPSHOT_ORIGIN);
    }

    /** What the kernel says of it. */
    public String status() throws LinuxException {
        return dm.status(name()).get(0).parameters();
    }

    /** Sectors. */
    public long length() {
        return Long.parseLong(pin.attribute(Pin.FILE_SIZE)) / DeviceMapper.SECTOR;
    }

    /** The device that has its changes, in the form of {@link Stat#deviceNumber}. */
    public long store() throws IOException {
        String[] number = dm.table(name()).get(0).parameters().split(" ")[1].split(":");
        return Stat.device(Long.parseLong(number[0]), Long.parseLong(number[1]));
    }

    /** The file on disk, whatever is mounted over it. */
    public Fd file(int flags) throws IOException {
        try (Fd lower = LowerDirectory.open(pin);
                Fd uncovered = Mounts.cloneTree(lower)) {
            Fd file =
                    At.openBeneathSameMount(
                            uncovered,
                            pin.target().path().name(),
                            flags | At.O_NOFOLLOW | At.O_NONBLOCK | At.O_NOATIME,
                            0);
            Stat stat = Stat.of(file);
            if (stat.isRegular()
                    && Long.toUnsignedString(stat.inode()).equals(pin.attribute(Pin.FILE_INODE))) {
                return file;
            }
            file.close();
            throw new IOException(pin.target() + " was replaced on disk by others");
        }
    }

    /** A loop device on the file. */
    public LoopDevice loop(Fd file, boolean readOnly) throws IOException {
        try (Fd store =
                At.openNoLinks(
                        pin.path(Pin.SNAPSHOT_STORE).parent(), At.O_RDONLY | At.O_DIRECTORY)) {
            return LoopDevice.attach(
                    file,
                    length() * DeviceMapper.SECTOR,
                    readOnly,
                    pin.attribute(Pin.SNAPSHOT_DEVICE),
                    store);
        }
    }

    public void suspend() throws LinuxException {
        dm.suspend(name(), false);
    }

    public void loadSnapshot(long origin) throws IOException {
        dm.load(name(), List.of(Part.snapshot(length(), origin, store(), CHUNK)));
    }

    public void loadMerge(long origin) throws IOException {
        dm.load(name(), List.of(Part.merge(length(), origin, store(), CHUNK)));
    }

    /** With what was loaded last. */
    public void resume() throws LinuxException {
        dm.resume(name());
    }

    @Override
    public void close() {
        dm.close();
    }
}
