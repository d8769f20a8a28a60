package io.rampipe.rate.window.internal;

import io.rampipe.api.RateEstimator;
import io.rampipe.tck.Defaults;
import io.rampipe.tck.RateEstimatorContract;
import java.util.Map;

class WindowContractTest extends RateEstimatorContract {
    @Override
    protected RateEstimator make() {
        return new WindowRateEstimator(Defaults.of(WindowRateEstimator.Config.class, Map.of()));
    }

    @Override
    protected long forgotten() {
        return 68 * SECOND;
    }

    @Override
    protected long mostMemory() {
        return 48L << 20;
    }
}
