package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Target;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;
import java.util.zip.CRC32C;

/**
 * The redo log's format, see docs/redo-log.md: a magic, then records of a length, a type, a body
 * and a checksum. The first is the header, the last the end with the number of records and a
 * checksum of all. Little-endian.
 */
final class RedoLog {
    /** Largest piece of file data in one record. */
    static final int PIECE = 256 * 1024;

    private static final byte[] MAGIC =
            "RamPipeRedo\0\0\0\1\n".getBytes(StandardCharsets.ISO_8859_1);
    private static final int MOST_BODY = PIECE + 256 * 1024;
    private static final int FRAME = 4 + 1 + 4;

    private static final int HEADER = 1;
    private static final int MOVE_OUT = 2;
    private static final int TRASH = 3;
    private static final int MOVE_IN = 4;
    private static final int MAKE_DIRECTORY = 5;
    private static final int PLACE = 6;
    private static final int WRITE = 7;
    private static final int PUNCH = 8;
    private static final int RESIZE = 9;
    private static final int ATTRIBUTES = 10;
    private static final int END = 11;

    private RedoLog() {}

    /**
     * What the log is about.
     *
     * @param device of the lower directory, as {@link Stat#deviceText}; devices may be numbered
     *     otherwise after a reboot
     * @param handle file handle of the lower directory
     */
    record Header(
            String pin,
            FilePath target,
            Target.Kind kind,
            String device,
            long inode,
            String handle,
            long sequence) {}

    /** The log is not what was written. */
    static final class DamagedException extends IOException {
        private static final long serialVersionUID = 1L;

        DamagedException(String message) {
            super(message);
        }
    }

    /** Takes operations; the data of a write lie in a buffer of the caller's. */
    interface Sink {
        void accept(Op op, ByteBuffer data) throws IOException;
    }

    /** Appends records to a file. One thread. Closing does not close the file. */
    static final class Writer implements Sink {
        private final Fd file;
        private final ByteBuffer buffer =
                ByteBuffer.allocateDirect(MOST_BODY + FRAME).order(ByteOrder.LITTLE_ENDIAN);
        private final CRC32C all = new CRC32C();
        private long position;
        private int records;

        Writer(Fd file, Header h) throws IOException {
            this.file = file;
            buffer.put(MAGIC);
            flush();
            start(HEADER);
            text(h.pin);
            path(h.target);
            buffer.put((byte) h.kind.ordinal());
            text(h.device);
            buffer.putLong(h.inode);
            text(h.handle);
            buffer.putLong(h.sequence);
            finish();
        }

        /** Bytes written so far. */
        long size() {
            return position;
        }

        /** Operations written so far. */
        int operations() {
            return records - 1;
        }

        @Override
        public void accept(Op op, ByteBuffer data) throws IOException {
            if (op instanceof Op.MoveOut o) {
                start(MOVE_OUT);
                buffer.putInt(o.number());
                path(o.path());
                text(o.identity());
            } else if (op instanceof Op.Trash o) {
                start(TRASH);
                buffer.putInt(o.number());
                path(o.path());
                text(o.identity());
            } else if (op instanceof Op.MoveIn o) {
                start(MOVE_IN);
                buffer.putInt(o.number());
                path(o.path());
            } else if (op instanceof Op.MakeDirectory o) {
                start(MAKE_DIRECTORY);
                path(o.path());
            } else if (op instanceof Op.Place o) {
                start(PLACE);
                buffer.putInt(o.number());
                path(o.path());
                text(o.identity());
            } else if (op instanceof Op.Write o) {
                start(WRITE);
                path(o.path());
                text(o.identity());
                buffer.putLong(o.offset());
                buffer.putInt(o.length());
                buffer.put(data);
            } else if (op instanceof Op.Punch o) {
                start(PUNCH);
                path(o.path());
                text(o.identity());
                buffer.putLong(o.offset());
                buffer.putLong(o.length());
            } else if (op instanceof Op.Resize o) {
                start(RESIZE);
                path(o.path());
                text(o.identity());
                buffer.putLong(o.size());
            } else if (op instanceof Op.Attributes o) {
                start(ATTRIBUTES);
                attributes(o);
            }
            finish();
        }

        private void attributes(Op.Attributes o) {
            path(o.path());
            text(o.identity());
            buffer.putInt(o.uid()).putInt(o.gid()).putInt(o.permissions());
            buffer.putLong(o.accessSeconds()).putInt(o.accessNanos());
            buffer.putLong(o.modifySeconds()).putInt(o.modifyNanos());
            buffer.putInt(o.xattrs().size());
            o.xattrs()
                    .forEach(
                            (name, value) -> {
                                text(name);
                                buffer.putInt(value.length).put(value);
                            });
        }

        /** The last record. After it only fsync is missing. */
        void end() throws IOException {
            int checksum = (int) all.getValue();
            start(END);
            buffer.putInt(records).putInt(checksum);
            finish();
        }

        private void start(int type) {
            buffer.clear();
            buffer.putInt(0).put((byte) type);
        }

        private void finish() throws IOException {
            int body = buffer.position() - 5;
            buffer.putInt(0, body);
            CRC32C crc = new CRC32C();
            crc.update(buffer.duplicate().flip());
            buffer.putInt((int) crc.getValue());
            all.update(buffer.duplicate().flip());
            records++;
            flush();
        }

        private void flush() throws IOException {
            buffer.flip();
            int n = buffer.remaining();
            Io.writeFully(file, buffer, position);
            position += n;
            buffer.clear();
        }

        private void text(String s) {
            byte[] bytes = s.getBytes(StandardCharsets.ISO_8859_1);
            buffer.putShort((short) bytes.length).put(bytes);
        }

        private void path(FilePath p) {
            text(p.raw());
        }
    }

    /**
     * Reads the whole log, checking everything; hands operations to the sink if there is one.
     * Returns the header.
     */
    static Header read(Fd file, Sink sink) throws IOException {
        long size = Stat.of(file).size();
        ByteBuffer buffer =
                ByteBuffer.allocateDirect(MOST_BODY + FRAME).order(ByteOrder.LITTLE_ENDIAN);
        CRC32C all = new CRC32C();
        long at = fill(file, buffer, 0, MAGIC.length);
        byte[] magic = new byte[MAGIC.length];
        buffer.get(magic);
        if (!java.util.Arrays.equals(magic, MAGIC)) {
            throw new DamagedException("it is no redo log, or of another version");
        }
        Header header = null;
        for (int records = 0; ; records++) {
            at += fill(file, buffer, at, 5);
            int body = buffer.getInt();
            int type = buffer.get();
            if (body < 0 || body > MOST_BODY) {
                throw new DamagedException("record " + records + " has an impossible length");
            }
            fill(file, buffer, at - 5, 5 + body + 4);
            at += body + 4;
            CRC32C crc = new CRC32C();
            crc.update(buffer.duplicate().limit(5 + body));
            if (buffer.getInt(5 + body) != (int) crc.getValue()) {
                throw new DamagedException("record " + records + " has a wrong checksum");
            }
            int before = (int) all.getValue();
            all.update(buffer.duplicate());
            buffer.position(5).limit(5 + body);
            try {
                if (type == END) {
                    if (buffer.getInt() != records
                            || buffer.getInt() != before
                            || at != size
                            || header == null) {
                        throw new DamagedException("its end does not fit its beginning");
                    }
                    return header;
                }
                if ((type == HEADER) != (records == 0)) {
                    throw new DamagedException("its header is not where it belongs");
                }
                if (type == HEADER) {
                    header = header(buffer);
                } else {
                    Op op = op(type, buffer);
                    if (!(op instanceof Op.Write) && buffer.hasRemaining()) {
                        throw new DamagedException("record " + records + " is too long");
                    }
                    if (sink != null) {
                        sink.accept(op, buffer);
                    }
                }
            } catch (BufferUnderflowException
                    | IllegalArgumentException
                    | IndexOutOfBoundsException e) {
                throw new DamagedException(
                        "record " + records + " makes no sense: " + e.getMessage());
            }
        }
    }

    private static int fill(Fd file, ByteBuffer buffer, long at, int length) throws IOException {
        buffer.clear().limit(length);
        if (Io.readFully(file, buffer, at) < length) {
            throw new DamagedException("it is cut off");
        }
        buffer.flip();
        return length;
    }

    private static Header header(ByteBuffer b) {
        return new Header(
                text(b),
                FilePath.ofRaw(text(b)),
                Target.Kind.values()[b.get()],
                text(b),
                b.getLong(),
                text(b),
                b.getLong());
    }

    private static Op op(int type, ByteBuffer b) throws DamagedException {
        switch (type) {
            case MOVE_OUT:
                return new Op.MoveOut(number(b), path(b, false), text(b));
            case TRASH:
                return new Op.Trash(number(b), path(b, false), text(b));
            case MOVE_IN:
                return new Op.MoveIn(number(b), path(b, false));
            case MAKE_DIRECTORY:
                return new Op.MakeDirectory(path(b, false));
            case PLACE:
                return new Op.Place(number(b), path(b, false), text(b));
            case WRITE:
                Op.Write write = new Op.Write(path(b, false), text(b), b.getLong(), b.getInt());
                if (write.offset() < 0 || write.length() != b.remaining()) {
                    throw new DamagedException("a piece of data has the wrong length");
                }
                return write;
            case PUNCH:
                Op.Punch punch = new Op.Punch(path(b, false), text(b), b.getLong(), b.getLong());
                if (punch.offset() < 0 || punch.length() <= 0) {
                    throw new DamagedException("a hole has an impossible length");
                }
                return punch;
            case RESIZE:
                Op.Resize resize = new Op.Resize(path(b, false), text(b), b.getLong());
                if (resize.size() < 0) {
                    throw new DamagedException("a size is negative");
                }
                return resize;
            case ATTRIBUTES:
                return attributes(b);
            default:
                throw new DamagedException("there is a record of unknown type " + type);
        }
    }

    private static Op attributes(ByteBuffer b) throws DamagedException {
        FilePath path = path(b, true);
        String identity = text(b);
        int uid = b.getInt();
        int gid = b.getInt();
        int permissions = b.getInt();
        long accessSeconds = b.getLong();
        int accessNanos = b.getInt();
        long modifySeconds = b.getLong();
        int modifyNanos = b.getInt();
        Map<String, byte[]> xattrs = new TreeMap<>();
        for (int n = b.getInt(); n > 0; n--) {
            String name = text(b);
            int length = b.getInt();
            if (length < 0 || length > b.remaining()) {
                throw new DamagedException("an attribute has an impossible length");
            }
            byte[] value = new byte[length];
            b.get(value);
            xattrs.put(name, value);
        }
        return new Op.Attributes(
                path,
                identity,
                uid,
                gid,
                permissions & 07777,
                accessSeconds,
                accessNanos,
                modifySeconds,
                modifyNanos,
                xattrs);
    }

    private static int number(ByteBuffer b) throws DamagedException {
        int n = b.getInt();
        if (n < 0) {
            throw new DamagedException("a number is negative");
        }
        return n;
    }

    private static String text(ByteBuffer b) {
        byte[] bytes = new byte[b.getShort() & 0xffff];
        b.get(bytes);
        return new String(bytes, StandardCharsets.ISO_8859_1);
    }

    /** A relative path that leads nowhere but down. */
    private static FilePath path(ByteBuffer b, boolean mayBeEmpty) throws DamagedException {
        FilePath path = FilePath.ofRaw(text(b));
        if (path.isEmpty() && mayBeEmpty) {
            return path;
        }
        for (String name : path.raw().split("/", -1)) {
            if (name.isEmpty() || name.equals(".") || name.equals("..")) {
                throw new DamagedException("the path '" + path + "' does not lead down");
            }
        }
        return path;
    }
}
