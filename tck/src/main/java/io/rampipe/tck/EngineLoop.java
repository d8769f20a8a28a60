package io.rampipe.tck;

import io.rampipe.api.AccessListener;
import io.rampipe.api.EventSource;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.Callable;
import java.util.concurrent.locks.LockSupport;

/** Uses a session as the engine does: waits for events, then for the tick, then drains. */
public final class EngineLoop {
    public static final long TICK_NANOS = 50_000_000;

    private EngineLoop() {}

    /** Until the condition holds; false if it did not within the limit. */
    public static boolean run(
            EventSource.Session session,
            AccessListener listener,
            Duration limit,
            Callable<Boolean> done)
            throws Exception {
        long end = System.nanoTime() + limit.toNanos();
        while (!done.call()) {
            if (System.nanoTime() - end > 0) {
                return false;
            }
            tick(session, listener);
        }
        return true;
    }

    private static void tick(EventSource.Session session, AccessListener listener)
            throws IOException {
        long start = System.nanoTime();
        // The engine has other work to do now and then, so that it never waits for ever here.
        if (session.await(Duration.ofSeconds(1).toNanos())) {
            LockSupport.parkNanos(start + TICK_NANOS - System.nanoTime());
            session.drain(listener);
        }
    }
}
