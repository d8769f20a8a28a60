package io.rampipe.sync.merge.internal;

import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LoopDevice;
import io.rampipe.pin.BlockSnapshot;
import java.io.IOException;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * One merge: the kernel writes all that is in the store to the file on disk ({@code
 * Documentation/admin-guide/device-mapper/snapshot.rst}). Afterwards there is a snapshot again,
 * with an empty store. One thread, once, while programs are held.
 */
final class Merge {
    /** Sectors taken, of how many, and those of the store's tables. */
    private static final Pattern STATUS = Pattern.compile("(\\d+)/\\d+ (\\d+)");

    /** The kernel tells nobody when a merge ends: it has to be asked. */
    private static final long PAUSE_NANOS = 2_000_000;

    private static final long MOST_PAUSE_NANOS = 50_000_000;

    private final BlockSnapshot snapshot;
    private final Steps steps;

    Merge(BlockSnapshot snapshot, Steps steps) {
        this.snapshot = snapshot;
        this.steps = steps;
    }

    /** Sectors of data in the store; -1 if the snapshot is not valid any more. */
    static long stored(String status) {
        Matcher m = STATUS.matcher(status);
        return m.matches() ? Long.parseLong(m.group(1)) - Long.parseLong(m.group(2)) : -1;
    }

    /**
     * Returns with the file on disk durable.
     *
     * @param back device that the snapshot reads the file from afterwards
     */
    void run(long back) throws IOException {
        check();
        try (Fd file = snapshot.file(At.O_RDWR);
                LoopDevice origin = snapshot.loop(file, false)) {
            IOException failed = null;
            try {
                merge(file, origin);
            } catch (IOException e) {
                failed = e;
            }
            try {
                putBack(back);
            } catch (IOException e) {
                if (failed != null) {
                    e.addSuppressed(failed);
                }
                throw e;
            }
            if (failed != null) {
                throw failed;
            }
        }
        check();
    }

    private void merge(Fd file, LoopDevice origin) throws IOException {
        steps.before("suspend the snapshot");
        snapshot.suspend();
        steps.before("load the merge");
        snapshot.loadMerge(origin.device());
        steps.before("begin the merge");
        snapshot.resume();
        steps.before("wait for the merge");
        await();
        steps.before("fsync the merged file");
        Io.sync(file);
    }

    private void putBack(long back) throws IOException {
        steps.before("suspend the merge");
        snapshot.suspend();
        steps.before("load the snapshot");
        snapshot.loadSnapshot(back);
        steps.before("put the snapshot back");
        snapshot.resume();
    }

    private void await() throws IOException {
        long pause = PAUSE_NANOS;
        while (check() > 0) {
            LockSupport.parkNanos(pause);
            pause = Math.min(2 * pause, MOST_PAUSE_NANOS);
        }
    }

    private long check() throws IOException {
        String status = snapshot.status();
        long stored = stored(status);
        if (stored < 0) {
            throw new IOException(
                    "the kernel cannot merge "
                            + snapshot.pin().target()
                            + " ("
                            + status
                            + "; dmesg may have the reason): all of it is in a redo log, and is"
                            + " tried again");
        }
        return stored;
    }
}
