package io.rampipe.testkit;

import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.function.Supplier;

/** Waiting for something, with a deadline. */
public final class Await {
    private static final long POLL_MILLIS = 10;

    private Await() {}

    /**
     * Returns as soon as the condition holds; fails with {@code otherwise} if it does not within
     * the limit.
     */
    public static void until(
            Duration limit, Callable<Boolean> condition, Supplier<String> otherwise)
            throws Exception {
        long end = System.nanoTime() + limit.toNanos();
        while (!condition.call()) {
            if (System.nanoTime() - end > 0) {
                throw new AssertionError("not within " + limit + ": " + otherwise.get());
            }
            Thread.sleep(POLL_MILLIS);
        }
    }
}
