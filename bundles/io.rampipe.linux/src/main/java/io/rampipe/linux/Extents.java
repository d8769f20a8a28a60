package io.rampipe.linux;

import com.sun.jna.Memory;
import java.util.ArrayList;
import java.util.List;

/** Where a file's data is on its device ({@code FS_IOC_FIEMAP}). */
public final class Extents {
    private static final long FS_IOC_FIEMAP = 0xc020660bL;
    private static final int HEADER = 32;
    private static final int EXTENT = 56;
    private static final int AT_ONCE = 1000;
    private static final int FLAG_SYNC = 1;
    private static final int LAST = 1;
    private static final int UNWRITTEN = 0x800;
    private static final int MERGED = 0x1000;

    private Extents() {}

    /**
     * A range of a file whose data is in one piece.
     *
     * @param logical and physical, length: bytes, in the file and on the device
     * @param flags {@code FIEMAP_EXTENT_*}
     */
    public record Extent(long logical, long physical, long length, int flags) {
        /** Allocated, and reads as zeros. */
        public boolean unwritten() {
            return (flags & UNWRITTEN) != 0;
        }

        /** Whether the file system says nothing of it but that it is the last one. */
        public boolean plain() {
            return (flags & ~(LAST | MERGED)) == 0;
        }

        /** Whether it says nothing but that, and that it is {@link #unwritten}. */
        public boolean understood() {
            return (flags & ~(LAST | MERGED | UNWRITTEN)) == 0;
        }
    }

    /** All of an open file, in order; what waits to be allocated is written first. */
    public static List<Extent> of(Fd fd) throws LinuxException {
        List<Extent> all = new ArrayList<>();
        long start = 0;
        while (true) {
            Memory m = LibC.scratch();
            m.setMemory(0, HEADER, (byte) 0);
            m.setLong(0, start);
            m.setLong(8, -1 ^ start);
            m.setInt(16, FLAG_SYNC);
            m.setInt(24, AT_ONCE);
            int result;
            do {
                result = LibC.ioctl(fd.number(), FS_IOC_FIEMAP, m);
            } while (result < 0 && LibC.errno() == Errno.EINTR);
            At.check(result, "get the extents of", fd);
            int count = m.getInt(20);
            for (int i = 0; i < count; i++) {
                long at = HEADER + (long) i * EXTENT;
                Extent e =
                        new Extent(
                                m.getLong(at),
                                m.getLong(at + 8),
                                m.getLong(at + 16),
                                m.getInt(at + 40));
                all.add(e);
                start = e.logical() + e.length();
                if ((e.flags() & LAST) != 0) {
                    return all;
                }
            }
            if (count == 0) {
                return all;
            }
        }
    }
}
