package io.rampipe.sync.journal.internal;

import io.rampipe.linux.Stat;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What is known of one pin since its last syncback, only to be faster: which entries of its upper
 * layer are on disk already. Bounded; what is not remembered is compared.
 */
final class Memory {
    /** An entry of 100,000 takes about 100 bytes. */
    static final int MOST = 100_000;

    /**
     * A file or directory that is on disk.
     *
     * @param change change time of the upper one, nanoseconds
     * @param lower inode number of the one on disk
     * @param lowerChange its change time
     * @param names how many names it has in upper
     */
    record Entry(long change, long size, long lower, long lowerChange, int names) {
        boolean matches(Stat upper) {
            return change == Digest.change(upper) && size == upper.size();
        }

        boolean onDisk(Stat found) {
            return found != null && found.inode() == lower && Digest.change(found) == lowerChange;
        }
    }

    /**
     * What the data of a file on disk is, as far as it was compared or written.
     *
     * @param strong two numbers for each block, see {@link BlockHash}; 0 is a hole, and so is what
     *     is behind the end
     * @param inode of the file on disk
     * @param change its change time, nanoseconds
     */
    record Blocks(long[] strong, long inode, long change) {
        boolean is(Stat found) {
            return found.inode() == inode && Digest.change(found) == change;
        }

        boolean isHole(int block) {
            return 2 * block >= strong.length || has(block, 0, 0);
        }

        boolean has(int block, long high, long low) {
            return 2 * block < strong.length
                    && strong[2 * block] == high
                    && strong[2 * block + 1] == low;
        }
    }

    private final Map<Long, Entry> entries = new HashMap<>();
    private final Map<Long, Blocks> blocks = new HashMap<>();
    private Digest last;
    private long sequence;
    private Set<Drift.Found> told = Set.of();
    private long uncertain;
    private long applied;

    Entry get(long inode) {
        return entries.get(inode);
    }

    void put(long inode, Entry entry) {
        if (entries.size() < MOST || entries.containsKey(inode)) {
            entries.put(inode, entry);
        }
    }

    /** By the inode number on disk; null if nothing is known. */
    Blocks blocks(long inode) {
        return blocks.get(inode);
    }

    void put(Blocks known) {
        if (blocks.size() < MOST || blocks.containsKey(known.inode())) {
            blocks.put(known.inode(), known);
        }
    }

    void removeBlocks(long inode) {
        blocks.remove(inode);
    }

    void remove(long inode) {
        entries.remove(inode);
    }

    /** Everything as of this digest is safe on disk; null if that is not known. */
    Digest last() {
        return last;
    }

    void last(Digest digest) {
        last = digest;
    }

    long nextSequence(long atLeast) {
        sequence = Math.max(sequence + 1, atLeast);
        return sequence;
    }

    /**
     * The log of that sequence number has its place, but may not have it on disk; 0 if there is no
     * such log.
     */
    void uncertain(long log) {
        uncertain = log;
    }

    long uncertain() {
        return uncertain;
    }

    /** As much of that log as can be applied while the overlay is mounted is on disk. */
    void applied(long log) {
        applied = log;
    }

    long applied() {
        return applied;
    }

    /** Whether these conflicts have been told. */
    boolean knows(List<Drift.Found> conflicts) {
        return told.containsAll(conflicts);
    }

    /** These conflicts have been told. */
    void told(List<Drift.Found> conflicts) {
        told = Set.copyOf(conflicts);
    }

    void forgetAll() {
        entries.clear();
        blocks.clear();
        last = null;
        applied = 0;
    }
}
