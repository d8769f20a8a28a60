package com.example.minute;

import io.rampipe.api.RateEstimator;
import io.rampipe.tck.RateEstimatorContract;

class MinuteEstimatorTest extends RateEstimatorContract {
    @Override
    protected RateEstimator make() {
        return new MinuteEstimator();
    }

    @Override
    protected long forgotten() {
        return 120 * SECOND;
    }

    @Override
    protected long mostMemory() {
        return 2 << 20;
    }
}
