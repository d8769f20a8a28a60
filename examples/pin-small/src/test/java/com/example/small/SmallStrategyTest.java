package com.example.small;

import static org.junit.jupiter.api.Assertions.assertThrows;

import io.rampipe.api.PinStrategy;
import io.rampipe.api.RefusedException;
import io.rampipe.tck.Defaults;
import io.rampipe.tck.PinStrategyContract;
import java.io.RandomAccessFile;
import java.util.List;
import org.junit.jupiter.api.Test;

class SmallStrategyTest extends PinStrategyContract {
    @Override
    protected PinStrategy strategy() {
        try {
            Class<?> overlayfs = Class.forName("io.rampipe.pin.overlayfs.internal.OverlayStrategy");
            return new SmallStrategy((PinStrategy) Defaults.component(overlayfs));
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void whatIsNotSmallIsRefused() throws Exception {
        try (RandomAccessFile file = new RandomAccessFile(bench.file().toFile(), "rw")) {
            file.setLength(SmallStrategy.MOST + 1);
        }
        assertThrows(
                RefusedException.class, () -> strategy().examine(bench.target(), List.of()));
    }
}
