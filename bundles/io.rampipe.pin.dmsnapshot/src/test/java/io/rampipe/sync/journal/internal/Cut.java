package io.rampipe.sync.journal.internal;

import io.rampipe.api.SyncBack;
import io.rampipe.sync.merge.internal.Merging;
import java.util.concurrent.atomic.AtomicInteger;

/** A syncback that ends this process before one of the calls that change the disk or a merge. */
public final class Cut {
    private Cut() {}

    /**
     * @param step number of the call, from 1
     */
    public static SyncBack at(int step) {
        AtomicInteger count = new AtomicInteger();
        Merging.Watcher cut =
                what -> {
                    if (count.incrementAndGet() == step) {
                        System.out.println("cut before: " + what);
                        System.out.flush();
                        Runtime.getRuntime().halt(9);
                    }
                };
        SyncBack journal = new SnapshotSyncBack(cut::before, line -> System.out.println(line));
        return Merging.with(journal, cut);
    }
}
