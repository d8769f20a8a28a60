package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.Target;

/** Of a single file. */
class OverlayFileContractTest extends OverlayContractTest {
    @Override
    protected Target.Kind kind() {
        return Target.Kind.FILE;
    }
}
