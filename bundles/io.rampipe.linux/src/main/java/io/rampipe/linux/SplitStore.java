package io.rampipe.linux;

import io.rampipe.linux.DeviceMapper.Part;
import java.util.List;

/**
 * The store of a snapshot of which the beginning is in RAM and the rest on disk. A snapshot fills
 * its store from the beginning ({@code drivers/md/dm-snap-persistent.c},
 * persistent_prepare_exception), and loses all that is in it when it is full. So the part on disk
 * is there for what comes when the one in RAM is full, whoever writes it how fast: it is as large
 * as the store can ever get.
 *
 * @param device in the form of {@link Stat#deviceNumber}
 * @param ram sectors in RAM
 * @param disk the device that has the rest
 * @param sectors of both
 */
public record SplitStore(long device, long ram, long disk, long sectors) {
    /**
     * Makes the device-mapper device that puts both together.
     *
     * @param ram device of that many sectors in RAM
     * @param disk device of the other ones
     */
    public static SplitStore make(
            DeviceMapper dm,
            String name,
            String uuid,
            long ram,
            long ramSectors,
            long disk,
            long sectors)
            throws LinuxException {
        long device = dm.create(name, uuid);
        dm.load(
                name,
                List.of(
                        Part.linear(0, ramSectors, ram, 0),
                        Part.linear(ramSectors, sectors - ramSectors, disk, 0)));
        dm.resume(name);
        return new SplitStore(device, ramSectors, disk, sectors);
    }

    /** The one that a device is. */
    public static SplitStore of(DeviceMapper dm, String name, long device) throws LinuxException {
        List<Part> parts = dm.table(name);
        return new SplitStore(
                device,
                parts.get(0).length(),
                parts.get(1).device(0),
                parts.get(0).length() + parts.get(1).length());
    }
}
