package io.rampipe.linux;

/**
 * An inotify instance ({@code inotify(7)}): a queue of events of bounded length, and the watches
 * that feed it, one a directory or file. Reads never block. One thread at a time; whoever opens it
 * closes it, which takes its watches away too. A watch keeps no mount busy.
 *
 * <p>The kernel merges an event only with an equal one that is the last in the queue.
 */
public final class Inotify implements AutoCloseable {
    /** A file was read. */
    public static final int ACCESS = 0x01;

    /** A file's data changed. */
    public static final int MODIFY = 0x02;

    /** A file that was open for writing was closed. */
    public static final int CLOSE_WRITE = 0x08;

    public static final int OPEN = 0x20;
    public static final int MOVED_FROM = 0x40;
    public static final int MOVED_TO = 0x80;
    public static final int CREATE = 0x100;
    public static final int DELETE = 0x200;

    /** The watched directory or file itself was moved. */
    public static final int MOVE_SELF = 0x800;

    /** Only in events: the file system was unmounted; {@link #IGNORED} follows. */
    public static final int UNMOUNT = 0x2000;

    /** Only in events: the queue was full, and events were lost. */
    public static final int Q_OVERFLOW = 0x4000;

    /** Only in events: the watch is gone; its number may be given to another one, much later. */
    public static final int IGNORED = 0x8000;

    /** In a mask: nothing more of files whose name was deleted. */
    public static final int EXCL_UNLINK = 0x4000000;

    /** Only in events: it happened to a directory. */
    public static final int ISDIR = 0x40000000;

    private static final int IN_CLOEXEC = 02000000;
    private static final int IN_NONBLOCK = 04000;

    private final Fd fd;

    private Inotify(Fd fd) {
        this.fd = fd;
    }

    /**
     * @throws LinuxException EMFILE if the user has {@code fs.inotify.max_user_instances} already
     */
    public static Inotify open() throws LinuxException {
        return new Inotify(
                Fd.check(LibC.inotify_init1(IN_CLOEXEC | IN_NONBLOCK), "open", "inotify instance"));
    }

    /** For polling; belongs to this. */
    public Fd fd() {
        return fd;
    }

    /**
     * Watches what is open there, or changes what is reported of it.
     *
     * @param on O_PATH will do, and it may be closed afterwards
     * @return the watch's number: that of the watch that is there, if it is watched already
     * @throws LinuxException ENOSPC if the user has {@code fs.inotify.max_user_watches} already,
     *     EACCES if it may not be read
     */
    public int add(Fd on, int mask) throws LinuxException {
        return Fd.checkNumber(
                LibC.inotify_add_watch(fd.number(), on.magicPath().cString(), mask), "watch", on);
    }

    /** Ends a watch; an event with {@link #IGNORED} follows. Harmless if there is none. */
    public void remove(int watch) {
        LibC.inotify_rm_watch(fd.number(), watch);
    }

    /**
     * Fills {@code events} with what is queued, as much as it holds; what it held is gone. Returns
     * false if nothing was queued.
     */
    public boolean read(InotifyEvents events) throws LinuxException {
        long n;
        do {
            n = LibC.read(fd.number(), events.pointer(), events.room());
        } while (n < 0 && LibC.errno() == Errno.EINTR);
        if (n < 0 && LibC.errno() != Errno.EAGAIN) {
            throw LinuxException.last("read", fd);
        }
        events.filled((int) Math.max(n, 0));
        return n > 0;
    }

    @Override
    public void close() {
        fd.close();
    }
}
