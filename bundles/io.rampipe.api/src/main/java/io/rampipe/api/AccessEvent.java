package io.rampipe.api;

import org.osgi.annotation.versioning.ConsumerType;

/**
 * One event, seen through a window that the source moves on: valid only during the call that hands
 * it over, on that thread. Reading the numbers allocates nothing.
 */
@ConsumerType
public interface AccessEvent {
    /**
     * Identity of the directory that holds the file: equal for equal directories as long as they
     * exist, 0 never. Of a pinned directory target and all directories below it: the identity given
     * to {@link EventSource.Session#pinned}.
     */
    long directory();

    /** Identity of the file: of its directory and its name together. 0 never. */
    long file();

    /** Bits of {@link Access}. */
    int kinds();

    /** How many accesses it stands for: 1, or more while the source samples. */
    double scale();

    /** Process that did it, as this process sees its number; 0 if that is not known. */
    default int process() {
        return 0;
    }

    /**
     * What is needed to find the path later. Allocates: ask only for files whose rate is worth it.
     */
    Location locate();

    /**
     * Where an event happened. Outlives the event; any thread; not closed by anyone (it holds no
     * descriptor).
     */
    @ConsumerType
    interface Location {
        /**
         * The directory's path now. Empty if it is gone or cannot be seen from this mount
         * namespace.
         */
        java.util.Optional<FilePath> directory();

        /** The name in that directory when the event happened. */
        FilePath name();
    }
}
