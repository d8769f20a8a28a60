package io.rampipe.sync.journal.internal;

import io.rampipe.linux.Extents.Extent;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;

/**
 * What of a file in RAM may differ from the one on disk, by where its blocks are and which of them
 * the snapshot's store has. No data is read.
 *
 * <ul>
 *   <li>A block at home, which the store has not: it is read from the file on disk, so it is the
 *       same.
 *   <li>A hole, or what was allocated and never written: zeros.
 *   <li>Everything else may differ.
 * </ul>
 */
final class SnapshotPlan {
    /**
     * Blocks that follow each other.
     *
     * @param from and to: exclusive; in blocks of the file
     */
    record Range(long from, long to) {}

    private final List<Range> data = new ArrayList<>();
    private final List<Range> holes = new ArrayList<>();
    private final BitSet referenced = new BitSet();
    private final BitSet moved = new BitSet();
    private final long size;
    private long[] places = {};
    private int[] stored = new int[256];
    private int storedCount;

    private SnapshotPlan(long size) {
        this.size = size;
    }

    /**
     * The same, and which of the file's blocks are in the store.
     *
     * @param places see {@link ExceptionTable#sorted}
     */
    static SnapshotPlan withPlaces(
            SnapshotView view, long size, List<Extent> extents, long[] places) throws IOException {
        BitSet stored = new BitSet();
        for (long p : places) {
            stored.set((int) (p >>> 32));
        }
        return of(view, size, extents, stored, places);
    }

    /**
     * @param stored what the store has
     */
    static SnapshotPlan of(SnapshotView view, long size, List<Extent> extents, BitSet stored)
            throws IOException {
        return of(view, size, extents, stored, new long[0]);
    }

    private static SnapshotPlan of(
            SnapshotView view, long size, List<Extent> extents, BitSet stored, long[] places)
            throws IOException {
        SnapshotPlan plan = new SnapshotPlan(size);
        plan.places = places;
        long end = blocks(size);
        long next = 0;
        for (Extent e : extents) {
            if (!e.understood()
                    || (e.logical() | e.physical() | e.length()) % SnapshotView.BLOCK != 0) {
                throw new IOException("an extent that is not understood: " + e);
            }
            long from = e.logical() / SnapshotView.BLOCK;
            long to = from + e.length() / SnapshotView.BLOCK;
            long physical = e.physical() / SnapshotView.BLOCK;
            if (next < Math.min(from, end)) {
                add(plan.holes, next, Math.min(from, end));
            }
            next = Math.max(next, to);
            if (e.unwritten()) {
                if (from < end) {
                    add(plan.holes, from, Math.min(to, end));
                }
                continue;
            }
            for (long b = from; b < to; b++) {
                plan.block(view, b, physical + b - from, stored, end);
            }
        }
        if (next < end) {
            add(plan.holes, next, end);
        }
        return plan;
    }

    private void block(SnapshotView view, long b, long physical, BitSet stored, long end) {
        if (view.isSnapshot(physical)) {
            int home = (int) view.home(physical);
            if (!stored.get(home)) {
                referenced.set(home);
                if (home == b && b < end) {
                    return;
                }
                moved.set(home);
            } else if (b < end && places.length > 0) {
                stored(b, home);
                return;
            }
        }
        if (b < end) {
            add(data, b, b + 1);
        }
    }

    private void stored(long b, int home) {
        int at = Arrays.binarySearch(places, (long) home << 32);
        int place = (int) places[-at - 1];
        if (storedCount + 2 > stored.length) {
            stored = Arrays.copyOf(stored, 2 * stored.length);
        }
        stored[storedCount++] = place;
        stored[storedCount++] = (int) b;
    }

    /**
     * Blocks of the file that are in the store, in the order in which they are there: the upper
     * half of each number is its place, the lower half the block. What is here is not in {@link
     * #data}.
     */
    long[] inStore() {
        long[] sorted = new long[storedCount / 2];
        for (int i = 0; i < sorted.length; i++) {
            sorted[i] = (long) stored[2 * i] << 32 | stored[2 * i + 1];
        }
        Arrays.sort(sorted);
        return sorted;
    }

    private static void add(List<Range> ranges, long from, long to) {
        Range last = ranges.isEmpty() ? null : ranges.get(ranges.size() - 1);
        if (last != null && last.to == from) {
            ranges.set(ranges.size() - 1, new Range(last.from, to));
        } else {
            ranges.add(new Range(from, to));
        }
    }

    static long blocks(long bytes) {
        return (bytes + SnapshotView.BLOCK - 1) / SnapshotView.BLOCK;
    }

    long size() {
        return size;
    }

    List<Range> data() {
        return data;
    }

    List<Range> holes() {
        return holes;
    }

    /**
     * Blocks of the file on disk that are still read from it, and will be read no more if they are
     * put into the store: those that programs have moved to another place of the file, and those in
     * {@code written}.
     */
    BitSet toBeStored(BitSet written) {
        BitSet store = (BitSet) written.clone();
        store.and(referenced);
        store.or(moved);
        return store;
    }
}
