package io.rampipe.sync.journal.internal;

import java.util.ArrayList;
import java.util.List;

/**
 * What is on disk of a file, block by block, where that is known: a hash, or that there is a hole.
 * Memory is taken for those parts of the file only of which something is known. One thread.
 */
final class KnownBlocks {
    private static final int SHIFT = 10;
    private static final int PART = 1 << SHIFT;
    private static final long HOLE = 1;

    private final List<long[]> parts = new ArrayList<>();

    private long[] part(long block) {
        int i = (int) (block >> SHIFT);
        return i < parts.size() ? parts.get(i) : null;
    }

    private static int index(long block) {
        return 2 * (int) (block & PART - 1);
    }

    boolean isHole(long block) {
        long[] p = part(block);
        return p != null && p[index(block)] == 0 && p[index(block) + 1] == HOLE;
    }

    boolean has(long block, long high, long low) {
        long[] p = part(block);
        return p != null && p[index(block)] == high && p[index(block) + 1] == low;
    }

    /** Whether anything is known of it. */
    boolean knows(long block) {
        long[] p = part(block);
        return p != null && (p[index(block)] != 0 || p[index(block) + 1] != 0);
    }

    /** One in {@code 2^128} hashes is taken for a hole: as likely as that two are equal. */
    void put(long block, long high, long low) {
        int i = (int) (block >> SHIFT);
        while (parts.size() <= i) {
            parts.add(null);
        }
        long[] p = parts.get(i);
        if (p == null) {
            p = new long[2 * PART];
            parts.set(i, p);
        }
        p[index(block)] = high;
        p[index(block) + 1] = low;
    }

    void hole(long block) {
        put(block, 0, HOLE);
    }

    /** Blocks from this one on are not there any more. */
    void cut(long from) {
        for (long b = from; b < (long) parts.size() << SHIFT; b++) {
            long[] p = part(b);
            if (p == null) {
                b |= PART - 1;
            } else {
                p[index(b)] = 0;
                p[index(b) + 1] = 0;
            }
        }
    }

    void clear() {
        parts.clear();
    }

    /** Takes over all that the other one knows. */
    void putAll(KnownBlocks other) {
        for (int i = 0; i < other.parts.size(); i++) {
            long[] p = other.parts.get(i);
            for (int j = 0; p != null && j < PART; j++) {
                if (p[2 * j] != 0 || p[2 * j + 1] != 0) {
                    put(((long) i << SHIFT) + j, p[2 * j], p[2 * j + 1]);
                }
            }
        }
    }
}
