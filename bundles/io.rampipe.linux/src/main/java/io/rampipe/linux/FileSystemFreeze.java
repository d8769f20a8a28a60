package io.rampipe.linux;

import com.sun.jna.Memory;

/**
 * Holds a file system still ({@code FIFREEZE}, {@code ioctl_fsfreeze}): everything written is on
 * its device, and whoever would write waits. It outlives the process that made it; whoever may have
 * left one behind ends it with {@link #thaw}.
 */
public final class FileSystemFreeze implements AutoCloseable {
    private static final long FIFREEZE = 0xc0045877L;
    private static final long FITHAW = 0xc0045878L;

    private final Fd fd;
    private boolean thawed;

    private FileSystemFreeze(Fd fd) {
        this.fd = fd;
    }

    /**
     * Freezes the file system of an open file or directory, which stays open until this is closed.
     * Waits for writers that are in the middle of something. EBUSY if it is frozen.
     */
    public static FileSystemFreeze of(Fd fd) throws LinuxException {
        At.check(call(fd, FIFREEZE), "freeze the file system of", fd);
        return new FileSystemFreeze(fd);
    }

    /** Ends whatever freeze there is; true if there was one. */
    public static boolean thaw(Fd fd) throws LinuxException {
        if (call(fd, FITHAW) >= 0) {
            return true;
        }
        LinuxException e = LinuxException.last("thaw the file system of", fd);
        if (e.is(Errno.EINVAL)) {
            return false;
        }
        throw e;
    }

    private static int call(Fd fd, long request) {
        Memory m = LibC.scratch();
        m.setInt(0, 0);
        int result;
        do {
            result = LibC.ioctl(fd.number(), request, m);
        } while (result < 0 && LibC.errno() == Errno.EINTR);
        return result;
    }

    /** Lets writers go on. Idempotent. */
    @Override
    public void close() throws LinuxException {
        if (!thawed) {
            thawed = true;
            thaw(fd);
        }
    }
}
