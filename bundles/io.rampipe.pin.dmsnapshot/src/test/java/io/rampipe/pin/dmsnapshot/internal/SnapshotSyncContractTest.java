package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.PinStrategy;
import io.rampipe.api.SyncBack;
import io.rampipe.api.Target;
import io.rampipe.sync.journal.internal.SnapshotSyncBack;
import io.rampipe.tck.SyncBackContract;
import io.rampipe.testkit.lab.InLab;
import java.lang.reflect.Proxy;
import org.osgi.service.log.Logger;

/** The syncback of snapshots, with real ones. */
@InLab(seconds = 400, memory = 1536)
class SnapshotSyncContractTest extends SyncBackContract {
    @Override
    protected SyncBack sync() {
        return new SnapshotSyncBack(
                (Logger)
                        Proxy.newProxyInstance(
                                Logger.class.getClassLoader(),
                                new Class<?>[] {Logger.class},
                                (proxy, method, arguments) -> null));
    }

    @Override
    protected PinStrategy strategy() {
        return SnapshotContractTest.make();
    }

    @Override
    protected Target.Kind kind() {
        return Target.Kind.FILE;
    }
}
