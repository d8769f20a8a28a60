package io.rampipe.engine.internal;

import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.atomic.AtomicIntegerArray;

/**
 * The processes that have changed something in a pin of late, as far as the event source tells: a
 * few of them, the latest. One thread adds, without allocating; any thread asks.
 */
final class RecentWriters {
    private static final int MOST = 16;

    private final AtomicIntegerArray processes = new AtomicIntegerArray(MOST);
    private int last;
    private int next;

    /**
     * @param process 0: not known
     */
    void add(int process) {
        if (process <= 0 || process == last) {
            return;
        }
        last = process;
        for (int i = 0; i < MOST; i++) {
            if (processes.getPlain(i) == process) {
                return;
            }
        }
        processes.setOpaque(next, process);
        next = (next + 1) % MOST;
    }

    /** Some may have ended since. */
    Set<Integer> processes() {
        Set<Integer> all = new HashSet<>();
        for (int i = 0; i < MOST; i++) {
            int process = processes.getOpaque(i);
            if (process != 0) {
                all.add(process);
            }
        }
        return all;
    }
}
