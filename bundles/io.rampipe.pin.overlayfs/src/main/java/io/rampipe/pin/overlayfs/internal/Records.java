package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy.PinRequest;
import io.rampipe.api.Target;
import io.rampipe.linux.Fd;
import io.rampipe.pin.LowerDirectory;
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
                        .with(Pin.WORK, pool.resolve(PoolDirectory.WORK).raw());
        if (target.kind() == Target.Kind.DIRECTORY) {
            pin = pin.with(Pin.MASK, pool.resolve(PoolDirectory.MASK).raw());
        }
        return LowerDirectory.identified(pin, lower);
    }
}
