package io.rampipe.tck;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import io.rampipe.api.RateEstimator;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * What every rate estimator has to fulfil. Extend it, and say how one is made, with its defaults or
 * with whatever the test is to be run for.
 */
@Timeout(value = 120, unit = TimeUnit.SECONDS, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
public abstract class RateEstimatorContract {
    protected static final long SECOND = 1_000_000_000L;

    private static final int MANY = 1_000_000;

    /** A fresh one for each test. */
    protected RateEstimator estimator;

    /** Time of the test, as an estimator is told; starts where {@link System#nanoTime} is. */
    protected long now;

    private final SplittableRandom random = new SplittableRandom();

    protected abstract RateEstimator make();

    /**
     * Time without accesses after which at most a hundredth of any rate is left, in nanoseconds.
     */
    protected abstract long forgotten();

    /** Most memory that it may hold, in bytes. */
    protected abstract long mostMemory();

    @BeforeEach
    void begin() {
        estimator = make();
        now = System.nanoTime();
    }

    @Test
    void aSteadyStreamTendsToItsFrequency() {
        for (double frequency : new double[] {0.5, 5, 20}) {
            long key = key();
            double rate = 0;
            long end = now + forgotten();
            for (; now < end; now += (long) (SECOND / frequency)) {
                rate = estimator.add(key, 1, now);
            }
            assertEquals(frequency, rate, 0.1 * frequency);
            // In between two accesses as well.
            now += (long) (SECOND / frequency / 2);
            assertEquals(frequency, estimator.rate(key, now), 0.1 * frequency);
        }
    }

    @Test
    void aMixedStreamIsToldApart() {
        long[] keys = new long[50];
        double[] counts = new double[keys.length];
        for (int i = 0; i < keys.length; i++) {
            keys[i] = key();
        }
        long end = now + forgotten();
        for (; now < end; now += SECOND / 20) {
            for (int i = 0; i < keys.length; i++) {
                if (random.nextInt(keys.length) < i) {
                    estimator.add(keys[i], 1, now);
                    counts[i]++;
                }
            }
        }
        for (int i = 0; i < keys.length; i++) {
            double mean = counts[i] * SECOND / forgotten();
            // Within what chance does over the last part of it.
            assertEquals(mean, estimator.rate(keys[i], now), 0.3 * mean + 0.5, "key " + i);
        }
    }

    @Test
    void whatIsReturnedIsTheRate() {
        for (int i = 0; i < 10_000; i++) {
            long key = 1 + random.nextInt(100);
            double added = estimator.add(key, 1 + random.nextInt(3), now);
            assertEquals(added, estimator.rate(key, now), 1e-4 * added + 1e-6);
            now += random.nextInt(200) * 1_000_000L;
        }
    }

    @Test
    void aRateIsNeverNegativeNorNaNAndOnlyFallsWithoutAccesses() {
        long[] keys = {1, -1, Long.MIN_VALUE, Long.MAX_VALUE, key(), key()};
        for (int round = 0; round < 200; round++) {
            for (int i = random.nextInt(50); i > 0; i--) {
                long key = keys[random.nextInt(keys.length)];
                switch (random.nextInt(10)) {
                    case 0 -> estimator.forget(key);
                    case 1 -> estimator.seed(key, random.nextDouble() * 100, now);
                    case 2 -> estimator.seed(key, 0, now);
                    default -> check(estimator.add(key, random.nextDouble() * 5 + 1e-9, now));
                }
                now += random.nextInt(100) * 1_000_000L;
            }
            double[] last = new double[keys.length];
            Arrays.fill(last, Double.MAX_VALUE);
            for (int steps = random.nextInt(40); steps > 0; steps--) {
                for (int i = 0; i < keys.length; i++) {
                    double rate = estimator.rate(keys[i], now);
                    check(rate);
                    assertTrue(rate <= last[i] * (1 + 1e-5), rate + " after " + last[i]);
                    last[i] = rate;
                }
                now += random.nextLong(forgotten() / 10);
            }
            now += random.nextLong(forgotten() / 5);
        }
    }

    private static void check(double rate) {
        assertTrue(rate >= 0 && rate < Double.POSITIVE_INFINITY, "rate " + rate);
    }

    @Test
    void withoutAccessesARateFallsToNothing() {
        long key = key();
        estimator.seed(key, 10, now);
        assertEquals(10, estimator.rate(key, now), 0.01);
        assertTrue(estimator.rate(key, now + forgotten()) <= 0.1);
        now += 365L * 24 * 3600 * SECOND;
        assertTrue(estimator.rate(key, now) <= 1e-6);
        assertEquals(0, estimator.rate(key(), now));
    }

    @Test
    void aSeededRateGoesOnWhereItWas() {
        long key = key();
        estimator.seed(key, 5, now);
        for (int i = 0; i < 200; i++) {
            now += SECOND / 5;
            assertEquals(5, estimator.add(key, 1, now), 1);
        }
        estimator.seed(key, 2, now);
        assertEquals(2, estimator.rate(key, now), 0.01);
    }

    @Test
    void weightsAddUp() {
        long one = key();
        long other = key();
        double once = estimator.add(one, 3, now);
        estimator.add(other, 1, now);
        estimator.add(other, 1, now);
        assertEquals(once, estimator.add(other, 1, now), 1e-4 * once);
    }

    @Test
    void theFirstAccessOfManyMakesNothingHot() {
        // 50 names that a program has touched at once, once: each is cold.
        for (int i = 0; i < 50; i++) {
            assertTrue(estimator.add(key(), 1, now) < 1);
        }
    }

    @Test
    void aForgottenKeyStartsAnew() {
        long key = key();
        double first = estimator.add(key, 1, now);
        for (int i = 0; i < 100; i++) {
            estimator.add(key, 1, now);
        }
        estimator.forget(key);
        estimator.forget(key);
        assertEquals(0, estimator.rate(key, now));
        assertEquals(first, estimator.add(key, 1, now), 1e-4 * first);
    }

    /** Keys that come once, as when a tree is unpacked, do not displace what is hot. */
    @Test
    void memoryIsBoundedAndTheHotStay() {
        long[] hot = new long[100];
        for (int i = 0; i < hot.length; i++) {
            hot[i] = key();
            estimator.seed(hot[i], 20, now);
        }
        long most = 0;
        for (int i = 0; i < 3 * MANY; i++) {
            estimator.add(key(), 1, now);
            now += 1_000;
            if ((i & 0xffff) == 0) {
                most = Math.max(most, estimator.memory());
            }
        }
        most = Math.max(most, estimator.memory());
        assertTrue(most <= mostMemory(), most + " bytes");
        for (long key : hot) {
            double rate = estimator.rate(key, now);
            assertTrue(rate > 15 && rate < 25, "a hot key has " + rate);
        }
    }

    @Test
    void countingAllocatesNothing() {
        long[] keys = new long[2000];
        for (int i = 0; i < keys.length; i++) {
            keys[i] = key();
        }
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long allocated = 0;
        for (int round = 0; round < 3; round++) {
            long before = threads.getCurrentThreadAllocatedBytes();
            for (int i = 0; i < 500_000; i++) {
                estimator.add(keys[i % keys.length], 1, now + i * 1_000L);
            }
            allocated = threads.getCurrentThreadAllocatedBytes() - before;
            now += SECOND;
        }
        assertTrue(allocated < 10_000, allocated + " bytes");
    }

    /** Any key but 0. */
    protected long key() {
        return random.nextLong() | 1;
    }
}
