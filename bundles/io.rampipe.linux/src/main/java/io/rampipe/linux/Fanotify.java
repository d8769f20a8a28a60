package io.rampipe.linux;

import io.rampipe.api.FilePath;

/**
 * A fanotify notification group ({@code fanotify(7)}): a queue of events of bounded length, and the
 * marks that feed it. Reads never block. One thread at a time; whoever opens it closes it, which
 * takes its marks away too. A mark keeps neither a mount nor a file busy.
 *
 * <p>Equal events that wait in the queue are merged by the kernel.
 */
public final class Fanotify implements AutoCloseable {
    /** A file was read. */
    public static final long ACCESS = 0x01;

    /** A file's data changed. */
    public static final long MODIFY = 0x02;

    /** A file that was open for writing was closed. */
    public static final long CLOSE_WRITE = 0x08;

    public static final long OPEN = 0x20;
    public static final long MOVED_FROM = 0x40;
    public static final long MOVED_TO = 0x80;
    public static final long CREATE = 0x100;
    public static final long DELETE = 0x200;

    /** Only in events: the queue was full, and events were lost. */
    public static final long Q_OVERFLOW = 0x4000;

    /** In a mask: also when it happens to a directory; in an event: it did. */
    public static final long ONDIR = 0x40000000;

    private static final int FAN_CLOEXEC = 0x01;
    private static final int FAN_NONBLOCK = 0x02;
    private static final int FAN_UNLIMITED_MARKS = 0x20;
    private static final int FAN_REPORT_DFID_NAME = 0x400 | 0x800;

    private static final int FAN_MARK_ADD = 0x01;
    private static final int FAN_MARK_REMOVE = 0x02;
    private static final int FAN_MARK_IGNORED_MASK = 0x20;
    private static final int FAN_MARK_IGNORED_SURV_MODIFY = 0x40;
    private static final int FAN_MARK_FLUSH = 0x80;

    /** Without it an event on a file above 2 GiB is lost to EOVERFLOW ({@code open(2)}). */
    private static final int O_LARGEFILE =
            System.getProperty("os.arch", "").matches("aarch64|arm.*") ? 0400000 : 0100000;

    /** What a mark covers. */
    public enum Scope {
        /** All files seen through one mount. Takes no {@code CREATE, DELETE, MOVED_*}. */
        MOUNT(0x10),
        /** All files of a file system, through whichever mount. */
        FILE_SYSTEM(0x100);

        private final int flag;

        Scope(int flag) {
            this.flag = flag;
        }
    }

    private final Fd fd;
    private final boolean handles;

    private Fanotify(Fd fd, boolean handles) {
        this.fd = fd;
        this.handles = handles;
    }

    /**
     * A group whose events tell the file system's id, the directory's file handle and the name
     * (Linux 5.9, CAP_SYS_ADMIN).
     */
    public static Fanotify withHandles() throws LinuxException {
        return open(FAN_REPORT_DFID_NAME, 0, true);
    }

    /**
     * A group whose events bring an open descriptor of the file (CAP_SYS_ADMIN): works where there
     * are no file handles, but knows no changes of names.
     */
    public static Fanotify withDescriptors() throws LinuxException {
        // O_NONBLOCK: the kernel opens the file for us, and must not wait there for a lease.
        return open(0, At.O_NOATIME | At.O_NONBLOCK | O_LARGEFILE, false);
    }

    private static Fanotify open(int report, int eventFlags, boolean handles)
            throws LinuxException {
        int n =
                LibC.fanotify_init(
                        FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_MARKS | report,
                        At.O_RDONLY | At.O_CLOEXEC | eventFlags);
        return new Fanotify(Fd.check(n, "open", "fanotify group"), handles);
    }

    /** For polling; belongs to this. */
    public Fd fd() {
        return fd;
    }

    /** Whether events tell handles; otherwise they bring descriptors. */
    public boolean reportsHandles() {
        return handles;
    }

    /**
     * Adds to what is reported.
     *
     * @param on anything open there; O_PATH will do
     * @throws LinuxException EXDEV for a btrfs subvolume, ENODEV for a file system without an id,
     *     EOPNOTSUPP for one without file handles: a group with descriptors takes all of them, by
     *     mount
     */
    public void add(Scope scope, Fd on, long mask) throws LinuxException {
        mark(FAN_MARK_ADD | scope.flag, mask, on, "watch");
    }

    /** Takes from what is reported; the mark goes when nothing is left. ENOENT without a mark. */
    public void remove(Scope scope, Fd on, long mask) throws LinuxException {
        mark(FAN_MARK_REMOVE | scope.flag, mask, on, "stop watching");
    }

    /** Stops reports about one file, whatever marks cover it, until {@link #ignoreNone}. */
    public void ignore(Fd file, long mask) throws LinuxException {
        mark(
                FAN_MARK_ADD | FAN_MARK_IGNORED_MASK | FAN_MARK_IGNORED_SURV_MODIFY,
                mask,
                file,
                "ignore accesses of");
    }

    /** Ends all {@link #ignore} in one call. */
    public void ignoreNone() throws LinuxException {
        At.check(
                LibC.fanotify_mark(
                        fd.number(), FAN_MARK_FLUSH, 0, Fd.CWD.number(), new byte[] {'/', 0}),
                "flush the ignore marks of",
                fd);
    }

    private void mark(int flags, long mask, Fd on, String what) throws LinuxException {
        FilePath path = on.magicPath();
        At.check(
                LibC.fanotify_mark(fd.number(), flags, mask, Fd.CWD.number(), path.cString()),
                what,
                on);
    }

    /**
     * Fills {@code events} with what is queued, as much as it holds; what it held is gone. Returns
     * false if nothing was queued.
     */
    public boolean read(FanotifyEvents events) throws LinuxException {
        long n;
        do {
            n = LibC.read(fd.number(), events.pointer(), events.room(handles));
        } while (n < 0 && LibC.errno() == Errno.EINTR);
        if (n < 0 && LibC.errno() != Errno.EAGAIN) {
            throw LinuxException.last("read", fd);
        }
        events.filled((int) Math.max(n, 0), handles);
        return n > 0;
    }

    @Override
    public void close() {
        fd.close();
    }
}
