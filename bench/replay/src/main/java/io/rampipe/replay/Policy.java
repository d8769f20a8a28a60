package io.rampipe.replay;

/**
 * When the engine pins and unpins: {@code pin.rate}, {@code unpin.rate}, {@code pin.min_time}.
 *
 * @param minTime nanoseconds
 */
record Policy(double pinRate, double unpinRate, long minTime) {
    static final long SECOND = 1_000_000_000L;

    /** The engine's defaults. */
    static final Policy DEFAULT = new Policy(1, 0.2, 30 * SECOND);
}
