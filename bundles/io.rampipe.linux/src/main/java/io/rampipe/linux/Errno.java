package io.rampipe.linux;

import java.util.Map;

/**
 * The error numbers that RamPipe tells apart ({@code errno(3)}; the values of Linux on x86, ARM and
 * RISC-V).
 */
public final class Errno {
    public static final int EPERM = 1;
    public static final int ENOENT = 2;
    public static final int ESRCH = 3;
    public static final int EINTR = 4;
    public static final int EIO = 5;
    public static final int ENXIO = 6;
    public static final int EBADF = 9;
    public static final int EAGAIN = 11;
    public static final int ENOMEM = 12;
    public static final int EACCES = 13;
    public static final int EBUSY = 16;
    public static final int EEXIST = 17;
    public static final int EXDEV = 18;
    public static final int ENODEV = 19;
    public static final int ENOTDIR = 20;
    public static final int EISDIR = 21;
    public static final int EINVAL = 22;
    public static final int ENFILE = 23;
    public static final int EMFILE = 24;
    public static final int ENOTTY = 25;
    public static final int ETXTBSY = 26;
    public static final int EFBIG = 27;
    public static final int ENOSPC = 28;
    public static final int EROFS = 30;
    public static final int EMLINK = 31;
    public static final int ERANGE = 34;
    public static final int ENAMETOOLONG = 36;
    public static final int ENOSYS = 38;
    public static final int ENOTEMPTY = 39;
    public static final int ELOOP = 40;
    public static final int ENODATA = 61;
    public static final int EBADMSG = 74;
    public static final int EOVERFLOW = 75;
    public static final int EOPNOTSUPP = 95;
    public static final int ESHUTDOWN = 108;
    public static final int ETIMEDOUT = 110;
    public static final int ESTALE = 116;
    public static final int EUCLEAN = 117;
    public static final int EREMOTEIO = 121;
    public static final int EDQUOT = 122;

    private static final Map<Integer, String> TEXTS =
            Map.ofEntries(
                    Map.entry(EPERM, "operation not permitted (EPERM)"),
                    Map.entry(ENOENT, "no such file or directory (ENOENT)"),
                    Map.entry(ESRCH, "no such process (ESRCH)"),
                    Map.entry(EINTR, "interrupted (EINTR)"),
                    Map.entry(EIO, "input/output error (EIO)"),
                    Map.entry(ENXIO, "no such device or address (ENXIO)"),
                    Map.entry(EBADF, "bad file descriptor (EBADF)"),
                    Map.entry(EAGAIN, "in use or not ready (EAGAIN)"),
                    Map.entry(ENOMEM, "out of kernel memory (ENOMEM)"),
                    Map.entry(EACCES, "permission denied (EACCES)"),
                    Map.entry(EBUSY, "in use (EBUSY)"),
                    Map.entry(EEXIST, "exists already (EEXIST)"),
                    Map.entry(EXDEV, "on another mount or file system (EXDEV)"),
                    Map.entry(ENODEV, "no such device (ENODEV)"),
                    Map.entry(ENOTDIR, "not a directory (ENOTDIR)"),
                    Map.entry(EISDIR, "is a directory (EISDIR)"),
                    Map.entry(EINVAL, "not supported or invalid here (EINVAL)"),
                    Map.entry(ENFILE, "too many open files in the system (ENFILE)"),
                    Map.entry(EMFILE, "limit of the process or user reached (EMFILE)"),
                    Map.entry(ENOTTY, "not supported by this file system (ENOTTY)"),
                    Map.entry(ETXTBSY, "program is running (ETXTBSY)"),
                    Map.entry(EFBIG, "file too large (EFBIG)"),
                    Map.entry(ENOSPC, "no space left on device (ENOSPC)"),
                    Map.entry(EROFS, "read-only file system (EROFS)"),
                    Map.entry(EMLINK, "too many links (EMLINK)"),
                    Map.entry(ERANGE, "buffer too small (ERANGE)"),
                    Map.entry(ENAMETOOLONG, "name too long (ENAMETOOLONG)"),
                    Map.entry(ENOSYS, "not in this kernel (ENOSYS)"),
                    Map.entry(ENOTEMPTY, "directory not empty (ENOTEMPTY)"),
                    Map.entry(ELOOP, "a symbolic link is in the way (ELOOP)"),
                    Map.entry(ENODATA, "no such attribute (ENODATA)"),
                    Map.entry(EBADMSG, "the data on disk is damaged (EBADMSG)"),
                    Map.entry(EOVERFLOW, "value too large (EOVERFLOW)"),
                    Map.entry(EOPNOTSUPP, "not supported (EOPNOTSUPP)"),
                    Map.entry(ESHUTDOWN, "the file system was shut down (ESHUTDOWN)"),
                    Map.entry(ETIMEDOUT, "timed out (ETIMEDOUT)"),
                    Map.entry(ESTALE, "the file is gone (ESTALE)"),
                    Map.entry(EUCLEAN, "the file system is damaged (EUCLEAN)"),
                    Map.entry(EREMOTEIO, "the device fails (EREMOTEIO)"),
                    Map.entry(EDQUOT, "disk quota exceeded (EDQUOT)"));

    private Errno() {}

    /** For people: what it means and its name. */
    public static String text(int errno) {
        return TEXTS.getOrDefault(errno, "error " + errno);
    }
}
