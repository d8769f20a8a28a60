package io.rampipe.sync.journal.internal;

import io.rampipe.api.SyncBack.Dirty;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;

/** What is remembered of one pin, to be faster. Guarded by its lock. */
final class SnapshotState {
    /**
     * Change times of ext4 are those of the last timer interrupt (10 ms at most): what changed just
     * now may change again and look the same.
     */
    private static final long COARSE_NANOS = 20_000_000;

    final ReentrantLock lock = new ReentrantLock();
    final KnownBlocks known = new KnownBlocks();

    /** Another daemon may have died with the file system frozen. */
    boolean fresh = true;

    /** Version that is on disk; null if that is not known. */
    String synced;

    /** Version of which a copy is kept beside what others have changed; null if none. */
    String keptBeside;

    /** When the last checkpoint began, epoch milliseconds; 0 if that is not known. */
    long moment;

    long sequence;

    /** The last syncback, while it holds the file system. */
    SnapshotView last;

    volatile Dirty dirty = new Dirty(0, 0, 0);

    long nextSequence() {
        return ++sequence;
    }

    /**
     * Stands for what is in RAM: the same as long as nothing changes.
     *
     * @param frozen whether nothing can change now
     * @return empty if it might change and stay the same
     */
    Optional<String> version(SnapshotView view, boolean frozen) throws IOException {
        view.stored();
        if (!frozen) {
            // Mappings are write-protected by it, so that the next write shows in the times.
            view.flush();
        }
        Stat stat = view.stat();
        long changed = stat.changeSeconds() * 1_000_000_000L + stat.changeNanos();
        boolean settled = changed < System.currentTimeMillis() * 1_000_000L - COARSE_NANOS;
        return settled ? Optional.of(text(view)) : Optional.empty();
    }

    String text(SnapshotView view) throws IOException {
        Stat s = view.stat();
        return s.size()
                + ":"
                + s.changeSeconds()
                + "."
                + s.changeNanos()
                + ":"
                + s.modifySeconds()
                + "."
                + s.modifyNanos()
                + ":"
                + view.stored();
    }

    /** Waits until a frozen file system's version can be told. */
    void settle(SnapshotView view) throws IOException {
        for (int i = 0; i < 10 && version(view, true).isEmpty(); i++) {
            JournalSyncBack.pause(5);
        }
    }
}
