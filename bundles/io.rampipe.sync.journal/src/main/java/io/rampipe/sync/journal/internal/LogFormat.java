package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.Stat;
import io.rampipe.sync.journal.internal.LogRecord.Data;
import io.rampipe.sync.journal.internal.LogRecord.Detach;
import io.rampipe.sync.journal.internal.LogRecord.Directory;
import io.rampipe.sync.journal.internal.LogRecord.DirectoryAttributes;
import io.rampipe.sync.journal.internal.LogRecord.File;
import io.rampipe.sync.journal.internal.LogRecord.FileAttributes;
import io.rampipe.sync.journal.internal.LogRecord.Footer;
import io.rampipe.sync.journal.internal.LogRecord.Header;
import io.rampipe.sync.journal.internal.LogRecord.Hole;
import io.rampipe.sync.journal.internal.LogRecord.PlaceDirectory;
import io.rampipe.sync.journal.internal.LogRecord.PlaceFile;
import io.rampipe.sync.journal.internal.LogRecord.Remove;
import io.rampipe.sync.journal.internal.LogRecord.Size;
import io.rampipe.sync.journal.internal.LogRecord.Was;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.TreeMap;

/** How records are written down: {@code docs/redo-log.md}. */
final class LogFormat {
    static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
    static final byte[] MAGIC = "RAMPIPE\n".getBytes(StandardCharsets.US_ASCII);
    static final int VERSION = 2;

    /** Magic, version, four bytes of zero. */
    static final int PREAMBLE = 16;

    /** Type, payload length, checksum, four bytes of zero. */
    static final int FRAME = 16;

    /** A whole record with frame and padding. */
    static final int MAX_RECORD = 512 * 1024;

    static final int MAX_DATA = 256 * 1024;

    private static final int MAX_NAME = 255;
    private static final int MAX_PATH = 4096;
    private static final int MAX_XATTR_NAME = 255;
    private static final int MAX_XATTR_VALUE = 65536;
    private static final long PRIME = 0x100000001b3L;

    static final int HEADER = 1;
    static final int DIRECTORY = 2;
    static final int FILE = 3;
    static final int SIZE = 4;
    static final int DATA = 5;
    static final int HOLE = 6;
    static final int DETACH = 7;
    static final int REMOVE = 8;
    static final int PLACE_DIRECTORY = 9;
    static final int PLACE_FILE = 10;
    static final int FILE_ATTRIBUTES = 11;
    static final int DIRECTORY_ATTRIBUTES = 12;
    static final int FOOTER = 13;

    private LogFormat() {}

    /** The sum over all records, after one more. */
    static long sum(long sum, int checksum) {
        return sum * PRIME + (checksum & 0xffffffffL);
    }

    static int padded(int length) {
        return length + 7 & ~7;
    }

    static int type(LogRecord record) {
        if (record instanceof Header) {
            return HEADER;
        } else if (record instanceof Directory) {
            return DIRECTORY;
        } else if (record instanceof File) {
            return FILE;
        } else if (record instanceof Size) {
            return SIZE;
        } else if (record instanceof Data) {
            return DATA;
        } else if (record instanceof Hole) {
            return HOLE;
        } else if (record instanceof Detach) {
            return DETACH;
        } else if (record instanceof Remove) {
            return REMOVE;
        } else if (record instanceof PlaceDirectory) {
            return PLACE_DIRECTORY;
        } else if (record instanceof PlaceFile) {
            return PLACE_FILE;
        } else if (record instanceof FileAttributes) {
            return FILE_ATTRIBUTES;
        } else if (record instanceof DirectoryAttributes) {
            return DIRECTORY_ATTRIBUTES;
        }
        return FOOTER;
    }

    /** Appends the payload; of {@link Data} without its bytes. */
    static void encode(LogRecord record, ByteBuffer out) {
        if (record instanceof Header r) {
            putText(out, r.pin());
            out.putLong(r.sequence());
            out.put(flag(r.deferred()));
            out.put(flag(r.file()));
            putText(out, r.device());
            out.putLong(r.inode());
            putText(out, r.handle());
            putPath(out, r.target());
        } else if (record instanceof Directory r) {
            out.putInt(r.id());
            out.putLong(r.inode());
            out.putInt(r.oldParent());
            putPath(out, r.oldName());
            out.putInt(r.newParent());
            putPath(out, r.newName());
            putPath(out, r.staged());
        } else if (record instanceof File r) {
            out.putInt(r.id());
            out.putLong(r.inode());
            out.putInt(r.type());
            out.putInt(r.home());
            putPath(out, r.homeName());
            putPath(out, r.staged());
        } else if (record instanceof Size r) {
            out.putInt(r.file());
            out.putLong(r.size());
        } else if (record instanceof Data r) {
            out.putInt(r.file());
            out.putLong(r.offset());
            out.putInt(r.length());
        } else if (record instanceof Hole r) {
            out.putInt(r.file());
            out.putLong(r.offset());
            out.putLong(r.length());
        } else if (record instanceof Detach r) {
            out.putInt(r.directory());
        } else if (record instanceof Remove r) {
            out.putInt(r.directory());
            putPath(out, r.name());
            out.putLong(r.inode());
            out.put(flag(r.isDirectory()));
            putWas(out, r.was());
        } else if (record instanceof PlaceDirectory r) {
            out.putInt(r.directory());
        } else if (record instanceof PlaceFile r) {
            out.putInt(r.file());
            out.putInt(r.directory());
            putPath(out, r.name());
            out.putLong(r.expected());
            out.put(flag(r.last()));
            putWas(out, r.was());
        } else if (record instanceof FileAttributes r) {
            out.putInt(r.file());
            putAttributes(out, r.attributes());
        } else if (record instanceof DirectoryAttributes r) {
            out.putInt(r.directory());
            putAttributes(out, r.attributes());
        } else if (record instanceof Footer r) {
            out.putLong(r.records());
            out.putLong(r.sum());
        }
    }

    private static void putWas(ByteBuffer out, Was was) {
        out.putLong(was.size());
        out.putLong(was.modifySeconds());
        out.putInt(was.modifyNanos());
    }

    private static byte flag(boolean b) {
        return (byte) (b ? 1 : 0);
    }

    private static void putText(ByteBuffer out, String text) {
        putBytes(out, text.getBytes(StandardCharsets.ISO_8859_1));
    }

    private static void putPath(ByteBuffer out, FilePath path) {
        putBytes(out, path.bytes());
    }

    private static void putBytes(ByteBuffer out, byte[] bytes) {
        out.putInt(bytes.length);
        out.put(bytes);
    }

    private static void putAttributes(ByteBuffer out, Attributes a) {
        out.putInt(a.uid());
        out.putInt(a.gid());
        out.putInt(a.permissions());
        out.putLong(a.accessSeconds());
        out.putInt(a.accessNanos());
        out.putLong(a.modifySeconds());
        out.putInt(a.modifyNanos());
        out.put(flag(a.keepsUser()));
        out.putInt(a.xattrs().size());
        for (Map.Entry<String, byte[]> e : a.xattrs().entrySet()) {
            putText(out, e.getKey());
            putBytes(out, e.getValue());
        }
    }

    /**
     * The record in that payload, which must be used up; of {@link Data} its bytes are left.
     * Everything that can be seen to be wrong in a record by itself is.
     */
    static LogRecord decode(int type, ByteBuffer in) throws DamagedLogException {
        try {
            LogRecord record = decodeAny(type, in);
            int left = record instanceof Data d ? d.length() : 0;
            if (in.remaining() != left) {
                throw new DamagedLogException(
                        in.remaining() + " bytes at the end of a record of type " + type);
            }
            return record;
        } catch (BufferUnderflowException e) {
            throw new DamagedLogException("a record of type " + type + " is too short");
        }
    }

    private static LogRecord decodeAny(int type, ByteBuffer in) throws DamagedLogException {
        return switch (type) {
            case HEADER -> header(in);
            case DIRECTORY -> directory(in);
            case FILE -> file(in);
            case SIZE -> new Size(number(in), offset(in));
            case DATA -> data(in);
            case HOLE -> hole(in);
            case DETACH -> new Detach(number(in));
            case REMOVE -> new Remove(number(in), name(in), in.getLong(), truth(in), was(in));
            case PLACE_DIRECTORY -> new PlaceDirectory(number(in));
            case PLACE_FILE ->
                    new PlaceFile(
                            number(in), number(in), name(in), in.getLong(), truth(in), was(in));
            case FILE_ATTRIBUTES -> new FileAttributes(number(in), attributes(in));
            case DIRECTORY_ATTRIBUTES -> new DirectoryAttributes(number(in), attributes(in));
            case FOOTER -> new Footer(in.getLong(), in.getLong());
            default -> throw new DamagedLogException("unknown type of record " + type);
        };
    }

    private static Header header(ByteBuffer in) throws DamagedLogException {
        String pin = text(in, 32);
        long sequence = offset(in);
        boolean deferred = truth(in);
        boolean file = truth(in);
        String device = text(in, 32);
        long inode = in.getLong();
        String handle = text(in, 512);
        FilePath target = FilePath.ofRaw(text(in, MAX_PATH));
        check(pin.matches("[0-9a-z]{1,32}"), "not a pin id");
        check(device.matches("[0-9]{1,10}:[0-9]{1,10}"), "not a device");
        check(
                handle.isEmpty() || handle.matches("-?[0-9]{1,9}:([0-9a-f]{2}){1,128}"),
                "not a file handle");
        check(target.isAbsolute(), "target is not absolute");
        check(!file || isName(target.name()), "target has no name");
        return new Header(pin, sequence, deferred, device, inode, handle, target, file);
    }

    private static Directory directory(ByteBuffer in) throws DamagedLogException {
        int id = number(in);
        long inode = in.getLong();
        int oldParent = numberOrNone(in);
        FilePath oldName = nameOrEmpty(in);
        int newParent = numberOrNone(in);
        FilePath newName = nameOrEmpty(in);
        FilePath staged = stagedOrEmpty(in);
        check(oldParent == LogRecord.NONE == oldName.isEmpty(), "old place without a name");
        check(newParent == LogRecord.NONE == newName.isEmpty(), "new place without a name");
        check(
                id == LogRecord.ROOT
                        ? oldName.isEmpty() && newName.isEmpty() && staged.isEmpty()
                        : !(oldName.isEmpty() && newName.isEmpty()),
                "a directory nowhere");
        return new Directory(id, inode, oldParent, oldName, newParent, newName, staged);
    }

    private static File file(ByteBuffer in) throws DamagedLogException {
        int id = number(in);
        long inode = in.getLong();
        int type = in.getInt();
        int home = numberOrNone(in);
        FilePath homeName = nameOrEmpty(in);
        FilePath staged = stagedOrEmpty(in);
        check(
                type == Stat.REGULAR
                        || type == Stat.SYMLINK
                        || type == Stat.CHARACTER
                        || type == Stat.BLOCK
                        || type == Stat.FIFO
                        || type == Stat.SOCKET,
                "not a type of file");
        check(home == LogRecord.NONE == homeName.isEmpty(), "a home without a name");
        check(home == LogRecord.NONE != staged.isEmpty(), "a file needs one place");
        // A path could lead through a staged symbolic link.
        check(staged.isEmpty() || isName(staged), "a staged file is not in the staging directory");
        return new File(id, inode, type, home, homeName, staged);
    }

    private static Data data(ByteBuffer in) throws DamagedLogException {
        int file = number(in);
        long offset = offset(in);
        int length = in.getInt();
        check(length > 0 && length <= MAX_DATA, "impossible length of data");
        check(offset <= Long.MAX_VALUE - length, "data beyond the end of all files");
        return new Data(file, offset, length);
    }

    private static Hole hole(ByteBuffer in) throws DamagedLogException {
        int file = number(in);
        long offset = offset(in);
        long length = offset(in);
        check(length > 0 && offset <= Long.MAX_VALUE - length, "impossible hole");
        return new Hole(file, offset, length);
    }

    private static Was was(ByteBuffer in) throws DamagedLogException {
        long size = in.getLong();
        long seconds = in.getLong();
        int nanos = nanos(in);
        check(size >= -1, "impossible size");
        return new Was(size, seconds, nanos);
    }

    private static Attributes attributes(ByteBuffer in) throws DamagedLogException {
        int uid = in.getInt();
        int gid = in.getInt();
        int permissions = in.getInt();
        long accessSeconds = in.getLong();
        int accessNanos = nanos(in);
        long modifySeconds = in.getLong();
        int modifyNanos = nanos(in);
        boolean keepsUser = truth(in);
        check((permissions & ~07777) == 0, "impossible mode");
        check(uid != -1 && gid != -1, "impossible owner");
        TreeMap<String, byte[]> xattrs = new TreeMap<>();
        int count = in.getInt();
        check(count >= 0, "impossible number of attributes");
        for (int i = 0; i < count; i++) {
            String name = text(in, MAX_XATTR_NAME);
            check(Attributes.synced(name), "not an attribute that is synced");
            check(xattrs.put(name, bytes(in, MAX_XATTR_VALUE)) == null, "an attribute twice");
        }
        return new Attributes(
                uid,
                gid,
                permissions,
                accessSeconds,
                accessNanos,
                modifySeconds,
                modifyNanos,
                keepsUser,
                xattrs);
    }

    private static int nanos(ByteBuffer in) throws DamagedLogException {
        int nanos = in.getInt();
        check(nanos >= 0 && nanos < 1_000_000_000, "impossible time");
        return nanos;
    }

    private static int number(ByteBuffer in) throws DamagedLogException {
        int n = in.getInt();
        check(n >= 0, "negative number");
        return n;
    }

    private static int numberOrNone(ByteBuffer in) throws DamagedLogException {
        int n = in.getInt();
        check(n >= LogRecord.NONE, "negative number");
        return n;
    }

    private static long offset(ByteBuffer in) throws DamagedLogException {
        long n = in.getLong();
        check(n >= 0, "negative offset");
        return n;
    }

    private static boolean truth(ByteBuffer in) throws DamagedLogException {
        byte b = in.get();
        check(b == 0 || b == 1, "neither true nor false");
        return b == 1;
    }

    private static FilePath name(ByteBuffer in) throws DamagedLogException {
        FilePath name = nameOrEmpty(in);
        check(!name.isEmpty(), "empty name");
        return name;
    }

    private static FilePath nameOrEmpty(ByteBuffer in) throws DamagedLogException {
        FilePath name = FilePath.ofRaw(text(in, MAX_NAME));
        check(name.isEmpty() || isName(name), "not a name of one component");
        return name;
    }

    private static FilePath stagedOrEmpty(ByteBuffer in) throws DamagedLogException {
        FilePath path = FilePath.ofRaw(text(in, MAX_PATH));
        if (!path.isEmpty()) {
            for (String component : path.raw().split("/", -1)) {
                check(isName(FilePath.ofRaw(component)), "not a path below the staging directory");
            }
        }
        return path;
    }

    /** One component that leads down. */
    static boolean isName(FilePath name) {
        String raw = name.raw();
        return !raw.isEmpty()
                && raw.length() <= MAX_NAME
                && raw.indexOf('/') < 0
                && !raw.equals(".")
                && !raw.equals("..");
    }

    private static String text(ByteBuffer in, int most) throws DamagedLogException {
        String text = new String(bytes(in, most), StandardCharsets.ISO_8859_1);
        check(text.indexOf('\0') < 0, "a NUL in a name");
        return text;
    }

    private static byte[] bytes(ByteBuffer in, int most) throws DamagedLogException {
        int length = in.getInt();
        check(length >= 0 && length <= most && length <= in.remaining(), "impossible length");
        byte[] bytes = new byte[length];
        in.get(bytes);
        return bytes;
    }

    private static void check(boolean good, String otherwise) throws DamagedLogException {
        if (!good) {
            throw new DamagedLogException(otherwise);
        }
    }
}
