package io.rampipe.rate.ema.internal;

import io.rampipe.api.RateEstimator;
import io.rampipe.tck.Defaults;
import io.rampipe.tck.RateEstimatorContract;
import java.util.Map;

class EmaContractTest extends RateEstimatorContract {
    @Override
    protected RateEstimator make() {
        return new EmaRateEstimator(Defaults.of(EmaRateEstimator.Config.class, Map.of()));
    }

    @Override
    protected long forgotten() {
        return 200 * SECOND;
    }

    @Override
    protected long mostMemory() {
        return 64L << 20;
    }
}
