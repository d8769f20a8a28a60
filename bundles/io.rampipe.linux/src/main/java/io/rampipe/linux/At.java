package io.rampipe.linux;

import com.sun.jna.Memory;
import io.rampipe.api.FilePath;
import java.util.ArrayList;
import java.util.List;

/**
 * Names below an open directory. A {@code name} is best a single component: then nobody can
 * redirect the call. For more than one use {@link #openBeneath}. Absolute paths are taken with
 * {@link Fd#CWD}.
 */
public final class At {
    public static final int O_RDONLY = 0;
    public static final int O_WRONLY = 1;
    public static final int O_RDWR = 2;
    public static final int O_CREAT = 0100;
    public static final int O_EXCL = 0200;
    public static final int O_TRUNC = 01000;
    public static final int O_APPEND = 02000;
    public static final int O_NONBLOCK = 04000;
    public static final int O_NOATIME = 01000000;
    public static final int O_CLOEXEC = 02000000;
    public static final int O_PATH = 010000000;

    /** Values that differ between architectures. */
    public static final int O_DIRECTORY;

    public static final int O_NOFOLLOW;
    public static final int O_DIRECT;

    /** A new file without a name in a directory ({@code open(2)}); gone when nobody has it open. */
    public static final int O_TMPFILE;

    private static final int AT_REMOVEDIR = 0x200;
    private static final int AT_SYMLINK_NOFOLLOW = 0x100;
    private static final int AT_EMPTY_PATH = 0x1000;
    private static final int RESOLVE_NO_XDEV = 0x01;
    private static final int RESOLVE_NO_MAGICLINKS = 0x02;
    private static final int RESOLVE_NO_SYMLINKS = 0x04;
    private static final int RESOLVE_BENEATH = 0x08;
    private static final int RENAME_NOREPLACE = 1;
    private static final int RENAME_EXCHANGE = 2;
    private static final int UTIME_OMIT = (1 << 30) - 2;
    private static final byte DT_UNKNOWN = 0;
    private static final byte DT_DIR = 4;
    private static final byte[] EMPTY = {0};

    static {
        boolean arm = System.getProperty("os.arch", "").matches("aarch64|arm.*");
        O_DIRECTORY = arm ? 040000 : 0200000;
        O_NOFOLLOW = arm ? 0100000 : 0400000;
        O_DIRECT = arm ? 0200000 : 040000;
        O_TMPFILE = 020000000 | O_DIRECTORY;
    }

    private At() {}

    /** {@code openat(2)}, close-on-exec. Follows links unless O_NOFOLLOW is given. */
    public static Fd open(Fd dir, FilePath name, int flags, int mode) throws LinuxException {
        int n;
        do {
            n = LibC.openat(dir.number(), name.cString(), flags | O_CLOEXEC, mode);
        } while (n < 0 && LibC.errno() == Errno.EINTR);
        return Fd.check(n, "open", name);
    }

    /** Opens an absolute path; links are followed. For paths that only root can change. */
    public static Fd open(FilePath path, int flags) throws LinuxException {
        return open(Fd.CWD, path, flags, 0);
    }

    /** A directory right below another, never through a link. */
    public static Fd openDirectory(Fd dir, FilePath name) throws LinuxException {
        return open(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    }

    /**
     * {@code openat2(2)} below a directory: no symbolic link anywhere on the way, no way out of it
     * (Linux 5.6). The empty path is the directory itself.
     */
    public static Fd openBeneath(Fd dir, FilePath path, int flags, int mode) throws LinuxException {
        return openat2(
                dir,
                path,
                flags,
                mode,
                RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    }

    /** As {@link #openBeneath}, and no mount point on the way either. */
    public static Fd openBeneathSameMount(Fd dir, FilePath path, int flags, int mode)
            throws LinuxException {
        return openat2(
                dir,
                path,
                flags,
                mode,
                RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
    }

    /** Opens an absolute path, refusing symbolic links anywhere on it (ELOOP). */
    public static Fd openNoLinks(FilePath path, int flags) throws LinuxException {
        return openat2(Fd.CWD, path, flags, 0, RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
    }

    private static Fd openat2(Fd dir, FilePath path, int flags, int mode, int resolve)
            throws LinuxException {
        byte[] p = path.isEmpty() ? new byte[] {'.', 0} : path.cString();
        Memory m = LibC.scratch();
        m.setLong(0, (flags | O_CLOEXEC) & 0xffffffffL);
        m.setLong(8, mode);
        m.setLong(16, resolve);
        m.write(24, p, 0, p.length);
        long base = com.sun.jna.Pointer.nativeValue(m);
        long n;
        do {
            n = LibC.syscall(LibC.SYS_OPENAT2, dir.number(), base + 24, base, 24, 0);
        } while (n < 0
                && (LibC.errno() == Errno.EINTR
                        || LibC.errno() == Errno.EAGAIN && (flags & O_NONBLOCK) == 0));
        return Fd.check((int) n, "open", path);
    }

    /** Opens again what {@code fd} (perhaps O_PATH) refers to, with other flags. */
    public static Fd reopen(Fd fd, int flags) throws LinuxException {
        int n;
        do {
            n = LibC.openat(Fd.CWD.number(), fd.magicPath().cString(), flags | O_CLOEXEC, 0);
        } while (n < 0 && LibC.errno() == Errno.EINTR);
        return Fd.check(n, "open", fd);
    }

    public static void mkdir(Fd dir, FilePath name, int mode) throws LinuxException {
        check(LibC.mkdirat(dir.number(), name.cString(), mode), "mkdir", name);
    }

    /**
     * @param device in the form of {@link Stat#deviceNumber}
     */
    public static void mknod(Fd dir, FilePath name, int typeAndMode, long device)
            throws LinuxException {
        check(
                LibC.mknodat(dir.number(), name.cString(), typeAndMode, encode(device)),
                "mknod",
                name);
    }

    /** glibc's {@code makedev}. */
    private static long encode(long device) {
        long major = device >>> 32;
        long minor = device & 0xffffffffL;
        return (major & 0xfffL) << 8
                | (major & 0xfffff000L) << 32
                | minor & 0xffL
                | (minor & 0xffffff00L) << 12;
    }

    public static void symlink(FilePath text, Fd dir, FilePath name) throws LinuxException {
        check(LibC.symlinkat(text.cString(), dir.number(), name.cString()), "symlink", name);
    }

    public static void link(Fd oldDir, FilePath oldName, Fd newDir, FilePath newName)
            throws LinuxException {
        check(
                LibC.linkat(
                        oldDir.number(), oldName.cString(), newDir.number(), newName.cString(), 0),
                "link",
                oldName + " to " + newName);
    }

    /** A new name for an open file (CAP_DAC_READ_SEARCH). */
    public static void link(Fd file, Fd newDir, FilePath newName) throws LinuxException {
        check(
                LibC.linkat(
                        file.number(), EMPTY, newDir.number(), newName.cString(), AT_EMPTY_PATH),
                "link",
                newName);
    }

    public static void unlink(Fd dir, FilePath name) throws LinuxException {
        check(LibC.unlinkat(dir.number(), name.cString(), 0), "unlink", name);
    }

    public static void rmdir(Fd dir, FilePath name) throws LinuxException {
        check(LibC.unlinkat(dir.number(), name.cString(), AT_REMOVEDIR), "rmdir", name);
    }

    public static void rename(Fd oldDir, FilePath oldName, Fd newDir, FilePath newName)
            throws LinuxException {
        rename(oldDir, oldName, newDir, newName, 0);
    }

    /** EEXIST if the new name is there. */
    public static void renameNoReplace(Fd oldDir, FilePath oldName, Fd newDir, FilePath newName)
            throws LinuxException {
        rename(oldDir, oldName, newDir, newName, RENAME_NOREPLACE);
    }

    /** Both names change places in one step. */
    public static void exchange(Fd oldDir, FilePath oldName, Fd newDir, FilePath newName)
            throws LinuxException {
        rename(oldDir, oldName, newDir, newName, RENAME_EXCHANGE);
    }

    private static void rename(Fd oldDir, FilePath oldName, Fd newDir, FilePath newName, int flags)
            throws LinuxException {
        check(
                LibC.renameat2(
                        oldDir.number(),
                        oldName.cString(),
                        newDir.number(),
                        newName.cString(),
                        flags),
                "rename",
                oldName + " to " + newName);
    }

    /** The text of a symbolic link. */
    public static FilePath readLink(Fd dir, FilePath name) throws LinuxException {
        Memory m = LibC.scratch();
        long n = LibC.readlinkat(dir.number(), name.cString(), m, 8192);
        if (n < 0) {
            throw LinuxException.last("readlink", name);
        }
        return FilePath.ofBytes(m.getByteArray(0, (int) n));
    }

    /** The text of a symbolic link that is open with O_PATH and O_NOFOLLOW. */
    public static FilePath readLink(Fd link) throws LinuxException {
        Memory m = LibC.scratch();
        long n = LibC.readlinkat(link.number(), EMPTY, m, 8192);
        if (n < 0) {
            throw LinuxException.last("readlink", link);
        }
        return FilePath.ofBytes(m.getByteArray(0, (int) n));
    }

    /** Owner of an open file; O_PATH will do. Clears set-user-id bits: set the mode afterwards. */
    public static void chown(Fd fd, int uid, int gid) throws LinuxException {
        check(LibC.fchownat(fd.number(), EMPTY, uid, gid, AT_EMPTY_PATH), "chown", fd);
    }

    /** Mode of an open file that is not a symbolic link; O_PATH will do. */
    public static void chmod(Fd fd, int permissions) throws LinuxException {
        check(
                LibC.fchmodat(Fd.CWD.number(), fd.magicPath().cString(), permissions, 0),
                "chmod",
                fd);
    }

    /** Access and modify time of a name below a directory, a link itself included. */
    public static void setTimes(Fd dir, FilePath name, Stat times) throws LinuxException {
        check(
                LibC.utimensat(
                        dir.number(), name.cString(), times(times, false), AT_SYMLINK_NOFOLLOW),
                "set times of",
                name);
    }

    /** Access and modify time of an open file that is not a link; O_PATH will do. */
    public static void setTimes(Fd fd, Stat times) throws LinuxException {
        check(
                LibC.utimensat(Fd.CWD.number(), fd.magicPath().cString(), times(times, false), 0),
                "set times of",
                fd);
    }

    /** Modify time only. */
    public static void setModifyTime(Fd fd, Stat times) throws LinuxException {
        check(
                LibC.utimensat(Fd.CWD.number(), fd.magicPath().cString(), times(times, true), 0),
                "set times of",
                fd);
    }

    private static Memory times(Stat times, boolean omitAccess) {
        Memory m = LibC.scratch();
        m.setLong(0, times.accessSeconds());
        m.setLong(8, omitAccess ? UTIME_OMIT : times.accessNanos());
        m.setLong(16, times.modifySeconds());
        m.setLong(24, times.modifyNanos());
        return m;
    }

    /**
     * The names in a directory, without {@code .} and {@code ..}, read from its start; in no order.
     * Leaves the directory's access time alone where the caller is allowed to ({@code O_NOATIME}).
     */
    public static List<FilePath> list(Fd dir) throws LinuxException {
        return list(dir, false);
    }

    /**
     * As {@link #list}, only those that are directories, or may be where the file system does not
     * tell the type.
     */
    public static List<FilePath> listDirectories(Fd dir) throws LinuxException {
        return list(dir, true);
    }

    private static List<FilePath> list(Fd dir, boolean onlyDirectories) throws LinuxException {
        List<FilePath> names = new ArrayList<>();
        // A descriptor of our own: the position of the caller's is not ours to move.
        try (Fd own = reopenToLook(dir)) {
            Memory m = LibC.scratch();
            while (true) {
                long n = LibC.getdents64(own.number(), m, m.size());
                if (n < 0) {
                    throw LinuxException.last("list", dir);
                }
                if (n == 0) {
                    return names;
                }
                for (long at = 0; at < n; ) {
                    int length = m.getShort(at + 16) & 0xffff;
                    long name = at + 19;
                    int end = 0;
                    while (m.getByte(name + end) != 0) {
                        end++;
                    }
                    boolean dots =
                            m.getByte(name) == '.'
                                    && (end == 1 || end == 2 && m.getByte(name + 1) == '.');
                    byte type = m.getByte(at + 18);
                    boolean wanted = !onlyDirectories || type == DT_DIR || type == DT_UNKNOWN;
                    if (wanted && !dots) {
                        names.add(FilePath.ofBytes(m.getByteArray(name, end)));
                    }
                    at += length;
                }
            }
        }
    }

    /** Looking must neither count as an access nor cost a write of the access time. */
    private static Fd reopenToLook(Fd dir) throws LinuxException {
        try {
            return reopen(dir, O_RDONLY | O_DIRECTORY | O_NOATIME);
        } catch (LinuxException e) {
            if (!e.is(Errno.EPERM)) {
                throw e;
            }
            return reopen(dir, O_RDONLY | O_DIRECTORY);
        }
    }

    static void check(int result, String call, Object subject) throws LinuxException {
        if (result < 0) {
            throw LinuxException.last(call, subject);
        }
    }
}
