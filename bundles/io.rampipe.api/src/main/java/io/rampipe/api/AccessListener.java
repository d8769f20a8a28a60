package io.rampipe.api;

import org.osgi.annotation.versioning.ConsumerType;

/**
 * Takes events. Called on the thread that drains, and must return in well under a microsecond: no
 * locks, no allocation, no I/O.
 */
@ConsumerType
public interface AccessListener {
    void access(AccessEvent event);

    /** The kernel's queue ran over: an unknown number of events was lost. */
    void overflow();
}
