package io.rampipe.linux;

import com.sun.jna.Memory;
import io.rampipe.api.FilePath;

/**
 * Tells whether any mount of this mount namespace has come, gone or moved: the kernel says so by an
 * exceptional condition on {@code /proc/self/mountinfo} ({@code proc_pid_mountinfo(5)}). One
 * thread.
 */
public final class MountWatch implements AutoCloseable {
    private static final int POLLFD = 8;
    private static final short POLLPRI = 2;
    private static final short POLLERR = 8;

    private final Fd table;
    private final Memory poll = new Memory(POLLFD);

    public MountWatch() throws LinuxException {
        table = At.open(FilePath.of("/proc/self/mountinfo"), At.O_RDONLY);
        poll.setInt(0, table.number());
        poll.setShort(4, POLLPRI);
    }

    /** Whether anything happened since the last call, or since this was made. */
    public boolean changed() throws LinuxException {
        poll.setShort(6, (short) 0);
        if (LibC.poll(poll, 1, 0) < 0) {
            if (LibC.errno() == Errno.EINTR) {
                return true;
            }
            throw LinuxException.last("poll", table);
        }
        return (poll.getShort(6) & (POLLPRI | POLLERR)) != 0;
    }

    @Override
    public void close() {
        table.close();
    }
}
