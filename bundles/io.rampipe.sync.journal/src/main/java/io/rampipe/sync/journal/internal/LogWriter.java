package io.rampipe.sync.journal.internal;

import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.sync.journal.internal.LogRecord.Data;
import io.rampipe.sync.journal.internal.LogRecord.Footer;
import java.io.IOException;
import java.nio.BufferOverflowException;
import java.nio.ByteBuffer;
import java.util.zip.CRC32C;

/** Writes a redo log from its beginning. One thread. The file is the caller's. */
final class LogWriter {
    /** A state to come back to. */
    record Mark(long position, long records, long sum) {}

    private static final int BUFFER = 2 * LogFormat.MAX_RECORD;

    /** Where the log goes; asked for when there is something to write. */
    @FunctionalInterface
    interface Destination {
        Fd open() throws IOException;
    }

    private final Destination destination;
    private final Steps steps;
    private final ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER).order(LogFormat.ORDER);
    private final CRC32C crc = new CRC32C();
    private long flushed;
    private long records;
    private long sum;

    LogWriter(Destination destination, Steps steps) {
        this.destination = destination;
        this.steps = steps;
        buffer.put(LogFormat.MAGIC).putInt(LogFormat.VERSION).putInt(0);
    }

    void write(LogRecord record) throws IOException {
        write(record, null);
    }

    /** Writes data; uses up {@code bytes}. */
    void write(Data record, ByteBuffer bytes) throws IOException {
        write((LogRecord) record, bytes);
    }

    private void write(LogRecord record, ByteBuffer bytes) throws IOException {
        if (buffer.remaining() < LogFormat.MAX_RECORD) {
            flush();
        }
        int start = buffer.position();
        buffer.limit(start + LogFormat.MAX_RECORD);
        try {
            buffer.putInt(LogFormat.type(record)).putInt(0).putInt(0).putInt(0);
            LogFormat.encode(record, buffer);
            if (bytes != null) {
                buffer.put(bytes);
            }
            int length = buffer.position() - start - LogFormat.FRAME;
            while ((buffer.position() - start & 7) != 0) {
                buffer.put((byte) 0);
            }
            buffer.putInt(start + 4, length);
        } catch (BufferOverflowException e) {
            throw new IOException("the attributes of a file are too large for the redo log", e);
        } finally {
            buffer.limit(buffer.capacity());
        }
        int checksum = checksum(crc, buffer, start, buffer.position());
        buffer.putInt(start + 8, checksum);
        records++;
        sum = LogFormat.sum(sum, checksum);
    }

    /** Over a record with its checksum field at zero. */
    static int checksum(CRC32C crc, ByteBuffer buffer, int start, int end) {
        ByteBuffer view = buffer.duplicate();
        view.limit(end).position(start);
        crc.reset();
        crc.update(view);
        return (int) crc.getValue();
    }

    Mark mark() {
        return new Mark(flushed + buffer.position(), records, sum);
    }

    /** Forgets everything written since. */
    void reset(Mark mark) throws IOException {
        if (mark.position() >= flushed) {
            buffer.position((int) (mark.position() - flushed));
        } else {
            buffer.clear();
            flushed = mark.position();
            steps.before("truncate the log");
            Io.truncate(destination.open(), flushed);
        }
        records = mark.records();
        sum = mark.sum();
    }

    long records() {
        return records;
    }

    /** Bytes so far. */
    long length() {
        return flushed + buffer.position();
    }

    /** Writes the footer and cuts the file there. What it says is durable only after an fsync. */
    void finish() throws IOException {
        write(new Footer(records, sum));
        flush();
        steps.before("truncate the log");
        Io.truncate(destination.open(), flushed);
    }

    private void flush() throws IOException {
        buffer.flip();
        if (buffer.hasRemaining()) {
            int length = buffer.remaining();
            steps.before("write the log");
            Io.writeFully(destination.open(), buffer, flushed);
            flushed += length;
        }
        buffer.clear();
    }
}
