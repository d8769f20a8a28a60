package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy.PinRequest;
import io.rampipe.api.Target;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.time.Clock;
import java.util.Map;

/** Makes the records of pins. */
final class Records {
    private Records() {}

    /**
     * The record before anything has been done.
     *
     * @param lower the directory that becomes the lower layer, O_PATH will do
     */
    static Pin preparing(PinRequest request, Clock clock, Fd lower) throws IOException {
        return preparing(request.id(), request.target(), request.pool(), clock, lower);
    }

    static Pin preparing(String id, Target target, FilePath pool, Clock clock, Fd lower)
            throws IOException {
        Stat stat = Stat.of(lower);
        Pin pin =
                new Pin(
                                id,
                                target,
                                OverlayStrategy.NAME,
                                OverlayStrategy.SYNC,
                                Pin.OVERLAY,
                                Pin.Step.PREPARING,
                                clock.instant(),
                                Map.of())
                        .with(Pin.UPPER, pool.resolve(PoolDirectory.UPPER).raw())
                        .with(Pin.BASELINE, pool.resolve(PoolDirectory.BASELINE).raw())
                        .with(Pin.WORK, pool.resolve(PoolDirectory.WORK).raw())
                        .with(Pin.LOWER_DEVICE, Stat.deviceText(stat.device()))
                        .with(Pin.LOWER_INODE, Long.toUnsignedString(stat.inode()));
        if (target.kind() == Target.Kind.DIRECTORY) {
            pin = pin.with(Pin.MASK, pool.resolve(PoolDirectory.MASK).raw());
        }
        try {
            return pin.with(Pin.LOWER_HANDLE, FileHandle.of(lower).toString());
        } catch (LinuxException e) {
            if (e.is(Errno.EOPNOTSUPP)) {
                return pin;
            }
            throw e;
        }
    }

    /** Whether this is the lower directory of the record. */
    static boolean isLower(Pin pin, Stat stat) {
        return stat.isDirectory()
                && Stat.deviceText(stat.device()).equals(pin.attribute(Pin.LOWER_DEVICE))
                && Long.toUnsignedString(stat.inode()).equals(pin.attribute(Pin.LOWER_INODE));
    }
}
