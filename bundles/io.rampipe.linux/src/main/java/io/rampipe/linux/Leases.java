package io.rampipe.linux;

/**
 * File leases ({@code fcntl(2)}, F_SETLEASE) on open regular files. A lease of the write kind is
 * granted only while nobody else has the file open, mappings and running programs included. Whoever
 * opens the file while it is held waits in {@code open(2)} (or gets EAGAIN with O_NONBLOCK) until
 * it is released, at most {@code /proc/sys/fs/lease-break-time} seconds.
 *
 * <p>The lease belongs to the open file: it ends with {@link #release} or when the descriptor is
 * closed.
 */
public final class Leases {
    private static final int F_SETSIG = 10;
    private static final int F_SETLEASE = 1024;
    private static final int F_GETLEASE = 1025;
    private static final int F_RDLCK = 0;
    private static final int F_WRLCK = 1;
    private static final int F_UNLCK = 2;

    /**
     * The kernel reports a waiting opener with SIGIO, whose default action ends the process; SIGURG
     * is ignored by default ({@code signal(7)}), and the Java VM leaves it alone.
     */
    private static final int SIGURG = 23;

    /** What has become of a write lease. */
    public enum State {
        /** Nobody wants the file. */
        HELD,
        /** Somebody waits to open it for reading, nobody for writing. */
        READER_WAITS,
        /** Somebody waits to open it for writing or to truncate it; or there is no lease. */
        WRITER_WAITS
    }

    private Leases() {}

    /**
     * Takes a write lease.
     *
     * @param fd open for reading only is enough; not O_PATH
     * @throws LinuxException EAGAIN if anybody else has the file open; EINVAL where the file system
     *     has no leases
     */
    public static void takeWrite(Fd fd) throws LinuxException {
        At.check(LibC.fcntl(fd.number(), F_SETSIG, SIGURG), "choose the signal of", fd);
        At.check(LibC.fcntl(fd.number(), F_SETLEASE, F_WRLCK), "take a lease on", fd);
    }

    /** The state of a lease of {@link #takeWrite}. */
    public static State state(Fd fd) throws LinuxException {
        int type = LibC.fcntl(fd.number(), F_GETLEASE, 0);
        At.check(type, "get the lease on", fd);
        return switch (type) {
            case F_WRLCK -> State.HELD;
            case F_RDLCK -> State.READER_WAITS;
            default -> State.WRITER_WAITS;
        };
    }

    /** Lets waiting openers go on. Harmless without a lease. */
    public static void release(Fd fd) throws LinuxException {
        if (LibC.fcntl(fd.number(), F_SETLEASE, F_UNLCK) < 0 && LibC.errno() != Errno.EAGAIN) {
            throw LinuxException.last("release the lease on", fd);
        }
    }
}
