package io.rampipe.sync.merge.internal;

import java.io.IOException;

/** Told of each step before it is taken. Tests stop here. */
@FunctionalInterface
interface Steps {
    Steps NONE = what -> {};

    void before(String what) throws IOException;
}
