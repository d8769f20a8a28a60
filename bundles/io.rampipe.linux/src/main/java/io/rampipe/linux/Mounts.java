package io.rampipe.linux;

import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import io.rampipe.api.FilePath;

/** Mounts ({@code mount(2)}, {@code open_tree(2)}). */
public final class Mounts {
    public static final long MS_RDONLY = 1;
    public static final long MS_NOSUID = 2;
    public static final long MS_NODEV = 4;
    public static final long MS_NOEXEC = 8;
    public static final long MS_REMOUNT = 32;
    public static final long MS_NOSYMFOLLOW = 256;
    public static final long MS_NOATIME = 1024;
    public static final long MS_NODIRATIME = 2048;
    public static final long MS_BIND = 4096;
    public static final long MS_PRIVATE = 1 << 18;
    public static final long MS_RELATIME = 1 << 21;
    public static final long MS_STRICTATIME = 1 << 24;

    private static final int UMOUNT_NOFOLLOW = 8;
    private static final int OPEN_TREE_CLONE = 1;
    private static final int MOVE_MOUNT_F_EMPTY_PATH = 4;
    private static final int MOVE_MOUNT_T_EMPTY_PATH = 0x40;
    private static final int AT_EMPTY_PATH = 0x1000;

    private Mounts() {}

    /**
     * {@code mount(2)}.
     *
     * @param target {@link Fd#magicPath} of the O_PATH descriptor of what is to be covered, so that
     *     nobody can redirect it
     */
    public static void mount(
            FilePath source, FilePath target, String type, long flags, String options)
            throws LinuxException {
        At.check(
                LibC.mount(
                        source.cString(),
                        target.cString(),
                        type == null ? null : FilePath.of(type).cString(),
                        flags,
                        options == null ? null : FilePath.ofRaw(options).cString()),
                "mount " + (type == null ? source : type) + " on",
                target);
    }

    /**
     * Unmounts what is on top at {@code parent/name}; a link there is not followed. EBUSY if in
     * use; never lazily.
     */
    public static void unmount(Fd parent, FilePath name) throws LinuxException {
        FilePath path = parent == Fd.CWD ? name : parent.magicPath().resolve(name);
        At.check(LibC.umount2(path.cString(), UMOUNT_NOFOLLOW), "unmount", name);
    }

    /**
     * A private, detached copy of the mount that {@code fd} is on, rooted at {@code fd}, without
     * the mounts below it: through it one sees what they cover. Closing it dissolves it (Linux
     * 5.2).
     */
    public static Fd cloneTree(Fd fd) throws LinuxException {
        Memory m = LibC.scratch();
        m.setByte(0, (byte) 0);
        long n =
                LibC.syscall(
                        LibC.SYS_OPEN_TREE,
                        fd.number(),
                        Pointer.nativeValue(m),
                        OPEN_TREE_CLONE | At.O_CLOEXEC | AT_EMPTY_PATH,
                        0,
                        0);
        return Fd.check((int) n, "clone the mount of", fd);
    }

    /** Attaches a detached mount ({@link #cloneTree}) over {@code target}, an O_PATH descriptor. */
    public static void attach(Fd tree, Fd target) throws LinuxException {
        Memory m = LibC.scratch();
        m.setByte(0, (byte) 0);
        long empty = Pointer.nativeValue(m);
        long n =
                LibC.syscall(
                        LibC.SYS_MOVE_MOUNT,
                        tree.number(),
                        empty,
                        target.number(),
                        empty,
                        MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
        At.check((int) n, "attach a mount to", target);
    }
}
