package io.rampipe.engine.internal;

import io.rampipe.api.Pin;
import java.util.Locale;
import java.util.concurrent.locks.ReentrantLock;

/**
 * A pin in this daemon's life: its record, and what need not survive. Whoever changes the pin or
 * its files holds {@link #lock}.
 */
final class LivePin {
    /** How it fares. */
    enum State {
        PINNED,
        SYNCING,
        /** To be unpinned, but in use. */
        BUSY,
        /** The last syncback failed. */
        FAILING,
        /** Its strategy or syncback is not there. */
        ORPHANED;

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    final ReentrantLock lock = new ReentrantLock();

    private final long key;
    private final RecentWriters writers = new RecentWriters();
    private volatile Pin record;
    private volatile State state;
    private volatile double rate;
    private volatile String problem = "";
    private volatile long lastSync;
    private volatile boolean gone;

    /** Nanoseconds for which it stays although it is cold, if that is more than others have. */
    volatile long grace;

    /** {@link System#nanoTime} before which it is not checkpointed, or not unpinned, again. */
    volatile long nextCheckpoint;

    volatile long nextUnpin;

    /** {@link System#nanoTime} before which its programs are not held again. */
    volatile long nextFreeze = System.nanoTime();

    /** {@link System#nanoTime} before which its RAM is not looked after again. */
    volatile long nextRelief = System.nanoTime();

    /** Of the last failure, to tell it from another; empty if it can be written. */
    volatile String cause = "";

    /** Others took its mount away, and programs go on with it. */
    volatile boolean lingers;

    /** Failures or unrest in a row: pauses grow with it. */
    volatile int setbacks;

    final long sinceNanos = System.nanoTime();

    /**
     * @param key under which its accesses are counted
     */
    LivePin(Pin record, long key, double rate, State state) {
        this.record = record;
        this.key = key;
        this.rate = rate;
        this.state = state;
    }

    long key() {
        return key;
    }

    boolean manual() {
        return record.attributes().containsKey(Pin.BY_HAND);
    }

    RecentWriters writers() {
        return writers;
    }

    Pin record() {
        return record;
    }

    void record(Pin next) {
        record = next;
    }

    State state() {
        return state;
    }

    void state(State next, String why) {
        state = next;
        problem = why;
    }

    String problem() {
        return problem;
    }

    double rate() {
        return rate;
    }

    void rate(double next) {
        rate = next;
    }

    /** Epoch milliseconds; 0 if never. */
    long lastSync() {
        return lastSync;
    }

    void synced(long when) {
        lastSync = when;
    }

    /** Unpinned: whoever still holds this object has nothing to do. */
    boolean gone() {
        return gone;
    }

    void bury() {
        gone = true;
    }

    @Override
    public String toString() {
        return record.target().toString();
    }
}
