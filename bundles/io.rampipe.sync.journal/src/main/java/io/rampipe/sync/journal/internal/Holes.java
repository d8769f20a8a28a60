package io.rampipe.sync.journal.internal;

import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.ByteBuffer;

/** Holes in files. */
final class Holes {
    private static final int ZEROS = 64 * 1024;

    private Holes() {}

    /** Makes a range read as zeros, as a hole where the file system can. */
    static void make(Fd fd, long offset, long length) throws IOException {
        try {
            Io.punchHole(fd, offset, length);
        } catch (LinuxException e) {
            if (!e.is(Errno.EOPNOTSUPP, Errno.ENOSYS)) {
                throw e;
            }
            ByteBuffer zeros = ByteBuffer.allocateDirect(ZEROS);
            // Behind the end there is nothing to be zeroed, and the size stays.
            long end = Math.min(offset + length, Stat.of(fd).size());
            for (long at = offset; at < end; at += zeros.limit()) {
                zeros.clear().limit((int) Math.min(ZEROS, end - at));
                Io.writeFully(fd, zeros, at);
            }
        }
    }
}
