package io.rampipe.engine.internal;

import java.util.Arrays;
import java.util.function.ObjLongConsumer;
import java.util.function.Predicate;

/**
 * A hash map from long to objects without boxing; 0 is no key. Bounded: a full map takes no new
 * keys. One thread at a time.
 */
final class LongMap<V> {
    private final long[] keys;
    private final Object[] values;
    private final int limit;
    private int size;

    /**
     * @param limit most keys; a power of two that is at least twice as large is allocated
     */
    LongMap(int limit) {
        int slots = Integer.highestOneBit(limit * 2 - 1) << 1;
        keys = new long[slots];
        values = new Object[slots];
        this.limit = limit;
    }

    int size() {
        return size;
    }

    boolean isFull() {
        return size >= limit;
    }

    @SuppressWarnings("unchecked") // only put() stores
    V get(long key) {
        return (V) values[slot(key)];
    }

    /** Returns false, and does nothing, if the key is new and the map full. */
    boolean put(long key, V value) {
        int slot = slot(key);
        if (keys[slot] == 0) {
            if (size >= limit) {
                return false;
            }
            size++;
            keys[slot] = key;
        }
        values[slot] = value;
        return true;
    }

    @SuppressWarnings("unchecked") // only put() stores
    void forEach(ObjLongConsumer<V> action) {
        for (int i = 0; i < keys.length; i++) {
            if (keys[i] != 0) {
                action.accept((V) values[i], keys[i]);
            }
        }
    }

    /** Keeps only the values that pass. */
    @SuppressWarnings("unchecked") // only put() stores
    void retain(Predicate<V> keep) {
        long[] oldKeys = keys.clone();
        Object[] oldValues = values.clone();
        Arrays.fill(keys, 0);
        Arrays.fill(values, null);
        size = 0;
        for (int i = 0; i < oldKeys.length; i++) {
            if (oldKeys[i] != 0 && keep.test((V) oldValues[i])) {
                put(oldKeys[i], (V) oldValues[i]);
            }
        }
    }

    private int slot(long key) {
        int mask = keys.length - 1;
        int slot = (int) (key * 0x9e3779b97f4a7c15L >>> 32) & mask;
        while (keys[slot] != 0 && keys[slot] != key) {
            slot = slot + 1 & mask;
        }
        return slot;
    }
}
