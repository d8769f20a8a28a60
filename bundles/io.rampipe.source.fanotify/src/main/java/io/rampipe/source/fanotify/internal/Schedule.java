package io.rampipe.source.fanotify.internal;

import java.util.SplittableRandom;

/**
 * When to look at what is silenced: in each slot of time one window, somewhere in it at random, so
 * that no periodic writer can always be missed. An access seen in a window stands for as many as
 * windows fit into the slot: then the expected rate is the true one (stratified sampling).
 *
 * <p>Holds no clock. Times are in nanoseconds of one monotonic clock.
 */
final class Schedule {
    /** Windows that fit into a slot. */
    static final int SHARE = 10;

    private static final double MOST_SCALE = 4 * SHARE;

    private final SplittableRandom random;
    private boolean running;
    private boolean open;
    private long window;
    private long slotStart;
    private long opened;
    private long due;
    private double scale = SHARE;

    Schedule(SplittableRandom random) {
        this.random = random;
    }

    boolean running() {
        return running;
    }

    /** Starts with windows of this length. */
    void start(long now, long windowNanos) {
        running = true;
        open = false;
        window = windowNanos;
        scale = SHARE;
        plan(now);
    }

    /** Ends all; the window must be closed. */
    void stop() {
        running = false;
    }

    /** Time until the next {@link #open} or {@link #close}; 0 or less if it is due. */
    long remaining(long now) {
        return due - now;
    }

    boolean isOpen() {
        return open;
    }

    void open(long now) {
        open = true;
        opened = now;
        due = now + window;
    }

    /** Whether the window has been open for half its time: closing it now is better than later. */
    boolean ripe(long now) {
        return open && now - opened >= window / 2;
    }

    void close(long now) {
        open = false;
        long slotEnd = slotStart + SHARE * window;
        if (now - slotEnd > 0) {
            slotEnd = now;
        }
        scale = Math.min(MOST_SCALE, (slotEnd - slotStart) / (double) Math.max(1, now - opened));
        plan(slotEnd);
    }

    /** How many accesses one stands for that was seen in the window, or in the last one. */
    double scale() {
        return scale;
    }

    private void plan(long start) {
        slotStart = start;
        due = start + random.nextLong((SHARE - 1) * window);
    }
}
