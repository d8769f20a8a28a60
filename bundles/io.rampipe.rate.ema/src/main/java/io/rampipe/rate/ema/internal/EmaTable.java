package io.rampipe.rate.ema.internal;

import java.util.Arrays;

/**
 * Continuous-time exponential moving averages, one a key. After accesses with weights w at times s
 * the rate at time t is the sum of w * lambda * exp(-lambda * (t - s)), lambda = ln 2 / half-life:
 * for a steady stream of f accesses a second it tends to f. (The kernel-smoothed rate of a point
 * process; the same as exponential smoothing with irregular sampling.)
 *
 * <p>A hash table with linear probing over three arrays of primitives: 16 bytes a slot. It starts
 * small and doubles; at its limit the coldest quarter is forgotten. One thread at a time.
 */
final class EmaTable {
    static final int BYTES_PER_SLOT = Long.BYTES + Float.BYTES + Integer.BYTES;

    private static final int FIRST_SLOTS = 1024;
    private static final int SAMPLES = 4096;
    private static final double FORGET_SHARE = 0.25;
    private static final double LOAD = 0.625;

    /** Odd, so that its multiples are every slot once. */
    private static final int SPREAD = 0x9e3779b1;

    /**
     * Times are kept in 10 ms: what has not been used for up to 16 months is told from what has
     * just been, and the decay within one unit is below any rate that matters.
     */
    private static final long UNIT_NANOS = 10_000_000L;

    /** A key may have been seeded a little later than the event that is counted now happened. */
    private static final int LATER = -1_000_000;

    private final int maxKeys;
    private final long epoch;
    private double lambdaPerUnit;
    private double lambdaPerSecond;

    private long[] keys = new long[FIRST_SLOTS];
    private float[] rates = new float[FIRST_SLOTS];
    private int[] times = new int[FIRST_SLOTS];
    private int size;

    EmaTable(int maxKeys, double halfLifeSeconds, long now) {
        this.maxKeys = maxKeys;
        this.epoch = now;
        halfLife(halfLifeSeconds);
    }

    /** From now on rates decay by half in this time; what is there is kept. */
    void halfLife(double seconds) {
        lambdaPerSecond = Math.log(2) / seconds;
        lambdaPerUnit = lambdaPerSecond * UNIT_NANOS / 1e9;
    }

    double add(long key, double weight, long now) {
        return put(key, weight * lambdaPerSecond, true, now);
    }

    void seed(long key, double rate, long now) {
        put(key, rate, false, now);
    }

    double rate(long key, long now) {
        int slot = find(key);
        return keys[slot] == key ? decayed(slot, unit(now)) : 0;
    }

    void forget(long key) {
        int slot = find(key);
        if (keys[slot] == key) {
            delete(slot);
        }
    }

    int size() {
        return size;
    }

    long memory() {
        return (long) keys.length * BYTES_PER_SLOT;
    }

    private double put(long key, double amount, boolean onTop, long now) {
        int slot = find(key);
        int t = unit(now);
        if (keys[slot] != key) {
            if (makeRoom(t)) {
                slot = find(key);
            }
            keys[slot] = key;
            rates[slot] = 0;
            times[slot] = t;
            size++;
        }
        double rate = (onTop ? decayed(slot, t) : 0) + amount;
        rates[slot] = (float) rate;
        times[slot] = t;
        return rate;
    }

    private double decayed(int slot, int t) {
        int age = t - times[slot];
        return age <= 0 && age > LATER
                ? rates[slot]
                : rates[slot] * Math.exp(-lambdaPerUnit * Integer.toUnsignedLong(age));
    }

    private int unit(long now) {
        return (int) ((now - epoch) / UNIT_NANOS);
    }

    /** The slot of the key, or the free slot where it belongs. */
    private int find(long key) {
        int mask = keys.length - 1;
        int slot = home(key, mask);
        while (keys[slot] != 0 && keys[slot] != key) {
            slot = slot + 1 & mask;
        }
        return slot;
    }

    /**
     * Keys are well mixed by contract of the event source, but a stranger's may not be: Fibonacci
     * hashing costs one multiply.
     */
    private static int home(long key, int mask) {
        return (int) (key * 0x9e3779b97f4a7c15L >>> 32) & mask;
    }

    /** Makes sure that one more key fits. Returns true if slots have moved. */
    private boolean makeRoom(int t) {
        if (size >= maxKeys) {
            forgetColdest(t);
            return true;
        }
        if (size < keys.length * LOAD) {
            return false;
        }
        long[] oldKeys = keys;
        float[] oldRates = rates;
        int[] oldTimes = times;
        keys = new long[oldKeys.length * 2];
        rates = new float[keys.length];
        times = new int[keys.length];
        for (int i = 0; i < oldKeys.length; i++) {
            if (oldKeys[i] != 0) {
                int slot = find(oldKeys[i]);
                keys[slot] = oldKeys[i];
                rates[slot] = oldRates[i];
                times[slot] = oldTimes[i];
            }
        }
        return true;
    }

    /**
     * Forgets about the coldest quarter: below the quantile of a sample, so that no sorting of
     * everything is needed.
     */
    private void forgetColdest(int t) {
        double[] sample = new double[SAMPLES];
        int n = 0;
        for (int step = Math.max(1, keys.length / SAMPLES), i = 0;
                i < keys.length && n < SAMPLES;
                i += step) {
            if (keys[i] != 0) {
                sample[n++] = decayed(i, t);
            }
        }
        Arrays.sort(sample, 0, n);
        double limit = sample[(int) (n * FORGET_SHARE)];
        int before = size;
        drop(limit, t, false);
        if (size == before) {
            // Many equally cold ones at the limit itself.
            drop(limit, t, true);
        }
    }

    private void drop(double limit, int t, boolean inclusive) {
        int atLeast = maxKeys - (int) (maxKeys * FORGET_SHARE);
        int mask = keys.length - 1;
        for (int k = 0; k < keys.length; k++) {
            // All over the table: gaps at one end would make the other ever denser.
            int i = k * SPREAD & mask;
            // A deletion may move a later key into this slot: look at it again.
            while (keys[i] != 0 && size > atLeast && colder(decayed(i, t), limit, inclusive)) {
                delete(i);
            }
        }
    }

    private static boolean colder(double rate, double limit, boolean inclusive) {
        return inclusive ? rate <= limit : rate < limit;
    }

    /**
     * Deletes without tombstones: moves back whatever the gap would cut off from its home (Knuth,
     * vol. 3, algorithm 6.4 R).
     */
    private void delete(int slot) {
        int mask = keys.length - 1;
        int gap = slot;
        for (int i = gap + 1 & mask; keys[i] != 0; i = i + 1 & mask) {
            int home = home(keys[i], mask);
            if ((i - home & mask) >= (i - gap & mask)) {
                keys[gap] = keys[i];
                rates[gap] = rates[i];
                times[gap] = times[i];
                gap = i;
            }
        }
        keys[gap] = 0;
        size--;
    }
}
