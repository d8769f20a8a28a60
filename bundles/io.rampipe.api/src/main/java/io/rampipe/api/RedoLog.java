package io.rampipe.api;

import java.io.IOException;
import java.util.Optional;
import org.osgi.annotation.versioning.ConsumerType;
import org.osgi.annotation.versioning.ProviderType;

/**
 * A safety net for a syncback that writes to the file on disk by its own means, which a power cut
 * could interrupt: all that it is going to change is in a redo log before, which recovery applies.
 */
@ProviderType
public interface RedoLog {
    /**
     * Writes what the pin has in RAM into a redo log. Durable when this returns.
     *
     * @param pin of a format that the service understands
     * @param hold called when the log is about to be written; from its return until {@link
     *     Committed#close} nothing of what is in RAM may change
     * @return empty, with nothing changed, if there is nothing to write to: others have changed the
     *     file on disk, so that what is in RAM has to go elsewhere
     * @throws BusyException if programs use it; {@code hold} was not called
     * @throws DiskFullException if there is no room; nothing changed
     */
    Optional<Committed> commit(Pin pin, Hold hold) throws IOException;

    /** Keeps programs from changing anything. */
    @FunctionalInterface
    @ConsumerType
    interface Hold {
        void take() throws IOException;
    }

    /** A log that is committed and not applied. One thread. */
    @ProviderType
    interface Committed extends AutoCloseable {
        /**
         * The file on disk has all that is in the log, durably: gives it the attributes that the
         * log has, and drops the log.
         */
        SyncBack.Result done() throws IOException;

        /**
         * If it is not {@link #done}, the next syncback of the pin, or recovery, applies it. To be
         * called when programs go on.
         */
        @Override
        void close();
    }
}
