package io.rampipe.sync.journal.internal;

import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.Stat;
import io.rampipe.sync.journal.internal.LogRecord.Data;
import io.rampipe.sync.journal.internal.LogRecord.Footer;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.zip.CRC32C;

/**
 * Reads a redo log record by record, each checked. One thread. The descriptor is the caller's.
 * Whoever applies a log reads it to its end first ({@link LogContents#read}): only then is it known
 * to be whole.
 */
final class LogReader {
    private final Source source;
    private final long size;
    private final ByteBuffer buffer;
    private final CRC32C crc = new CRC32C();
    private ByteBuffer data;
    private long position;
    private long records;
    private long sum;
    private boolean ended;

    /** Where the bytes of a log come from. */
    interface Source {
        long size() throws IOException;

        /** A buffer of that size that {@link #read} can use. */
        ByteBuffer allocate(int size);

        /** Fills the buffer from that offset, as far as there are bytes; returns their number. */
        int read(ByteBuffer buffer, long offset) throws IOException;

        static Source of(Fd fd) {
            return new Source() {
                @Override
                public long size() throws IOException {
                    return Stat.of(fd).size();
                }

                @Override
                public ByteBuffer allocate(int size) {
                    return ByteBuffer.allocateDirect(size);
                }

                @Override
                public int read(ByteBuffer buffer, long offset) throws IOException {
                    return Io.readFully(fd, buffer, offset);
                }
            };
        }
    }

    LogReader(Fd fd) throws IOException {
        this(Source.of(fd));
    }

    LogReader(Source source) throws IOException {
        this.source = source;
        this.size = source.size();
        int most = (int) Math.min(2 * LogFormat.MAX_RECORD, size);
        this.buffer = source.allocate(most).order(LogFormat.ORDER);
        buffer.limit(0);
        need(LogFormat.PREAMBLE, "the preamble");
        byte[] magic = new byte[LogFormat.MAGIC.length];
        buffer.get(magic);
        if (!Arrays.equals(magic, LogFormat.MAGIC)) {
            throw new DamagedLogException("this is no redo log");
        }
        int version = buffer.getInt();
        if (version != LogFormat.VERSION || buffer.getInt() != 0) {
            throw new DamagedLogException(
                    "version " + version + " of the redo log's format is not known");
        }
    }

    /** The next record; null behind the footer, which must be the end of the file. */
    LogRecord next() throws IOException {
        if (ended) {
            return null;
        }
        need(LogFormat.FRAME, "a record");
        int start = buffer.position();
        int type = buffer.getInt(start);
        int length = buffer.getInt(start + 4);
        int checksum = buffer.getInt(start + 8);
        if (length < 0
                || length > LogFormat.MAX_RECORD - LogFormat.FRAME
                || buffer.getInt(start + 12) != 0) {
            throw new DamagedLogException("impossible frame of record " + records);
        }
        int whole = LogFormat.padded(LogFormat.FRAME + length);
        need(whole, "record " + records);
        start = buffer.position();
        buffer.putInt(start + 8, 0);
        if (LogWriter.checksum(crc, buffer, start, start + whole) != checksum) {
            throw new DamagedLogException("wrong checksum of record " + records);
        }
        ByteBuffer payload = buffer.duplicate().order(LogFormat.ORDER);
        payload.limit(start + LogFormat.FRAME + length).position(start + LogFormat.FRAME);
        LogRecord record = LogFormat.decode(type, payload);
        buffer.position(start + whole);
        if (record instanceof Footer footer) {
            ended = true;
            if (footer.records() != records || footer.sum() != sum) {
                throw new DamagedLogException("the footer does not fit");
            }
            if (position - buffer.remaining() != size) {
                throw new DamagedLogException("something is behind the footer");
            }
        }
        data = record instanceof Data ? payload : null;
        records++;
        sum = LogFormat.sum(sum, checksum);
        return record;
    }

    /** The bytes of the last record, a {@link Data}; valid until the next record is read. */
    ByteBuffer data() {
        return data;
    }

    private void need(int bytes, String what) throws IOException {
        if (buffer.remaining() >= bytes) {
            return;
        }
        buffer.compact();
        position += source.read(buffer, position);
        buffer.flip();
        if (buffer.remaining() < bytes) {
            throw new DamagedLogException("the file ends within " + what);
        }
    }
}
