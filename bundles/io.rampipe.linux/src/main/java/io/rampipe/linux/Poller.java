package io.rampipe.linux;

import com.sun.jna.Memory;
import java.util.List;

/**
 * Waits until one of some descriptors can be read ({@code poll(2)}), or until another thread ends
 * the wait ({@code eventfd(2)}). All methods but {@link #wake} are called by one thread.
 */
public final class Poller implements AutoCloseable {
    private static final int EFD_NONBLOCK = 04000;
    private static final int POLLFD = 8;
    private static final short POLLIN = 1;
    private static final int NANOS_PER_MILLI = 1_000_000;

    private final Fd wakeUp;
    private final Memory counter = new Memory(8);
    private final Memory one = new Memory(8);
    private Memory fds = new Memory(POLLFD);
    private int count = 1;

    public Poller() throws LinuxException {
        wakeUp = Fd.check(LibC.eventfd(0, At.O_CLOEXEC | EFD_NONBLOCK), "open", "eventfd");
        one.setLong(0, 1);
        watch(List.of());
    }

    /** Waits for exactly these from now on. They stay the caller's. */
    public void watch(List<Fd> read) {
        count = 1 + read.size();
        fds = new Memory((long) count * POLLFD);
        set(0, wakeUp);
        for (int i = 1; i < count; i++) {
            set(i, read.get(i - 1));
        }
    }

    private void set(int i, Fd fd) {
        fds.setInt((long) i * POLLFD, fd.number());
        fds.setInt((long) i * POLLFD + 4, POLLIN);
    }

    /** How a wait ended. */
    public enum Outcome {
        /** A descriptor can be read. */
        READY,
        /** {@link #wake} was called. */
        WOKEN,
        /** The time is over, or nearly so, or a signal came. */
        TIME_OUT
    }

    /**
     * Waits for all of it.
     *
     * @param nanos how long at most, rounded up to milliseconds; negative: for ever; 0: only looks
     */
    public Outcome await(long nanos) throws LinuxException {
        return poll(count, nanos);
    }

    /** Waits for {@link #wake} alone. */
    public Outcome awaitWake(long nanos) throws LinuxException {
        return poll(1, nanos);
    }

    private Outcome poll(int most, long nanos) throws LinuxException {
        int n = LibC.poll(fds, most, millis(nanos));
        if (n < 0) {
            if (LibC.errno() == Errno.EINTR) {
                return Outcome.TIME_OUT;
            }
            throw LinuxException.last("poll", "events");
        }
        if (n > 0 && revents(0) != 0) {
            LibC.read(wakeUp.number(), counter, 8);
            return Outcome.WOKEN;
        }
        return n > 0 ? Outcome.READY : Outcome.TIME_OUT;
    }

    private int revents(int i) {
        return fds.getShort((long) i * POLLFD + 6);
    }

    private static int millis(long nanos) {
        return nanos < 0
                ? -1
                : (int)
                        Math.min(
                                Integer.MAX_VALUE,
                                nanos / NANOS_PER_MILLI + (nanos % NANOS_PER_MILLI == 0 ? 0 : 1));
    }

    /** Ends a wait, or the next one if there is none. Any thread; nothing if this is closed. */
    public void wake() {
        // close() must not free the number between the check and the write.
        synchronized (wakeUp) {
            if (wakeUp.isOpen()) {
                LibC.write(wakeUp.number(), one, 8);
            }
        }
    }

    @Override
    public void close() {
        synchronized (wakeUp) {
            wakeUp.close();
        }
    }
}
