package io.rampipe.api;

import java.io.IOException;

/**
 * The pin's mount is in use and cannot be taken away now; nothing changed. The message says by
 * whom, if known.
 */
public class BusyException extends IOException {
    private static final long serialVersionUID = 1L;

    public BusyException(String message) {
        super(message);
    }
}
