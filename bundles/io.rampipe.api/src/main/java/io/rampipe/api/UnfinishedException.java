package io.rampipe.api;

import java.io.IOException;

/**
 * The last syncback of a pin stopped halfway: its redo log is committed, but directories on disk
 * have begun to change places, so that what is in RAM fits neither what was there nor what is there
 * now. The mount must not be put back. Nothing is lost: the RAM and the log both have all of it,
 * and another last syncback, or recovery, finishes it.
 */
public class UnfinishedException extends IOException {
    private static final long serialVersionUID = 1L;

    public UnfinishedException(String message, Throwable because) {
        super(message, because);
    }
}
