package io.rampipe.rate.window.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class WindowTableTest {
    private static final long SECOND = 1_000_000_000L;
    private static final long LENGTH = 60 * SECOND;
    private static final long GRANULE = LENGTH / WindowTable.GRANULES;

    private record Access(long time, double weight) {}

    /** Against the accesses themselves. */
    @Test
    void eachAccessCountsForTheWindowAndThenFadesInOneGranule() {
        long seed = System.nanoTime();
        SplittableRandom random = new SplittableRandom(seed);
        for (int round = 0; round < 20; round++) {
            long start = random.nextLong(Long.MAX_VALUE / 4);
            WindowTable table = new WindowTable(100_000, LENGTH, start);
            Map<Long, Deque<Access>> model = new HashMap<>();
            long now = start;
            long pause = 1 + random.nextLong(2 * SECOND);
            for (int i = 0; i < 5_000; i++) {
                now +=
                        random.nextInt(500) == 0
                                ? random.nextLong(2 * LENGTH)
                                : random.nextLong(pause);
                long key = 1 + random.nextInt(20);
                double weight = 1 + random.nextInt(5);
                model.computeIfAbsent(key, k -> new ArrayDeque<>()).add(new Access(now, weight));
                double told = table.add(key, weight, now);
                assertEquals(mean(model.get(key), start, now), told, 1e-6, "seed " + seed);
                long later = now + random.nextLong(LENGTH);
                assertEquals(
                        mean(model.get(key), start, later),
                        table.rate(key, later),
                        1e-6,
                        "seed " + seed);
            }
        }
    }

    private static double mean(Deque<Access> accesses, long start, long now) {
        // Granules are counted from a whole window before the table was made.
        long since = now - (start - LENGTH);
        long granule = since / GRANULE;
        double faded = (double) (since % GRANULE) / GRANULE;
        double sum = 0;
        for (Access a : accesses) {
            long ago = granule - (a.time() - (start - LENGTH)) / GRANULE;
            boolean full = ago < WindowTable.GRANULES;
            assertTrue(full || now - a.time() > LENGTH - GRANULE);
            assertTrue(!full || now - a.time() <= LENGTH);
            sum += full ? a.weight() : ago == WindowTable.GRANULES ? a.weight() * (1 - faded) : 0;
        }
        return sum * SECOND / LENGTH;
    }

    @Test
    void afterTheWindowNothingIsLeft() {
        WindowTable table = new WindowTable(1000, LENGTH, 0);
        table.add(7, 1000, 0);
        assertTrue(table.rate(7, LENGTH - 1) > 10);
        assertEquals(0, table.rate(7, LENGTH + GRANULE));
    }

    @Test
    void anotherLengthKeepsTheRates() {
        WindowTable table = new WindowTable(1000, LENGTH, 0);
        for (long key = 1; key <= 100; key++) {
            table.seed(key, key, 0);
        }
        table.length(5 * SECOND, SECOND);
        for (long key = 1; key <= 100; key++) {
            assertEquals(key, table.rate(key, SECOND), 0.2 * key);
        }
        assertEquals(0, table.rate(50, 10 * SECOND));
    }

    @Test
    void whenFullTheColdestAreForgotten() {
        WindowTable table = new WindowTable(10_000, LENGTH, 0);
        for (long key = 1; key <= 100; key++) {
            table.seed(key, 50, 0);
        }
        for (long key = 1_000; key < 200_000; key++) {
            table.add(key, 1, key * 1000);
        }
        assertTrue(table.size() <= 10_000);
        assertTrue(table.memory() <= 16_384L * 2 * WindowTable.BYTES_PER_SLOT);
        for (long key = 1; key <= 100; key++) {
            assertTrue(table.rate(key, SECOND) > 40, "hot key " + key + " was forgotten");
        }
    }

    @Test
    void deletionsLoseNoOtherKey() {
        long seed = System.nanoTime();
        SplittableRandom random = new SplittableRandom(seed);
        WindowTable table = new WindowTable(1 << 20, LENGTH, 0);
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
                (k, v) ->
                        assertEquals(
                                v, table.rate(k, 0), 1 + 1e-5 * v, "key " + k + ", seed " + seed));
    }
}
