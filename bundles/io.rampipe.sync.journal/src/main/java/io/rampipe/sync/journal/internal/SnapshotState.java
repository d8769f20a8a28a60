package io.rampipe.sync.journal.internal;

import io.rampipe.api.SyncBack.Dirty;
import java.io.IOException;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;

/** What is remembered of one pin, to be faster. Guarded by its lock. */
final class SnapshotState {
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

    /** Programs would have had to be held for too long the last time. */
    boolean tooLong;

    /** {@link System#nanoTime} before which its store is not replaced. */
    volatile long nextRenewal = System.nanoTime();

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
            view.flush();
        }
        return view.settled() ? Optional.of(text(view)) : Optional.empty();
    }

    String text(SnapshotView view) throws IOException {
        return view.look();
    }

    /** Waits until a frozen file system's version can be told. */
    void settle(SnapshotView view) throws IOException {
        for (int i = 0; i < 10 && version(view, true).isEmpty(); i++) {
            JournalSyncBack.pause(5);
        }
    }
}
