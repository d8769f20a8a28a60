package io.rampipe.sync.journal.internal;

import java.io.IOException;

/** The upper layer changed while it was being read; what was read may belong to no one moment. */
final class MovingException extends IOException {
    private static final long serialVersionUID = 1L;

    MovingException(String what) {
        super(what + " changes while it is being copied");
    }
}
