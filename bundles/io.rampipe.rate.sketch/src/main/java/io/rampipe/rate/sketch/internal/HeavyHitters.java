package io.rampipe.rate.sketch.internal;

import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * The heaviest keys and their sums, exactly counted: a hash table with linear probing, of fixed
 * size. When it is full, the lighter half makes room. One thread at a time.
 */
final class HeavyHitters {
    static final int BYTES_PER_SLOT = Long.BYTES + Double.BYTES;

    private static final double LOAD = 0.625;

    private final long[] keys;
    private final double[] sums;
    private final double[] sorted;
    private final int most;
    private int size;

    /** As heavy as anything that was turned out since: lighter ones need not try. */
    private double floor;

    /** Takes what is turned out. */
    interface Out {
        void put(long key, double sum);
    }

    /**
     * @param slots a power of two
     */
    HeavyHitters(int slots) {
        keys = new long[slots];
        sums = new double[slots];
        most = (int) (slots * LOAD);
        sorted = new double[most];
    }

    int size() {
        return size;
    }

    long memory() {
        return (long) keys.length * BYTES_PER_SLOT + (long) sorted.length * Double.BYTES;
    }

    /** 0 if it is not there. */
    double get(long key) {
        int slot = find(key);
        return keys[slot] == key ? sums[slot] : 0;
    }

    /** Adds to a key that is there, and returns its sum; 0 if it is not. */
    double add(long key, double amount) {
        int slot = find(key);
        if (keys[slot] != key) {
            return 0;
        }
        sums[slot] += amount;
        return sums[slot];
    }

    /** Takes in a key that is not there, if it is heavy enough. */
    boolean offer(long key, double sum, Out out) {
        if (sum <= floor) {
            return false;
        }
        if (size == most) {
            turnOut(out);
            if (sum <= floor) {
                return false;
            }
        }
        int slot = find(key);
        keys[slot] = key;
        sums[slot] = sum;
        size++;
        return true;
    }

    void remove(long key) {
        int slot = find(key);
        if (keys[slot] == key) {
            delete(slot);
        }
    }

    void scale(double by) {
        floor *= by;
        for (int i = 0; i < sums.length; i++) {
            sums[i] *= by;
        }
    }

    long[] heaviest(int count) {
        return IntStream.range(0, keys.length)
                .filter(i -> keys[i] != 0)
                .boxed()
                .sorted(Comparator.comparingDouble((Integer i) -> -sums[i]))
                .limit(count)
                .mapToLong(i -> keys[i])
                .toArray();
    }

    private void turnOut(Out out) {
        int n = 0;
        for (int i = 0; i < keys.length; i++) {
            if (keys[i] != 0) {
                sorted[n++] = sums[i];
            }
        }
        Arrays.sort(sorted, 0, n);
        floor = sorted[n / 2];
        for (int i = 0; i < keys.length; i++) {
            // A deletion may move a later key into this slot: look at it again.
            while (keys[i] != 0 && sums[i] <= floor) {
                out.put(keys[i], sums[i]);
                delete(i);
            }
        }
    }

    private int find(long key) {
        int mask = keys.length - 1;
        int slot = (int) (key * 0x9e3779b97f4a7c15L >>> 32) & mask;
        while (keys[slot] != 0 && keys[slot] != key) {
            slot = slot + 1 & mask;
        }
        return slot;
    }

    /** Without tombstones: moves back whatever the gap would cut off from its home. */
    private void delete(int slot) {
        int mask = keys.length - 1;
        int gap = slot;
        for (int i = gap + 1 & mask; keys[i] != 0; i = i + 1 & mask) {
            int home = (int) (keys[i] * 0x9e3779b97f4a7c15L >>> 32) & mask;
            if ((i - home & mask) >= (i - gap & mask)) {
                keys[gap] = keys[i];
                sums[gap] = sums[i];
                gap = i;
            }
        }
        keys[gap] = 0;
        size--;
    }
}
