package io.rampipe.sync.merge.internal;

import io.rampipe.api.RedoLog;
import io.rampipe.api.SyncBack;
import java.io.IOException;

/** Makes the syncback with what tests do at its steps. */
public final class Merging {
    /** Told of each step before it is taken. */
    @FunctionalInterface
    public interface Watcher {
        void before(String what) throws IOException;
    }

    private Merging() {}

    /**
     * @param journal also the redo log
     */
    public static SyncBack with(SyncBack journal, Watcher watcher) {
        return new MergeSyncBack(journal, (RedoLog) journal, watcher::before);
    }
}
