package io.rampipe.engine.internal;

import io.rampipe.linux.NativeHeap;

/**
 * Gives back the memory that the daemon itself has needed and does not need any more: a start, or
 * the pin of a large directory, take more than half as much again as is in use afterwards, and an
 * idle JVM collects nothing. One thread.
 */
final class Thrift {
    private static final long SECOND = 1_000_000_000L;

    /** The start has come to its end by then. */
    private static final long FIRST = 5 * SECOND;

    /** A full collection takes some 30 ms: seldom enough to be nothing. */
    private static final long PAUSE = 600 * SECOND;

    private long next;
    private long held;

    Thrift(long now) {
        next = now + FIRST;
    }

    /** Nanoseconds until {@link #round} may have something to do. */
    long untilNext(long now) {
        return Math.max(1, next - now);
    }

    /** Call it whenever nothing urgent is to be done; it looks at times that it chooses itself. */
    void round(long now) {
        if (now - next < 0) {
            return;
        }
        next = now + PAUSE;
        long resident = Memory.resident();
        if (resident <= held + held / 8) {
            return;
        }
        // What the first finds dead is what loads classes; with the second they go too.
        System.gc();
        System.gc();
        NativeHeap.trim();
        held = Memory.resident();
    }
}
