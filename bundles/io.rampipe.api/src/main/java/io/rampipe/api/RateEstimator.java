package io.rampipe.api;

import org.osgi.annotation.versioning.ConsumerType;

/**
 * Turns accesses into rates, in accesses per second. Keys are {@link AccessEvent#file} and {@link
 * AccessEvent#directory}: the engine adds each access under both, so a directory's rate is the sum
 * of its files'. A service with the property {@link Names#NAME}.
 *
 * <p>Each instance is used by one thread at a time. Times are in nanoseconds of one monotonic clock
 * ({@link System#nanoTime}) and never go back. Memory is bounded whatever the number of keys: when
 * full, the coldest are forgotten first.
 */
@ConsumerType
public interface RateEstimator {
    /**
     * Counts an access and returns the key's rate just after it. Allocates nothing (growing a table
     * now and then aside).
     *
     * @param weight how much it counts; above 0, finite
     */
    double add(long key, double weight, long now);

    /** The key's rate at that moment; 0 if unknown or forgotten. Never negative, never NaN. */
    double rate(long key, long now);

    /**
     * Starts a key off at a rate, as when it is carried over from another estimator or an earlier
     * run.
     */
    void seed(long key, double rate, long now);

    void forget(long key);

    /** Number of keys held. */
    int size();

    /** Bytes held for them. */
    long memory();
}
