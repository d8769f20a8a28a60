package io.rampipe.sync.journal.internal;

import io.rampipe.api.PinStrategy;
import io.rampipe.api.SyncBack;
import io.rampipe.pin.overlayfs.internal.OverlayStrategy;
import io.rampipe.tck.Defaults;
import io.rampipe.tck.SyncBackContract;

/** With real pins of overlayfs. */
class JournalContractTest extends SyncBackContract {
    @Override
    protected SyncBack sync() {
        return new JournalSyncBack(Steps.NONE, line -> {});
    }

    @Override
    protected PinStrategy strategy() {
        try {
            return Defaults.component(OverlayStrategy.class);
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(e);
        }
    }
}
