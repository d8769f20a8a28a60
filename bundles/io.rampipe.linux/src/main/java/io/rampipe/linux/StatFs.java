package io.rampipe.linux;

import com.sun.jna.Memory;

/**
 * What {@code statfs(2)} tells.
 *
 * @param type magic number of the file system's kind
 * @param id the file system's id, as fanotify reports it
 */
public record StatFs(
        long type,
        long blockSize,
        long blocks,
        long free,
        long available,
        long inodes,
        long inodesFree,
        long id) {
    public static final long EXT = 0xef53;
    public static final long XFS = 0x58465342;
    public static final long BTRFS = 0x9123683eL;
    public static final long F2FS = 0xf2f52010L;
    public static final long TMPFS = 0x01021994;
    public static final long RAMFS = 0x858458f6L;
    public static final long OVERLAYFS = 0x794c7630;
    public static final long FUSE = 0x65735546;
    public static final long VFAT = 0x4d44;
    public static final long EXFAT = 0x2011bab0;
    public static final long NTFS3 = 0x7366746e;
    public static final long NFS = 0x6969;
    public static final long CIFS = 0xff534d42L;
    public static final long SMB2 = 0xfe534d42L;

    public static StatFs of(Fd fd) throws LinuxException {
        Memory m = LibC.scratch();
        if (LibC.fstatfs64(fd.number(), m) < 0) {
            throw LinuxException.last("statfs", fd);
        }
        return new StatFs(
                m.getLong(0) & 0xffffffffL,
                m.getLong(8),
                m.getLong(16),
                m.getLong(24),
                m.getLong(32),
                m.getLong(40),
                m.getLong(48),
                m.getLong(56));
    }

    public long totalBytes() {
        return blocks * blockSize;
    }

    public long usedBytes() {
        return (blocks - free) * blockSize;
    }

    public long availableBytes() {
        return available * blockSize;
    }
}
