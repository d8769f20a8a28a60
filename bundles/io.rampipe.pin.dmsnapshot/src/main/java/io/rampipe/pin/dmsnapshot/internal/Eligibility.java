package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
import io.rampipe.api.Units;
import io.rampipe.pin.Exposure;
import io.rampipe.pin.FileSystems;
import io.rampipe.pin.Place;
import io.rampipe.pin.SingleFile;
import java.io.IOException;

/**
 * Which files may be pinned. Changes nothing.
 *
 * @param minimum bytes below which it is not worth it
 * @param growth bytes that a file may grow
 */
record Eligibility(long minimum, long growth) {
    /** Checked with mke2fs and the kernel up to this size. */
    private static final long MOST = 1L << 40;

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
        new FileSystems(false, false).check(target.path(), place.mount());
        Exposure.now().check(place);
        SingleFile.checkAlone(place);
        return Layout.of(size, growth);
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
