package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.DeviceMapper.Part;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.LoopDevice;
import io.rampipe.linux.SplitStore;
import io.rampipe.linux.Stat;
import io.rampipe.linux.StatFs;
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
     * @param directory of the file on disk
     */
    static void make(Pin pin, Layout layout, Fd store, Fd file, long first, Fd directory)
            throws IOException {
        String id = pin.id();
        String name = Labels.device(id);
        if (layout.device()) {
            try (DeviceMapper dm = DeviceMapper.open()) {
                long snapshot =
                        snapshot(dm, Labels.snapshot(id), pin, layout, store, file, directory);
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
                long snapshot =
                        snapshot(dm, Labels.snapshot(id), pin, layout, store, file, directory);
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

    private static long snapshot(
            DeviceMapper dm, String name, Pin pin, Layout layout, Fd store, Fd file, Fd directory)
            throws IOException {
        long bytes = layout.device() ? layout.size() : layout.whole() * Layout.BLOCK;
        FilePath file0 = layout.split() ? Labels.FIRST_CHANGES : Labels.CHANGES;
        try (Fd changes = openStored(store, file0);
                LoopDevice origin = LoopDevice.attach(file, bytes, true, name, store);
                LoopDevice cow = LoopDevice.attach(changes, 0, false, name, store)) {
            long device = dm.create(name, Labels.uuid(name));
            if (layout.split()) {
                split(dm, pin, layout, store, cow, directory);
            }
            long changed =
                    layout.split()
                            ? dm.find(Labels.split(pin.id()) + 0).orElseThrow().number()
                            : cow.device();
            dm.load(
                    name,
                    List.of(
                            Part.snapshot(
                                    bytes / DeviceMapper.SECTOR,
                                    origin.device(),
                                    changed,
                                    SECTORS)));
            dm.resume(name);
            return device;
        }
    }

    /**
     * Adds a part on disk to the part in RAM. It is a file without a name, so that nothing has to
     * be removed; its room is taken now, and it is worth nothing without the part in RAM.
     */
    private static void split(
            DeviceMapper dm, Pin pin, Layout layout, Fd store, LoopDevice ram, Fd directory)
            throws IOException {
        try (Fd disk = reserve(pin, layout, directory);
                LoopDevice rest =
                        LoopDevice.attach(disk, 0, false, Labels.device(pin.id()), store)) {
            String name = Labels.split(pin.id()) + 0;
            SplitStore made =
                    SplitStore.make(
                            dm,
                            name,
                            Labels.uuid(name),
                            ram.device(),
                            layout.ram() * SECTORS,
                            rest.device(),
                            layout.store() * SECTORS);
            At.mknod(store, Labels.CHANGES, Stat.BLOCK | 0600, made.device());
        }
    }

    private static Fd reserve(Pin pin, Layout layout, Fd directory) throws IOException {
        Fd disk = null;
        boolean done = false;
        try (Fd parent = At.reopen(directory, At.O_RDONLY | At.O_DIRECTORY)) {
            long type = StatFs.of(parent).type();
            if (type != StatFs.EXT && type != StatFs.XFS) {
                // Others write what is written again to another place, and need more room then.
                throw Eligibility.noReserve(
                        pin.target(), layout, "only on ext4 and xfs room for it is certain");
            }
            disk = At.open(parent, FilePath.of("."), At.O_TMPFILE | At.O_RDWR, 0600);
            Io.allocate(disk, 0, layout.disk());
            done = true;
            return disk;
        } catch (LinuxException e) {
            throw Eligibility.noReserve(pin.target(), layout, e.getMessage());
        } finally {
            if (disk != null && !done) {
                disk.close();
            }
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

    /** Removes them. Idempotent. EBUSY if they are in use. */
    static void remove(String id) throws LinuxException {
        try (DeviceMapper dm = DeviceMapper.open()) {
            dm.remove(Labels.device(id));
            dm.remove(Labels.snapshot(id));
            dm.remove(Labels.split(id) + 0);
            dm.remove(Labels.split(id) + 1);
        } catch (LinuxException e) {
            // Without device-mapper there are no devices.
            if (!e.is(Errno.ENOENT, Errno.ENODEV)) {
                throw e;
            }
        }
    }
}
