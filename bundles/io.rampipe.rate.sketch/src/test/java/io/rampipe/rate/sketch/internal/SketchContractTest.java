package io.rampipe.rate.sketch.internal;

import io.rampipe.api.RateEstimator;
import io.rampipe.tck.Defaults;
import io.rampipe.tck.RateEstimatorContract;
import java.util.Map;

class SketchContractTest extends RateEstimatorContract {
    @Override
    protected RateEstimator make() {
        return new SketchRateEstimator(Defaults.of(SketchRateEstimator.Config.class, Map.of()));
    }

    @Override
    protected long forgotten() {
        return 200 * SECOND;
    }

    @Override
    protected long mostMemory() {
        return 2L << 20;
    }
}
