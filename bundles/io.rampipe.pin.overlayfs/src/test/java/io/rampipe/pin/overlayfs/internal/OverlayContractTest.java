package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.PinStrategy;
import io.rampipe.tck.PinStrategyContract;

class OverlayContractTest extends PinStrategyContract {
    @Override
    protected PinStrategy strategy() {
        return Bench.strategy(Config.DEFAULT_MAX_FILES);
    }
}
