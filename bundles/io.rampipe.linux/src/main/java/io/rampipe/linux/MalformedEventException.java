package io.rampipe.linux;

import java.io.IOException;

/** The kernel's queue held something that is no event as {@code fanotify(7)} describes it. */
public final class MalformedEventException extends IOException {
    private static final long serialVersionUID = 1L;

    MalformedEventException(String message) {
        super(message);
    }
}
