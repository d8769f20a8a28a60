package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.PathPatterns;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
import io.rampipe.api.Units;
import io.rampipe.linux.At;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.StatFs;
import io.rampipe.pin.Exposure;
import io.rampipe.pin.FileSystems;
import io.rampipe.pin.Place;
import io.rampipe.pin.SingleFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;

/**
 * Which files may be pinned. Changes nothing.
 *
 * @param minimum bytes below which it is not worth it
 * @param growth bytes that a file may grow
 * @param store bytes of RAM that one file's changes may take
 * @param images files that are used as disks
 */
record Eligibility(long minimum, long growth, long store, PathPatterns images) {
    /** What a text is known by. */
    private static final int START = 4096;

    /** Checked with mke2fs and the kernel up to this size. */
    private static final long MOST = 1L << 40;

    /** Without disk images, and with all changes in RAM. */
    Eligibility(long minimum, long growth) {
        this(minimum, growth, Long.MAX_VALUE, new PathPatterns(List.of()));
    }

    /** What it would take. */
    Layout check(Place place) throws IOException {
        Target target = place.target();
        if (target.kind() != Target.Kind.FILE) {
            throw new RefusedException(
                    Cause.UNSUPPORTED, target + " is a directory, and this pins single files");
        }
        long size = place.stat().size();
        if (size < minimum) {
            throw new RefusedException(
                    Cause.UNSUPPORTED,
                    target
                            + " has "
                            + Units.bytes(size)
                            + ": below dmsnapshot.min_size = "
                            + Units.bytes(minimum)
                            + " a copy of the whole file in RAM is better");
        }
        if (size > MOST) {
            throw new RefusedException(
                    Cause.TOO_LARGE, target + " is larger than " + Units.bytes(MOST));
        }
        FileSystems.disks().check(target.path(), place.mount());
        Exposure.now().check(place);
        SingleFile.checkAlone(place);
        if (!images.matches(target.path())) {
            Layout layout = Layout.of(size, growth, store);
            if (layout.split() && StatFs.of(place.parent()).availableBytes() < layout.disk()) {
                throw noReserve(target, layout, "there is not so much room there");
            }
            return layout;
        }
        checkImage(place);
        return Layout.device(size);
    }

    /** A block device consists of sectors, and whoever reads texts expects a file. */
    private static void checkImage(Place place) throws IOException {
        FilePath path = place.target().path();
        long size = place.stat().size();
        if (size == 0 || size % DeviceMapper.SECTOR != 0) {
            throw new RefusedException(
                    Cause.UNSUPPORTED,
                    path
                            + " matches dmsnapshot.block, but is no disk image: its size of "
                            + size
                            + " bytes is no multiple of "
                            + DeviceMapper.SECTOR);
        }
        ByteBuffer start = ByteBuffer.allocateDirect(START);
        try (Fd file = At.reopen(place.self(), At.O_RDONLY | At.O_NOATIME | At.O_NONBLOCK)) {
            Io.readFully(file, start, 0);
        }
        start.flip();
        boolean text = true;
        while (text && start.hasRemaining()) {
            int b = start.get() & 0xff;
            text = b >= ' ' && b != 0x7f || b >= '\b' && b <= '\r' || b == 0x1b;
        }
        if (text) {
            throw new RefusedException(
                    Cause.UNSUPPORTED,
                    path + " matches dmsnapshot.block, but is no disk image: it begins as a text");
        }
    }

    static RefusedException noReserve(Target target, Layout layout, String why) {
        return new RefusedException(
                Cause.NO_ROOM,
                target
                        + " needs "
                        + Units.bytes(layout.disk())
                        + " on its disk set aside, for changes that come faster than they can be"
                        + " written to it: "
                        + why
                        + ". With a larger dmsnapshot.store all of it is set aside in RAM");
    }

    static RefusedException noRoom(Target target, Layout layout, long room) {
        return new RefusedException(
                Cause.NO_ROOM,
                target
                        + " needs "
                        + Units.bytes(layout.most())
                        + " of RAM set aside, so that a rewrite of all of it fits; there is room"
                        + " for "
                        + Units.bytes(Math.max(0, room)));
    }
}
