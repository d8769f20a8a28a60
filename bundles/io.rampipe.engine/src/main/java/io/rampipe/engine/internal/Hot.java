package io.rampipe.engine.internal;

import io.rampipe.api.AccessEvent.Location;
import io.rampipe.api.FilePath;

/**
 * A directory or file whose rate is worth a name. Made and counted by the sensing thread; the path
 * is found by the choosing thread, late and seldom.
 */
final class Hot {
    final long key;

    /** Key of the directory that holds the file; the own key for a directory. */
    final long directory;

    final Location location;

    /** At the last evaluation; accesses a second. */
    volatile double rate;

    /**
     * A file seen being created, deleted, moved or replaced while it was watched: it is not (only)
     * written in place.
     */
    volatile boolean replaced;

    /** As last found; null before. */
    volatile FilePath path;

    Hot(long key, long directory, Location location) {
        this.key = key;
        this.directory = directory;
        this.location = location;
    }

    boolean isDirectory() {
        return key == directory;
    }
}
