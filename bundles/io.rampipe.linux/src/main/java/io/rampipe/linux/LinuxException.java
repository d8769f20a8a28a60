package io.rampipe.linux;

import java.io.IOException;

/** A system call failed. The message names the call, the thing and the error. */
public class LinuxException extends IOException {
    private static final long serialVersionUID = 1L;

    private final String call;
    private final int errno;

    public LinuxException(String call, Object subject, int errno) {
        super(call + " " + subject + ": " + Errno.text(errno));
        this.call = call;
        this.errno = errno;
    }

    /** For the call that just failed on this thread. */
    static LinuxException last(String call, Object subject) {
        return new LinuxException(call, subject, LibC.errno());
    }

    public String call() {
        return call;
    }

    /** A constant of {@link Errno}, usually. */
    public int errno() {
        return errno;
    }

    public boolean is(int... errnos) {
        for (int e : errnos) {
            if (e == errno) {
                return true;
            }
        }
        return false;
    }
}
