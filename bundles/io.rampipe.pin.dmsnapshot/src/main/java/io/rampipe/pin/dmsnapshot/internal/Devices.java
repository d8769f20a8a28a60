package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.DeviceMapper.Part;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.LoopDevice;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/**
 * The devices of a pin: what is not the file on disk is in a sparse file in RAM, and in the middle
 * of that is the snapshot. The snapshot is a device of its own, because its target takes the sector
 * numbers of the device that it is in ({@code drivers/md/dm-snap.c}, snapshot_map).
 *
 * <p>Loop devices clear themselves, so that nothing but the two devices has to be removed.
 */
final class Devices {
    private static final int SECTORS = Layout.SECTORS;

    private Devices() {}

    /**
     * Makes them, and the node.
     *
     * @param store the pin's own file system in RAM
     * @param file on disk, open for reading
     * @param first block of the file system at which the file begins
     */
    static void make(Pin pin, Layout layout, Fd store, Fd file, long first) throws IOException {
        String id = pin.id();
        String name = Labels.device(id);
        if (layout.device()) {
            try (DeviceMapper dm = DeviceMapper.open()) {
                long snapshot = snapshot(dm, Labels.snapshot(id), layout, store, file);
                long device = dm.create(name, Labels.uuid(name));
                // One of its own, which can be held while the snapshot is merged.
                long length = layout.size() / DeviceMapper.SECTOR;
                dm.load(name, List.of(Part.linear(0, length, snapshot, 0)));
                dm.resume(name);
                At.mknod(store, Labels.node(id), Stat.BLOCK | 0600, device);
            }
            return;
        }
        try (DeviceMapper dm = DeviceMapper.open();
                Fd growth = openStored(store, Labels.GROWTH);
                LoopDevice ram = LoopDevice.attach(growth, 0, false, name, store)) {
            List<Part> parts = new ArrayList<>();
            long end = first + layout.whole();
            long all = layout.fileSystem();
            if (layout.whole() == 0) {
                parts.add(Part.linear(0, all * SECTORS, ram.device(), 0));
            } else {
                long snapshot = snapshot(dm, Labels.snapshot(id), layout, store, file);
                parts.add(Part.linear(0, first * SECTORS, ram.device(), 0));
                parts.add(Part.linear(first * SECTORS, layout.whole() * SECTORS, snapshot, 0));
                parts.add(
                        Part.linear(
                                end * SECTORS, (all - end) * SECTORS, ram.device(), end * SECTORS));
            }
            long device = dm.create(name, Labels.uuid(name));
            dm.load(name, parts);
            dm.resume(name);
            At.mknod(store, Labels.node(id), Stat.BLOCK | 0600, device);
        }
    }

    private static long snapshot(DeviceMapper dm, String name, Layout layout, Fd store, Fd file)
            throws IOException {
        long bytes = layout.device() ? layout.size() : layout.whole() * Layout.BLOCK;
        try (Fd changes = openStored(store, Labels.CHANGES);
                LoopDevice origin = LoopDevice.attach(file, bytes, true, name, store);
                LoopDevice cow = LoopDevice.attach(changes, 0, false, name, store)) {
            long device = dm.create(name, Labels.uuid(name));
            dm.load(
                    name,
                    List.of(
                            Part.snapshot(
                                    bytes / DeviceMapper.SECTOR,
                                    origin.device(),
                                    cow.device(),
                                    SECTORS)));
            dm.resume(name);
            return device;
        }
    }

    private static Fd openStored(Fd store, FilePath name) throws LinuxException {
        return At.open(store, name, At.O_RDWR | At.O_NOFOLLOW, 0);
    }

    /** How often the device with the file system is open; 0 if there is none. */
    static int users(String id) throws LinuxException {
        try (DeviceMapper dm = DeviceMapper.open()) {
            return dm.find(Labels.device(id)).map(DeviceMapper.Device::open).orElse(0);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENODEV, Errno.ENXIO)) {
                return 0;
            }
            throw e;
        }
    }

    /** Removes both. Idempotent. EBUSY if they are in use. */
    static void remove(String id) throws LinuxException {
        try (DeviceMapper dm = DeviceMapper.open()) {
            dm.remove(Labels.device(id));
            dm.remove(Labels.snapshot(id));
        } catch (LinuxException e) {
            // Without device-mapper there are no devices.
            if (!e.is(Errno.ENOENT, Errno.ENODEV)) {
                throw e;
            }
        }
    }
}
