package io.rampipe.sync.journal.internal;

/** Told of each call that changes the disk, before it is made. Tests stop here. */
@FunctionalInterface
interface Steps {
    Steps NONE = what -> {};

    void before(String what);
}
