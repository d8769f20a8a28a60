package io.rampipe.engine.internal;

import io.rampipe.linux.NativeHeap;
import java.util.function.LongSupplier;

/**
 * Gives back the memory that the daemon itself has needed and does not need any more: a start, or
 * the pin of a large directory, take much more than is in use afterwards, and an idle JVM collects
 * nothing. One thread.
 */
final class Thrift {
    private static final long SECOND = 1_000_000_000L;

    /** The start has come to its end by then. */
    static final long FIRST = 5 * SECOND;

    /** Two full collections take some 50 ms: seldom enough to be nothing. */
    static final long PAUSE = 600 * SECOND;

    private final LongSupplier resident;
    private final Runnable collection;
    private long next;
    private long held;

    Thrift(long now) {
        this(now, Memory::resident, Thrift::collect);
    }

    /** For tests. */
    Thrift(long now, LongSupplier resident, Runnable collection) {
        this.resident = resident;
        this.collection = collection;
        next = now + FIRST;
    }

    /** Nanoseconds until {@link #round} may have something to do. */
    long untilNext(long now) {
        return Math.max(1, next - now);
    }

    /** To be called whenever nothing urgent is to be done; it chooses the time itself. */
    void round(long now) {
        if (now - next < 0) {
            return;
        }
        next = now + PAUSE;
        if (resident.getAsLong() > held + held / 8) {
            collection.run();
            held = resident.getAsLong();
        }
    }

    private static void collect() {
        // Class loaders that the first one finds dead have their memory freed by the second.
        System.gc();
        System.gc();
        NativeHeap.trim();
    }
}
