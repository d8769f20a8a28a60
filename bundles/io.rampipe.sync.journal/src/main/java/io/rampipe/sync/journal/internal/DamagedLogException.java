package io.rampipe.sync.journal.internal;

import java.io.IOException;

/** A redo log that is not exactly what was committed. It must not be applied. */
final class DamagedLogException extends IOException {
    private static final long serialVersionUID = 1L;

    DamagedLogException(String message) {
        super(message);
    }
}
