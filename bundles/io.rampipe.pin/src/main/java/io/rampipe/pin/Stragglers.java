package io.rampipe.pin;

import io.rampipe.api.FilePath;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.linux.InFlight;
import java.io.IOException;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;

/**
 * Programs that may have found a target on disk just before it was covered, and are still on their
 * way to change it: an opener that has not come to the lease yet, a {@code rename(2)} that has both
 * directories. They get a processor when the machine has one for them, so they are waited for, not
 * timed; what they did shows when the target is looked at after that. Used once, by one thread.
 */
public final class Stragglers {
    private static final long POLL_NANOS = 1_000_000;

    /** Openers wait for the leases meanwhile. */
    private static final long PATIENCE_NANOS = 2_000_000_000L;

    private final FilePath target;
    private final InFlight calls;
    private final long since = System.nanoTime();

    private Stragglers(FilePath target, InFlight calls) {
        this.target = target;
        this.calls = calls;
    }

    /** To be called when the target is covered: who comes later meets the mount. */
    public static Stragglers of(FilePath target) throws IOException {
        return new Stragglers(target, InFlight.now());
    }

    /** Looks whether anybody has come past the mount; throws if so. */
    @FunctionalInterface
    public interface Check {
        void check() throws IOException;
    }

    /**
     * Waits for all of them.
     *
     * @param check called again and again meanwhile, and once more when all have arrived: the
     *     kernel tells of waiting openers by a signal only, which Java cannot wait for
     * @throws RefusedException if one does not arrive
     */
    public void await(Check check) throws IOException {
        while (true) {
            check.check();
            Optional<String> one = calls.remaining();
            if (one.isEmpty()) {
                check.check();
                return;
            }
            if (System.nanoTime() - since > PATIENCE_NANOS) {
                throw new RefusedException(
                        Cause.IN_USE,
                        one.get()
                                + " has been in a system call since before "
                                + target
                                + " was covered, and may change it on disk");
            }
            LockSupport.parkNanos(POLL_NANOS);
        }
    }
}
