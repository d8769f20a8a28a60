package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack.Dirty;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.StatFs;
import java.io.IOException;
import java.util.Set;

/**
 * Keeps room on the disk for the last syncback while the mount is still there: a file without
 * content, which goes the moment the last log is begun. Between the two nobody else can take it.
 */
final class Room {
    /** In the staging directory; no log has that sequence number. */
    private static final FilePath RESERVE = FilePath.of("room");

    /** For what programs still write until the mount is gone, where there is so much. */
    private static final long MORE = 16 << 20;

    private Room() {}

    /**
     * @param dirty upper bound of what has changed
     * @return whether there is something to {@link #giveUp}
     * @throws io.rampipe.api.DiskFullException if there is no such room
     */
    static boolean keep(
            Pin pin,
            Disk.Place place,
            UpperLayer upper,
            Memory memory,
            LowerFiles held,
            Dirty dirty,
            Steps steps)
            throws IOException {
        if (dirty.files() == 0) {
            return false;
        }
        long free = free(place);
        long needed = 2 * dirty.bytes() + dirty.files() * Need.EACH;
        if (needed > free / 2) {
            needed = measured(pin, place, upper, memory, held, Math.min(needed, free / 2));
        }
        long more = Math.min(MORE, Math.max(0, (free - needed) / 2));
        try (StagingDirectory staging = new StagingDirectory(place.disk(), pin.id(), steps)) {
            try {
                allocate(staging, needed + more, steps);
                return true;
            } catch (LinuxException e) {
                giveUp(staging);
                if (e.is(Errno.EOPNOTSUPP, Errno.ENOSYS)) {
                    return false;
                }
                if (e.is(Errno.ENOSPC) && needed > free) {
                    throw Trouble.full(pin, place.disk().shown(), needed, free, e);
                }
                throw Trouble.explained(pin, place.disk().shown(), e);
            }
        }
    }

    private static long free(Disk.Place place) throws IOException {
        StatFs room = StatFs.of(place.directory());
        return room.free() * room.blockSize();
    }

    private static long measured(
            Pin pin,
            Disk.Place place,
            UpperLayer upper,
            Memory memory,
            LowerFiles held,
            long otherwise)
            throws IOException {
        try {
            Planner plan = new Planner(place, upper, memory, Drift.of(pin), Set.of(), true);
            plan.look();
            return Need.of(place, plan, held);
        } catch (MovingException e) {
            return otherwise;
        }
    }

    private static void allocate(StagingDirectory staging, long bytes, Steps steps)
            throws IOException {
        steps.before("create the room for the last syncback");
        try (Fd fd =
                At.open(
                        staging.fd(),
                        RESERVE,
                        At.O_RDWR | At.O_CREAT | At.O_TRUNC | At.O_NOFOLLOW,
                        0600)) {
            steps.before("allocate the room for the last syncback");
            Io.allocate(fd, 0, bytes);
        }
    }

    static boolean isReserve(FilePath staged) {
        return staged.equals(RESERVE);
    }

    /** Idempotent. */
    static void giveUp(StagingDirectory staging) throws IOException {
        staging.removeStagedOf(RESERVE.raw());
    }
}
