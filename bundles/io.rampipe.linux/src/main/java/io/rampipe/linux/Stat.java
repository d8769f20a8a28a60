package io.rampipe.linux;

import com.sun.jna.Memory;
import io.rampipe.api.FilePath;
import java.util.OptionalLong;

/**
 * What {@code statx(2)} tells.
 *
 * @param device as {@link #device(long, long)}: major number times 2^32 plus minor
 * @param attributes bits {@code STATX_ATTR_*}
 * @param mount id as in {@code /proc/self/mountinfo} (Linux 5.8); 0 if the kernel does not tell
 * @param deviceNumber of a device node itself, same form as {@code device}
 */
public record Stat(
        long device,
        long inode,
        int mode,
        int links,
        int uid,
        int gid,
        long size,
        long blocks,
        long accessSeconds,
        int accessNanos,
        long modifySeconds,
        int modifyNanos,
        long changeSeconds,
        int changeNanos,
        long attributes,
        long mount,
        long deviceNumber) {

    public static final int TYPE_MASK = 0170000;
    public static final int DIRECTORY = 0040000;
    public static final int REGULAR = 0100000;
    public static final int SYMLINK = 0120000;
    public static final int CHARACTER = 0020000;
    public static final int BLOCK = 0060000;
    public static final int FIFO = 0010000;
    public static final int SOCKET = 0140000;

    /** {@code STATX_ATTR_IMMUTABLE}. */
    public static final long IMMUTABLE = 0x10;

    /** {@code STATX_ATTR_APPEND}. */
    public static final long APPEND_ONLY = 0x20;

    /** {@code STATX_ATTR_ENCRYPTED}: by the file system (fscrypt). */
    public static final long ENCRYPTED = 0x800;

    /** {@code STATX_ATTR_VERITY}: sealed by fs-verity (Linux 5.5). */
    public static final long VERITY = 0x100000;

    /** {@code STATX_ATTR_MOUNT_ROOT} (Linux 5.8). */
    public static final long MOUNT_ROOT = 0x2000;

    private static final int AT_SYMLINK_NOFOLLOW = 0x100;
    private static final int AT_NO_AUTOMOUNT = 0x800;
    private static final int AT_EMPTY_PATH = 0x1000;
    private static final int AT_STATX_DONT_SYNC = 0x4000;
    private static final int STATX_BTIME = 0x800;
    private static final int BASIC_STATS_AND_MOUNT_ID = 0x17ff;
    private static final byte[] EMPTY = {0};

    /** Of an open file; O_PATH will do. */
    public static Stat of(Fd fd) throws LinuxException {
        return statx(fd, EMPTY, AT_EMPTY_PATH, fd);
    }

    /** Of a name below a directory, without following a link at its end. */
    public static Stat at(Fd dir, FilePath name) throws LinuxException {
        return statx(dir, name.cString(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, name);
    }

    /**
     * Of what a link leads to, a magic link in {@code /proc} above all. A network file system or
     * FUSE is not asked: type, device, inode number and mount are right, all else may be old. So a
     * server that hangs cannot hang the caller.
     */
    public static Stat behind(Fd dir, FilePath link) throws LinuxException {
        return statx(dir, link.cString(), AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC, link);
    }

    /**
     * When a file was made, in nanoseconds since the epoch; empty where the file system does not
     * know (tmpfs before Linux 5.19).
     *
     * @param fd O_PATH will do
     */
    public static OptionalLong birth(Fd fd) throws LinuxException {
        Memory m = LibC.scratch();
        if (LibC.statx(fd.number(), EMPTY, AT_EMPTY_PATH, STATX_BTIME, m) < 0) {
            throw LinuxException.last("stat", fd);
        }
        return (m.getInt(0) & STATX_BTIME) == 0
                ? OptionalLong.empty()
                : OptionalLong.of(m.getLong(80) * 1_000_000_000 + m.getInt(88));
    }

    /** Change time in nanoseconds since the epoch. */
    public long change() {
        return changeSeconds * 1_000_000_000 + changeNanos;
    }

    private static Stat statx(Fd dir, byte[] path, int flags, Object subject)
            throws LinuxException {
        Memory m = LibC.scratch();
        if (LibC.statx(dir.number(), path, flags, BASIC_STATS_AND_MOUNT_ID, m) < 0) {
            throw LinuxException.last("stat", subject);
        }
        return new Stat(
                device(m.getInt(136) & 0xffffffffL, m.getInt(140) & 0xffffffffL),
                m.getLong(32),
                m.getShort(28) & 0xffff,
                m.getInt(16),
                m.getInt(20),
                m.getInt(24),
                m.getLong(40),
                m.getLong(48),
                m.getLong(64),
                m.getInt(72),
                m.getLong(112),
                m.getInt(120),
                m.getLong(96),
                m.getInt(104),
                m.getLong(8),
                (m.getInt(0) & 0x1000) != 0 ? m.getLong(144) : 0,
                device(m.getInt(128) & 0xffffffffL, m.getInt(132) & 0xffffffffL));
    }

    public static long device(long major, long minor) {
        return major << 32 | minor;
    }

    /** {@code major:minor}, as in {@code /proc/self/mountinfo}. */
    public static String deviceText(long device) {
        return (device >>> 32) + ":" + (device & 0xffffffffL);
    }

    public int type() {
        return mode & TYPE_MASK;
    }

    /** Mode bits without the type. */
    public int permissions() {
        return mode & 07777;
    }

    public boolean isDirectory() {
        return type() == DIRECTORY;
    }

    public boolean isRegular() {
        return type() == REGULAR;
    }

    public boolean isSymlink() {
        return type() == SYMLINK;
    }

    /** Same file at this moment: device and inode number. */
    public boolean sameFile(Stat other) {
        return device == other.device && inode == other.inode;
    }

    /** Same file, and no sign of a change: size, modify and change time too. */
    public boolean unchangedSince(Stat earlier) {
        return sameFile(earlier)
                && mode == earlier.mode
                && size == earlier.size
                && modifySeconds == earlier.modifySeconds
                && modifyNanos == earlier.modifyNanos
                && changeSeconds == earlier.changeSeconds
                && changeNanos == earlier.changeNanos;
    }
}
