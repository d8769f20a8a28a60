package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.PathPatterns;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.Target;
import io.rampipe.tck.PinStrategyContract;
import io.rampipe.testkit.lab.InLab;
import java.time.Clock;
import java.util.List;

@InLab(seconds = 400, memory = 1536)
class SnapshotContractTest extends PinStrategyContract {
    static PinStrategy make() {
        return new SnapshotStrategy(
                new Eligibility(0, 8 << 20, Long.MAX_VALUE, new PathPatterns(List.of())),
                Clock.systemUTC());
    }

    @Override
    protected PinStrategy strategy() {
        return make();
    }

    @Override
    protected Target.Kind kind() {
        return Target.Kind.FILE;
    }
}
