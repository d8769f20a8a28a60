package io.rampipe.linux;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;

/**
 * The C library, directly mapped. Calls that glibc 2.28 does not wrap go through {@link #syscall};
 * their numbers are the same on every architecture (all are above 423, where Linux unified its
 * tables).
 */
final class LibC {
    static final int SYS_OPEN_TREE = 428;
    static final int SYS_MOVE_MOUNT = 429;
    static final int SYS_FSOPEN = 430;
    static final int SYS_FSCONFIG = 431;
    static final int SYS_FSMOUNT = 432;
    static final int SYS_OPENAT2 = 437;

    private static final int SCRATCH_BYTES = 64 * 1024;

    private static final ThreadLocal<Memory> SCRATCH =
            ThreadLocal.withInitial(() -> new Memory(SCRATCH_BYTES));

    static {
        Native.register(LibC.class, "c");
    }

    private LibC() {}

    /**
     * A buffer of 64 KiB for this thread; whoever calls uses it up before calling anything else
     * here.
     */
    static Memory scratch() {
        return SCRATCH.get();
    }

    /** errno of the last call that failed on this thread. */
    static int errno() {
        return Native.getLastError();
    }

    static native long syscall(long number, long a, long b, long c, long d, long e);

    static native int openat(int dir, byte[] path, int flags, int mode);

    static native int close(int fd);

    static native int fcntl(int fd, int command, long argument);

    static native int ioctl(int fd, long request, Pointer argument);

    static native long read(int fd, Pointer buffer, long length);

    static native long write(int fd, Pointer buffer, long length);

    static native long pread64(int fd, Pointer buffer, long length, long offset);

    static native long pwrite64(int fd, Pointer buffer, long length, long offset);

    static native long lseek64(int fd, long offset, int whence);

    static native int ftruncate64(int fd, long length);

    static native int fallocate64(int fd, int mode, long offset, long length);

    static native int fsync(int fd);

    static native int syncfs(int fd);

    static native int statx(int dir, byte[] path, int flags, int mask, Pointer out);

    static native int fstatfs64(int fd, Pointer out);

    static native int mkdirat(int dir, byte[] path, int mode);

    static native int mknodat(int dir, byte[] path, int mode, long device);

    static native int symlinkat(byte[] text, int dir, byte[] path);

    static native int linkat(int oldDir, byte[] oldPath, int newDir, byte[] newPath, int flags);

    static native int unlinkat(int dir, byte[] path, int flags);

    static native int renameat2(int oldDir, byte[] oldPath, int newDir, byte[] newPath, int flags);

    static native long readlinkat(int dir, byte[] path, Pointer buffer, long length);

    static native int fchownat(int dir, byte[] path, int uid, int gid, int flags);

    static native int fchmodat(int dir, byte[] path, int mode, int flags);

    static native int utimensat(int dir, byte[] path, Pointer times, int flags);

    static native long getxattr(byte[] path, byte[] name, Pointer value, long size);

    static native int setxattr(byte[] path, byte[] name, byte[] value, long size, int flags);

    static native int removexattr(byte[] path, byte[] name);

    static native long listxattr(byte[] path, Pointer list, long size);

    static native long getdents64(int fd, Pointer buffer, long length);

    static native int name_to_handle_at(
            int dir, byte[] path, Pointer handle, Pointer mountId, int flags);

    static native int open_by_handle_at(int mount, Pointer handle, int flags);

    static native int mount(byte[] source, byte[] target, byte[] type, long flags, byte[] data);

    static native int umount2(byte[] target, int flags);

    static native int poll(Pointer fds, long count, int timeoutInMs);

    static native int eventfd(int initial, int flags);

    static native int getpid();

    static native int fanotify_init(int flags, int eventFlags);

    static native int fanotify_mark(int group, int flags, long mask, int dir, byte[] path);

    static native int inotify_init1(int flags);

    static native int inotify_add_watch(int fd, byte[] path, int mask);

    static native int inotify_rm_watch(int fd, int watch);

    static native long ptrace(long request, int thread, long address, long data);

    static native int wait4(int pid, Pointer status, int options, Pointer usage);

    static native int sched_setscheduler(int thread, int policy, Pointer parameters);

    static native int memfd_create(byte[] name, int flags);

    static native int prlimit64(int pid, int resource, Pointer newLimit, Pointer oldLimit);

    static native int socket(int domain, int type, int protocol);

    static native long sendto(
            int fd, Pointer data, long length, int flags, Pointer address, int addressLength);

    static native int clock_gettime(int clock, Pointer time);
}
