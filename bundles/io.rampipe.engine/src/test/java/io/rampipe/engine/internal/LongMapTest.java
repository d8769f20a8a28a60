package io.rampipe.engine.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class LongMapTest {
    @Test
    void itHoldsWhatAMapHoldsUpToItsLimit() {
        long seed = System.nanoTime();
        SplittableRandom random = new SplittableRandom(seed);
        LongMap<String> map = new LongMap<>(500);
        Map<Long, String> model = new HashMap<>();
        for (int i = 0; i < 20_000; i++) {
            long key = 1 + random.nextInt(800);
            boolean fits = model.containsKey(key) || model.size() < 500;
            assertEquals(fits, map.put(key, "v" + i), "seed " + seed);
            if (fits) {
                model.put(key, "v" + i);
            }
            if (random.nextInt(1_000) == 0) {
                map.retain(v -> v.hashCode() % 3 != 0);
                model.values().removeIf(v -> v.hashCode() % 3 == 0);
            }
        }
        assertEquals(model.size(), map.size());
        model.forEach((k, v) -> assertEquals(v, map.get(k)));
        assertNull(map.get(10_000));
    }

    @Test
    void aFullMapStillTakesNewValuesForOldKeys() {
        LongMap<String> map = new LongMap<>(1);
        assertTrue(map.put(7, "a"));
        assertFalse(map.put(8, "b"));
        assertTrue(map.put(7, "c"));
        assertEquals("c", map.get(7));
    }
}
