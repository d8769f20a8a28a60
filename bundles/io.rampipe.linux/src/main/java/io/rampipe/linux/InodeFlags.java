package io.rampipe.linux;

import com.sun.jna.Memory;

/** Attributes that {@code chattr(1)} shows ({@code FS_IOC_GETFLAGS}, {@code ioctl_iflags(2)}). */
public final class InodeFlags {
    /** Names in this directory are compared without regard to case. */
    public static final int CASEFOLD = 0x40000000;

    /** Of a 64-bit kernel's {@code _IOR('f', 1, long)}. */
    private static final long FS_IOC_GETFLAGS = 0x80086601L;

    private InodeFlags() {}

    /** Of an open file, not O_PATH; 0 where the file system has none. */
    public static int of(Fd fd) throws LinuxException {
        Memory m = LibC.scratch();
        m.setLong(0, 0);
        if (LibC.ioctl(fd.number(), FS_IOC_GETFLAGS, m) < 0) {
            LinuxException e = LinuxException.last("get the attributes of", fd);
            if (e.is(Errno.ENOTTY, Errno.EOPNOTSUPP, Errno.EINVAL)) {
                return 0;
            }
            throw e;
        }
        return m.getInt(0);
    }
}
