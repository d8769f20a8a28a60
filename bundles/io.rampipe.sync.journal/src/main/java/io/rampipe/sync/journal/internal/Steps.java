package io.rampipe.sync.journal.internal;

import java.io.IOException;

/**
 * Told of each call that changes the disk, before it is made. Tests stop here, or throw what the
 * call could have failed with.
 */
@FunctionalInterface
interface Steps {
    Steps NONE = what -> {};

    void before(String what) throws IOException;
}
