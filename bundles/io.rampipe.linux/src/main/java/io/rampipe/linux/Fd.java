package io.rampipe.linux;

import io.rampipe.api.FilePath;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * An open file descriptor. Whoever gets one from a call closes it. Closing twice is harmless. Any
 * thread.
 */
public final class Fd implements AutoCloseable {
    /**
     * The current directory, for calls that take a directory and an absolute path ({@code
     * AT_FDCWD}).
     */
    public static final Fd CWD = new Fd(-100, FilePath.of("/"));

    private static final int CLOSED = -1;

    private final AtomicInteger number;
    private final Object subject;

    private Fd(int number, Object subject) {
        this.number = new AtomicInteger(number);
        this.subject = subject;
    }

    /** Takes over a descriptor. {@code subject} is what messages call it. */
    static Fd of(int number, Object subject) {
        return new Fd(number, subject);
    }

    /** Takes over the result of a call, which failed if it is negative. */
    static Fd check(int result, String call, Object subject) throws LinuxException {
        if (result < 0) {
            throw LinuxException.last(call, subject);
        }
        return new Fd(result, subject);
    }

    /** The result of a call that returns a number, and failed if it is negative. */
    static int checkNumber(int result, String call, Object subject) throws LinuxException {
        if (result < 0) {
            throw LinuxException.last(call, subject);
        }
        return result;
    }

    /** The number, valid until this is closed. */
    public int number() {
        int n = number.get();
        if (n == CLOSED) {
            throw new IllegalStateException("descriptor of " + subject + " is closed");
        }
        return n;
    }

    /** A second descriptor of the same open file. */
    public Fd duplicate() throws LinuxException {
        return check(LibC.fcntl(number(), 1030 /* F_DUPFD_CLOEXEC */, 0), "dup", subject);
    }

    /**
     * A path that leads to exactly this file whatever its name is now ({@code proc_pid_fd(5)});
     * works for O_PATH as well.
     */
    public FilePath magicPath() {
        return FilePath.of("/proc/self/fd/" + number());
    }

    /**
     * What the kernel calls it now; for messages and for finding a path late. Never for opening it
     * again.
     */
    public FilePath currentPath() throws LinuxException {
        return At.readLink(CWD, magicPath());
    }

    public boolean isOpen() {
        return number.get() != CLOSED;
    }

    @Override
    public void close() {
        if (this == CWD) {
            return;
        }
        int n = number.getAndSet(CLOSED);
        if (n >= 0) {
            LibC.close(n);
        }
    }

    @Override
    public String toString() {
        return subject.toString();
    }
}
