package io.rampipe.rate.window.internal;

import java.util.Arrays;

/**
 * Accesses a second over a sliding window, one a key. Time is cut into granules of an eighth of the
 * window's length W; a key has the sum of the weights in each of the last nine granules. The rate
 * is all that happened in the granule that is not over and the seven before it, and what has not
 * faded of the one before these, divided by W: that one fades evenly while the newest fills. So
 * each access counts in full for at least 7/8 W, and not at all after 9/8 W; of a steady stream the
 * rate is the frequency, and without accesses it never rises.
 *
 * <p>A hash table with linear probing over arrays of primitives: 48 bytes a slot. It starts small
 * and doubles; at its limit the coldest quarter is forgotten. One thread at a time.
 */
final class WindowTable {
    /** Granules in a window, besides the one that is not over. */
    static final int GRANULES = 8;

    private static final int ROW = GRANULES + 1;
    static final int BYTES_PER_SLOT = Long.BYTES + Integer.BYTES + ROW * Float.BYTES;

    private static final int FIRST_SLOTS = 1024;
    private static final int SAMPLES = 4096;
    private static final double FORGET_SHARE = 0.25;
    private static final double LOAD = 0.625;

    /** Odd, so that its multiples are every slot once. */
    private static final int SPREAD = 0x9e3779b1;

    private final int maxKeys;
    private long epoch;
    private long granuleNanos;

    private long[] keys = new long[FIRST_SLOTS];

    /** Granule of the last access. */
    private int[] last = new int[FIRST_SLOTS];

    /** Of each slot a ring of sums; that of granule g is at g modulo its length. */
    private float[] sums = new float[FIRST_SLOTS * ROW];

    private int size;

    WindowTable(int maxKeys, long lengthNanos, long now) {
        this.maxKeys = maxKeys;
        this.epoch = now - lengthNanos;
        this.granuleNanos = lengthNanos / GRANULES;
    }

    /** Another length from now on; each key's rate is kept. */
    void length(long nanos, long now) {
        double[] rates = new double[keys.length];
        for (int i = 0; i < keys.length; i++) {
            rates[i] = keys[i] == 0 ? 0 : rate(i, now);
        }
        epoch = now - nanos;
        granuleNanos = nanos / GRANULES;
        for (int i = 0; i < keys.length; i++) {
            fill(i, rates[i], now);
        }
    }

    double add(long key, double weight, long now) {
        int slot = slotFor(key, now);
        int granule = granule(now);
        int from = Math.max(last[slot] + 1, granule - GRANULES);
        for (int g = from; g <= granule; g++) {
            sums[ring(slot, g)] = 0;
        }
        last[slot] = Math.max(last[slot], granule);
        sums[ring(slot, granule)] += (float) weight;
        return rate(slot, now);
    }

    void seed(long key, double rate, long now) {
        fill(slotFor(key, now), rate, now);
    }

    double rate(long key, long now) {
        int slot = find(key);
        return keys[slot] == key ? rate(slot, now) : 0;
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

    /** As if it had been accessed evenly all the time. */
    private void fill(int slot, double rate, long now) {
        int granule = granule(now);
        double full = rate * granuleNanos / 1e9;
        for (int g = granule - GRANULES; g < granule; g++) {
            sums[ring(slot, g)] = (float) full;
        }
        sums[ring(slot, granule)] = (float) (rate * inGranule(now) / 1e9);
        last[slot] = granule;
    }

    private double rate(int slot, long now) {
        int latest = last[slot];
        int granule = Math.max(granule(now), latest);
        double sum = 0;
        for (int g = granule - GRANULES + 1; g <= latest; g++) {
            sum += sums[ring(slot, g)];
        }
        if (granule - GRANULES <= latest) {
            double left = 1 - (double) inGranule(now) / granuleNanos;
            sum += left * sums[ring(slot, granule - GRANULES)];
        }
        return sum * 1e9 / (GRANULES * granuleNanos);
    }

    private int granule(long now) {
        return (int) ((now - epoch) / granuleNanos);
    }

    private long inGranule(long now) {
        return (now - epoch) % granuleNanos;
    }

    private static int ring(int slot, int granule) {
        return slot * ROW + Math.floorMod(granule, ROW);
    }

    /** The key's slot; a new one, without any access, if it has none. */
    private int slotFor(long key, long now) {
        int slot = find(key);
        if (keys[slot] != key) {
            if (makeRoom(now)) {
                slot = find(key);
            }
            keys[slot] = key;
            last[slot] = granule(now);
            Arrays.fill(sums, slot * ROW, slot * ROW + ROW, 0);
            size++;
        }
        return slot;
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

    /** Fibonacci hashing: a stranger's keys may not be well mixed. */
    private static int home(long key, int mask) {
        return (int) (key * 0x9e3779b97f4a7c15L >>> 32) & mask;
    }

    /** Makes sure that one more key fits. Returns true if slots have moved. */
    private boolean makeRoom(long now) {
        if (size >= maxKeys) {
            forgetColdest(now);
            return true;
        }
        if (size < keys.length * LOAD) {
            return false;
        }
        long[] oldKeys = keys;
        int[] oldLast = last;
        float[] oldSums = sums;
        keys = new long[oldKeys.length * 2];
        last = new int[keys.length];
        sums = new float[keys.length * ROW];
        for (int i = 0; i < oldKeys.length; i++) {
            if (oldKeys[i] != 0) {
                int slot = find(oldKeys[i]);
                keys[slot] = oldKeys[i];
                last[slot] = oldLast[i];
                System.arraycopy(oldSums, i * ROW, sums, slot * ROW, ROW);
            }
        }
        return true;
    }

    /** About the coldest quarter: below the quantile of a sample, so that nothing is sorted. */
    private void forgetColdest(long now) {
        double[] sample = new double[SAMPLES];
        int n = 0;
        for (int step = Math.max(1, keys.length / SAMPLES), i = 0;
                i < keys.length && n < SAMPLES;
                i += step) {
            if (keys[i] != 0) {
                sample[n++] = rate(i, now);
            }
        }
        Arrays.sort(sample, 0, n);
        double limit = sample[(int) (n * FORGET_SHARE)];
        int before = size;
        drop(limit, now, false);
        if (size == before) {
            // Many equally cold ones at the limit itself.
            drop(limit, now, true);
        }
    }

    private void drop(double limit, long now, boolean inclusive) {
        int atLeast = maxKeys - (int) (maxKeys * FORGET_SHARE);
        int mask = keys.length - 1;
        for (int k = 0; k < keys.length; k++) {
            // All over the table: gaps at one end would make the other ever denser.
            int i = k * SPREAD & mask;
            // A deletion may move a later key into this slot: look at it again.
            while (keys[i] != 0
                    && size > atLeast
                    && (inclusive ? rate(i, now) <= limit : rate(i, now) < limit)) {
                delete(i);
            }
        }
    }

    /** Without tombstones: moves back whatever the gap would cut off from its home. */
    private void delete(int slot) {
        int mask = keys.length - 1;
        int gap = slot;
        for (int i = gap + 1 & mask; keys[i] != 0; i = i + 1 & mask) {
            int home = home(keys[i], mask);
            if ((i - home & mask) >= (i - gap & mask)) {
                keys[gap] = keys[i];
                last[gap] = last[i];
                System.arraycopy(sums, i * ROW, sums, gap * ROW, ROW);
                gap = i;
            }
        }
        keys[gap] = 0;
        size--;
    }
}
