package io.rampipe.api;

import java.io.IOException;

/**
 * The target's disk has no room (or no quota) for the syncback. The pin stays; its data is in RAM.
 */
public class DiskFullException extends IOException {
    private static final long serialVersionUID = 1L;

    public DiskFullException(String message, Throwable because) {
        super(message, because);
    }
}
