package io.rampipe.sync.journal.internal;

import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.zip.CRC32C;

/** Compares and copies the data of files through two buffers of its own. One thread. */
final class FileData {
    /** Changes are found, and holes kept, in blocks of this size. */
    static final int BLOCK = 4096;

    private static final int CHUNK = LogFormat.MAX_DATA;

    private final ByteBuffer mine = ByteBuffer.allocateDirect(CHUNK);
    private final ByteBuffer theirs = ByteBuffer.allocateDirect(CHUNK);

    private Stat expected;

    /**
     * From now on what is read must be the file as it was then: a long copy of a file that is being
     * written is given up soon.
     */
    void expect(Stat stat) {
        expected = stat;
    }

    /** Told of what must change. */
    interface Changes {
        /** These bytes go there; the buffer is valid during the call. */
        void data(long offset, ByteBuffer bytes) throws IOException;

        /** This range becomes a hole. */
        void hole(long offset, long length) throws IOException;
    }

    /**
     * Finds what must change in {@code lower} to make it equal to {@code upper}, apart from its
     * size.
     *
     * @param crc is given all data of upper
     */
    void compare(Fd upper, long size, Fd lower, long lowerSize, CRC32C crc, Changes changes)
            throws IOException {
        long at = 0;
        while (at < size) {
            long data = Io.nextData(upper, at);
            long from = data < 0 ? size : Math.min(data, size);
            holes(lower, at, Math.min(from, lowerSize), changes);
            if (from == size) {
                return;
            }
            long to = Math.min(Io.nextHole(upper, from), size);
            for (long chunk = from; chunk < to; chunk += CHUNK) {
                int length = (int) Math.min(CHUNK, to - chunk);
                read(upper, mine, chunk, length, crc);
                int common = (int) Math.max(0, Math.min(length, lowerSize - chunk));
                theirs.clear().limit(common);
                int got = Io.readFully(lower, theirs, chunk);
                differences(chunk, length, Math.min(got, common), changes);
            }
            at = to;
        }
    }

    /** What is a hole above must be one below. */
    private static void holes(Fd lower, long from, long to, Changes changes) throws IOException {
        long at = from;
        while (at < to) {
            long data = Io.nextData(lower, at);
            if (data < 0 || data >= to) {
                return;
            }
            long end = Math.min(Io.nextHole(lower, data), to);
            changes.hole(data, end - data);
            at = end;
        }
    }

    private void differences(long offset, int length, int common, Changes changes)
            throws IOException {
        int start = -1;
        for (int block = 0; block < length; block += BLOCK) {
            int end = Math.min(block + BLOCK, length);
            boolean same =
                    end <= common
                            && mine.slice(block, end - block)
                                            .mismatch(theirs.slice(block, end - block))
                                    < 0;
            if (!same && start < 0) {
                start = block;
            }
            if (same && start >= 0) {
                changes.data(offset + start, mine.slice(start, block - start));
                start = -1;
            }
        }
        if (start >= 0) {
            changes.data(offset + start, mine.slice(start, length - start));
        }
    }

    /** Copies all data into an empty file; holes stay holes. Returns the bytes of data. */
    long copy(Fd upper, long size, Fd to, CRC32C crc, Steps steps) throws IOException {
        long copied = 0;
        long at = 0;
        while (at < size) {
            long data = Io.nextData(upper, at);
            if (data < 0 || data >= size) {
                break;
            }
            long end = Math.min(Io.nextHole(upper, data), size);
            for (long chunk = data; chunk < end; chunk += CHUNK) {
                int length = (int) Math.min(CHUNK, end - chunk);
                read(upper, mine, chunk, length, crc);
                steps.before("write a staged file");
                Io.writeFully(to, mine, chunk);
                copied += length;
            }
            at = end;
        }
        steps.before("truncate a staged file");
        Io.truncate(to, size);
        return copied;
    }

    /** The checksum that {@link #compare} and {@link #copy} computed, of what is there now. */
    int checksum(Fd upper, long size) throws IOException {
        CRC32C crc = new CRC32C();
        long at = 0;
        while (at < size) {
            long data = Io.nextData(upper, at);
            if (data < 0 || data >= size) {
                break;
            }
            long end = Math.min(Io.nextHole(upper, data), size);
            for (long chunk = data; chunk < end; chunk += CHUNK) {
                read(upper, mine, chunk, (int) Math.min(CHUNK, end - chunk), crc);
            }
            at = end;
        }
        return (int) crc.getValue();
    }

    private void read(Fd upper, ByteBuffer buffer, long offset, int length, CRC32C crc)
            throws IOException {
        buffer.clear().limit(length);
        if (Io.readFully(upper, buffer, offset) < length
                || expected != null && !Stat.of(upper).unchangedSince(expected)) {
            throw new MovingException(upper.toString());
        }
        buffer.flip();
        if (crc != null) {
            crc.update(buffer.duplicate());
        }
    }
}
