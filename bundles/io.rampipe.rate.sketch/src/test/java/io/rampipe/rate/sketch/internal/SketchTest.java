package io.rampipe.rate.sketch.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class SketchTest {
    private static final long SECOND = 1_000_000_000L;
    private static final double HALF_LIFE = 30;
    private static final double LAMBDA = Math.log(2) / HALF_LIFE;

    private final long seed = System.nanoTime();
    private final SplittableRandom random = new SplittableRandom(seed);

    /** The true averages, one by one. */
    private final Map<Long, double[]> model = new HashMap<>();

    private void count(long key, long now) {
        double[] sumAndTime = model.computeIfAbsent(key, k -> new double[2]);
        sumAndTime[0] = sumAndTime[0] * Math.exp(LAMBDA * (sumAndTime[1] - now / 1e9)) + 1;
        sumAndTime[1] = now / 1e9;
    }

    private double truth(long key, long now) {
        double[] sumAndTime = model.get(key);
        return LAMBDA * sumAndTime[0] * Math.exp(LAMBDA * (sumAndTime[1] - now / 1e9));
    }

    /** A hundred times more keys than cells in a row, with the frequencies that files have. */
    @Test
    void noRateIsTooSmallAndFewAreFurtherOffThanTheBound() {
        Sketch sketch = new Sketch(64 << 10, HALF_LIFE, 0, random);
        long now = 0;
        for (int i = 0; i < 1_000_000; i++) {
            now += 100_000;
            long key = zipf(200_000);
            sketch.add(key, 1, now);
            count(key, now);
        }
        double all = 0;
        for (long key : model.keySet()) {
            all += truth(key, now);
        }
        double bound = 2 * Math.E / sketch.width() * all;
        int beyond = 0;
        double error = 0;
        for (long key : model.keySet()) {
            double r = truth(key, now);
            double told = sketch.rate(key, now);
            assertTrue(told >= r * (1 - 1e-4), told + " for " + r + ", seed " + seed);
            beyond += told > r + bound ? 1 : 0;
            error += told - r;
        }
        double share = (double) beyond / model.size();
        System.out.printf(
                "%d keys in %d bytes, %.0f/s in all: bound %.4f/s, exceeded by %.4f %%, mean %.4f/s%n",
                model.size(), sketch.memory(), all, bound, 100 * share, error / model.size());
        assertTrue(share <= Math.exp(-Sketch.DEPTH), share + ", seed " + seed);
        assertTrue(error / model.size() <= bound, "seed " + seed);
    }

    @Test
    void theHeaviestAreListedAndCountedExactly() {
        Sketch sketch = new Sketch(64 << 10, HALF_LIFE, 0, random);
        long now = 0;
        for (int i = 0; i < 3_000_000; i++) {
            now += 100_000;
            long key = zipf(200_000);
            sketch.add(key, 1, now);
            count(key, now);
        }
        long end = now;
        Set<Long> truly = new HashSet<>();
        model.keySet().stream()
                .sorted((a, b) -> Double.compare(truth(b, end), truth(a, end)))
                .limit(20)
                .forEach(truly::add);
        Set<Long> listed = new HashSet<>();
        for (long key : sketch.heaviest(25)) {
            listed.add(key);
        }
        assertTrue(listed.containsAll(truly), truly + " in " + listed + ", seed " + seed);
        for (long key : truly) {
            double r = truth(key, now);
            assertEquals(r, sketch.rate(key, now), 0.02 * r, "seed " + seed);
        }
    }

    @Test
    void weeksMakeNoDifference() {
        Sketch sketch = new Sketch(64 << 10, HALF_LIFE, 0, random);
        long now = 0;
        double rate = 0;
        for (int day = 0; day < 60; day++) {
            now += 24L * 3600 * SECOND;
            for (int i = 0; i < 3000; i++) {
                now += SECOND / 10;
                rate = sketch.add(7, 1, now);
            }
            assertEquals(10, rate, 0.3);
        }
    }

    @Test
    void anotherHalfLifeKeepsTheRates() {
        Sketch sketch = new Sketch(64 << 10, HALF_LIFE, 0, random);
        for (int i = 0; i < 50_000; i++) {
            sketch.add(1 + i % 5000, 1, i * 10_000L);
        }
        long now = SECOND;
        double listed = sketch.rate(5000, now);
        double other = sketch.rate(1, now);
        sketch.halfLife(5, now);
        assertEquals(listed, sketch.rate(5000, now), 1e-4 * listed);
        assertEquals(other, sketch.rate(1, now), 1e-4 * other);
        assertEquals(listed / 2, sketch.rate(5000, now + 5 * SECOND), 1e-3 * listed);
    }

    /** About Zipf's law, with exponent 1. */
    private long zipf(int keys) {
        return 1 + (long) Math.exp(random.nextDouble() * Math.log(keys));
    }
}
