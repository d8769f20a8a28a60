package io.rampipe.rate.ema.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class EmaTableTest {
    private static final long SECOND = 1_000_000_000L;

    @Test
    void aSteadyStreamTendsToItsFrequency() {
        EmaTable table = new EmaTable(1000, 30, 0);
        double rate = 0;
        for (long t = 0; t < 600 * SECOND; t += SECOND / 5) {
            rate = table.add(7, 1, t);
        }
        assertEquals(5, rate, 0.1);
    }

    @Test
    void withoutAccessesTheRateHalvesInAHalfLife() {
        EmaTable table = new EmaTable(1000, 30, 0);
        table.seed(7, 8, 0);
        assertEquals(4, table.rate(7, 30 * SECOND), 0.01);
        assertEquals(2, table.rate(7, 60 * SECOND), 0.01);
        assertEquals(0, table.rate(8, 60 * SECOND));
    }

    @Test
    void weightsAddUp() {
        EmaTable table = new EmaTable(1000, 30, 0);
        double once = table.add(1, 3, 0);
        table.add(2, 1, 0);
        table.add(2, 1, 0);
        assertEquals(once, table.add(2, 1, 0), 1e-6);
    }

    @Test
    void aMillionFilesTakeAtMost64MiB() {
        EmaTable table = new EmaTable(1_250_000, 30, 0);
        for (long key = 1; key <= 1_000_000; key++) {
            table.add(key, 1, key * 1000);
        }
        assertEquals(1_000_000, table.size());
        assertTrue(table.memory() <= 64L << 20, table.memory() + " bytes");
    }

    @Test
    void whenFullTheColdestAreForgottenAndTheHotStay() {
        EmaTable table = new EmaTable(10_000, 30, 0);
        for (long key = 1; key <= 100; key++) {
            table.seed(key, 50, 0);
        }
        long memory = 0;
        for (long key = 1_000; key < 200_000; key++) {
            table.add(key, 1, key * 1000);
            memory = Math.max(memory, table.memory());
        }
        assertTrue(table.size() <= 10_000);
        assertTrue(memory <= 16_384 * 2 * EmaTable.BYTES_PER_SLOT, memory + " bytes");
        for (long key = 1; key <= 100; key++) {
            assertTrue(table.rate(key, SECOND) > 40, "hot key " + key + " was forgotten");
        }
    }

    /**
     * The table against a map, over random additions and removals: no key is lost when others are
     * deleted around it.
     */
    @Test
    void deletionsLoseNoOtherKey() {
        long seed = System.nanoTime();
        SplittableRandom random = new SplittableRandom(seed);
        EmaTable table = new EmaTable(1 << 20, 30, 0);
        Map<Long, Double> model = new HashMap<>();
        for (int i = 0; i < 200_000; i++) {
            long key = 1 + random.nextInt(3_000);
            if (random.nextInt(3) == 0) {
                table.forget(key);
                model.remove(key);
            } else {
                table.seed(key, i, 0);
                model.put(key, (double) i);
            }
        }
        assertEquals(model.size(), table.size(), "seed " + seed);
        model.forEach(
                (k, v) -> assertEquals(v, table.rate(k, 0), 1, "key " + k + ", seed " + seed));
    }
}
