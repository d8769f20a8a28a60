package io.rampipe.source.fanotify.internal;

import java.util.Arrays;

/**
 * A bounded set of identities (well-mixed, not 0). One that is full forgets everything. A look-up
 * is one probe, mostly.
 */
final class LongSet {
    private static final int SMALLEST = 256;

    private final int most;
    private long[] slots = new long[2 * SMALLEST];
    private int size;

    /**
     * @param most a power of two
     */
    LongSet(int most) {
        this.most = most;
    }

    boolean contains(long identity) {
        return slots[slot(slots, identity)] == identity;
    }

    void add(long identity) {
        int at = slot(slots, identity);
        if (slots[at] == identity) {
            return;
        }
        if (size == most) {
            clear();
            at = slot(slots, identity);
        } else if (2 * size == slots.length) {
            long[] larger = new long[2 * slots.length];
            for (long each : slots) {
                if (each != 0) {
                    larger[slot(larger, each)] = each;
                }
            }
            slots = larger;
            at = slot(slots, identity);
        }
        slots[at] = identity;
        size++;
    }

    void clear() {
        if (size > 0) {
            Arrays.fill(slots, 0);
            size = 0;
        }
    }

    int size() {
        return size;
    }

    private static int slot(long[] slots, long identity) {
        int at = (int) identity & slots.length - 1;
        while (slots[at] != 0 && slots[at] != identity) {
            at = at + 1 & slots.length - 1;
        }
        return at;
    }
}
