package io.rampipe.linux;

import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/**
 * Data of open files. Buffers are direct; their positions and limits are used and moved as in
 * {@link java.nio.channels}.
 */
public final class Io {
    private static final int MFD_CLOEXEC = 1;
    private static final int SEEK_DATA = 3;
    private static final int SEEK_HOLE = 4;
    private static final int FALLOC_FL_KEEP_SIZE = 1;
    private static final int FALLOC_FL_PUNCH_HOLE = 2;
    private static final int FALLOC_FL_COLLAPSE_RANGE = 8;
    private static final int FALLOC_FL_INSERT_RANGE = 0x20;

    private Io() {}

    /**
     * Reads up to {@code buffer.remaining()} bytes at {@code offset}; returns their number, 0 at
     * the end.
     */
    public static int read(Fd fd, ByteBuffer buffer, long offset) throws LinuxException {
        while (true) {
            long n = LibC.pread64(fd.number(), address(buffer), buffer.remaining(), offset);
            if (n >= 0) {
                buffer.position(buffer.position() + (int) n);
                return (int) n;
            }
            if (LibC.errno() != Errno.EINTR) {
                throw LinuxException.last("read", fd);
            }
        }
    }

    /** Reads until the buffer is full or the file ends; returns the number of bytes. */
    public static int readFully(Fd fd, ByteBuffer buffer, long offset) throws LinuxException {
        int total = 0;
        while (buffer.hasRemaining()) {
            int n = read(fd, buffer, offset + total);
            if (n == 0) {
                break;
            }
            total += n;
        }
        return total;
    }

    /** Writes all that remains in the buffer at {@code offset}. */
    public static void writeFully(Fd fd, ByteBuffer buffer, long offset) throws LinuxException {
        long at = offset;
        while (buffer.hasRemaining()) {
            long n = LibC.pwrite64(fd.number(), address(buffer), buffer.remaining(), at);
            if (n < 0) {
                if (LibC.errno() == Errno.EINTR) {
                    continue;
                }
                throw LinuxException.last("write", fd);
            }
            if (n == 0) {
                throw new LinuxException("write", fd, Errno.EIO);
            }
            buffer.position(buffer.position() + (int) n);
            at += n;
        }
    }

    /** First offset at or behind {@code offset} that holds data; -1 if there is none. */
    public static long nextData(Fd fd, long offset) throws LinuxException {
        long n = LibC.lseek64(fd.number(), offset, SEEK_DATA);
        if (n < 0) {
            if (LibC.errno() == Errno.ENXIO) {
                return -1;
            }
            throw LinuxException.last("seek", fd);
        }
        return n;
    }

    /**
     * First offset at or behind {@code offset} that is in a hole; the size of the file if there is
     * none.
     */
    public static long nextHole(Fd fd, long offset) throws LinuxException {
        long n = LibC.lseek64(fd.number(), offset, SEEK_HOLE);
        if (n < 0) {
            throw LinuxException.last("seek", fd);
        }
        return n;
    }

    /** A file in memory without a name, gone when it is closed ({@code memfd_create(2)}). */
    public static Fd memoryFile(String name) throws LinuxException {
        return Fd.check(
                LibC.memfd_create((name + '\0').getBytes(StandardCharsets.ISO_8859_1), MFD_CLOEXEC),
                "create a file in memory",
                name);
    }

    /** A call that a signal may interrupt before it has done anything. */
    @FunctionalInterface
    private interface Call {
        int run();
    }

    private static void again(Call call, String what, Fd fd) throws LinuxException {
        while (call.run() < 0) {
            if (LibC.errno() != Errno.EINTR) {
                throw LinuxException.last(what, fd);
            }
        }
    }

    public static void truncate(Fd fd, long size) throws LinuxException {
        again(() -> LibC.ftruncate64(fd.number(), size), "truncate", fd);
    }

    /** Makes sure of room on disk for a range, extending the file if need be. */
    public static void allocate(Fd fd, long offset, long length) throws LinuxException {
        again(() -> LibC.fallocate64(fd.number(), 0, offset, length), "allocate", fd);
    }

    /** Turns a range into a hole; the size stays. */
    public static void punchHole(Fd fd, long offset, long length) throws LinuxException {
        int mode = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
        again(() -> LibC.fallocate64(fd.number(), mode, offset, length), "punch a hole into", fd);
    }

    /** Takes a range out; what follows moves up ({@code fallocate(2)}; whole blocks only). */
    public static void collapse(Fd fd, long offset, long length) throws LinuxException {
        again(
                () -> LibC.fallocate64(fd.number(), FALLOC_FL_COLLAPSE_RANGE, offset, length),
                "take a range out of",
                fd);
    }

    /** Puts a hole in between; what follows moves down (whole blocks only). */
    public static void insert(Fd fd, long offset, long length) throws LinuxException {
        again(
                () -> LibC.fallocate64(fd.number(), FALLOC_FL_INSERT_RANGE, offset, length),
                "insert a range into",
                fd);
    }

    /** Data and metadata are on disk when this returns. */
    public static void sync(Fd fd) throws LinuxException {
        again(() -> LibC.fsync(fd.number()), "fsync", fd);
    }

    /**
     * The whole file system of {@code fd} is on disk when this returns (errors are reported since
     * Linux 5.8).
     */
    public static void syncFileSystem(Fd fd) throws LinuxException {
        again(() -> LibC.syncfs(fd.number()), "syncfs", fd);
    }

    private static Pointer address(ByteBuffer buffer) {
        if (!buffer.isDirect()) {
            throw new IllegalArgumentException("only direct buffers");
        }
        return Native.getDirectBufferPointer(buffer).share(buffer.position());
    }
}
