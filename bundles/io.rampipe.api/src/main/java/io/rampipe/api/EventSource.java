package io.rampipe.api;

import java.io.IOException;
import java.util.Collection;
import org.osgi.annotation.versioning.ConsumerType;

/**
 * Watches files. A service with the property {@link Names#NAME}; several may be there, the engine
 * uses one.
 */
@ConsumerType
public interface EventSource {
    /**
     * Whether this machine lets this source work, and if not, why and what to do; empty means that
     * it does. Called before {@link #open}; changes nothing.
     */
    java.util.Optional<String> unusable();

    /** Opens a session without any watch. The caller closes it. */
    Session open() throws IOException;

    /**
     * What is watched at present. All methods but {@link #wake} and {@link #stats} are called by
     * one thread at a time.
     */
    @ConsumerType
    interface Session extends AutoCloseable {
        /**
         * Watches exactly these directories and everything below (or more, such as the whole file
         * system: the engine drops what is outside with {@link #ignore}). Called again when the
         * configuration changes. Throws, naming the directory, if one cannot be watched; the others
         * are watched all the same.
         */
        void watch(Collection<FilePath> roots) throws IOException;

        /**
         * Watches the mount that a pin has put over its target.
         *
         * @param pin the pin
         * @param directory the identity that events of this mount carry in {@link
         *     AccessEvent#directory}
         */
        void pinned(Pin pin, long directory) throws IOException;

        /** Ends {@link #pinned}, before the target is unmounted. Harmless if it was not watched. */
        void unpinned(Pin pin);

        /**
         * Events of this directory are no longer wanted. May be forgotten by the source at any time
         * (it must when a directory is moved, which may carry others into a watched place).
         */
        void ignore(long directory);

        /**
         * Waits until there are events, {@link #wake} is called, or the time is over. Returns true
         * if there are events.
         *
         * @param nanos how long to wait at most; negative: for ever
         */
        boolean await(long nanos) throws IOException;

        /** Ends a wait at once, from any thread. */
        void wake();

        /**
         * Hands over everything that is queued, and returns how many events the kernel delivered.
         */
        int drain(AccessListener listener) throws IOException;

        SourceStats stats();

        @Override
        void close();
    }

    /**
     * Counters since the session was opened.
     *
     * @param events delivered by the kernel
     * @param own of these, caused by this process and dropped
     * @param overflows how often the kernel's queue ran over
     * @param marks marks or watches set at present
     * @param silenced files or mounts that are being sampled at present instead of watched all the
     *     time
     * @param mode in a few words for people, such as {@code "file handles"}
     */
    record SourceStats(
            long events, long own, long overflows, int marks, int silenced, String mode) {}
}
