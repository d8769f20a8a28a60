package io.rampipe.linux;

import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Optional;

/**
 * A file's identity for as long as it exists, across renames and restarts ({@code
 * open_by_handle_at(2)}). Opening by handle goes straight to the file system, past everything
 * mounted over the path.
 */
public final class FileHandle {
    private static final int MAX_BYTES = 128;
    private static final int AT_EMPTY_PATH = 0x1000;
    private static final byte[] EMPTY = {0};
    private static final String ORIGIN = "trusted.overlay.origin";

    /** Bytes before the file system's own handle in overlayfs's form of file handles. */
    private static final int ORIGIN_HEADER = 21;

    private static final int ORIGIN_TYPE = 4;

    private final int type;
    private final byte[] bytes;

    private FileHandle(int type, byte[] bytes) {
        this.type = type;
        this.bytes = bytes;
    }

    /** Takes over the array. */
    public static FileHandle of(int type, byte[] bytes) {
        return new FileHandle(type, bytes);
    }

    /** Of an open file; O_PATH will do. EOPNOTSUPP where the file system has no handles. */
    public static FileHandle of(Fd fd) throws LinuxException {
        Memory m = LibC.scratch();
        m.setInt(0, MAX_BYTES);
        Pointer mountId = m.share(8 + MAX_BYTES);
        if (LibC.name_to_handle_at(fd.number(), EMPTY, m, mountId, AT_EMPTY_PATH) < 0) {
            throw LinuxException.last("get the file handle of", fd);
        }
        return new FileHandle(m.getInt(4), m.getByteArray(8, m.getInt(0)));
    }

    /**
     * Of the lower file from which an overlay has copied this one up, on the lower's file system
     * ({@code struct ovl_fb} in the kernel's {@code fs/overlayfs/overlayfs.h}).
     *
     * @param file in the upper layer; O_PATH will do
     */
    public static Optional<FileHandle> copiedUpFrom(Fd file) throws LinuxException {
        byte[] b = Xattrs.get(file, ORIGIN).orElse(null);
        // Version 0, magic 0xfb, length; flags: 1 for big endian, 2 for any, 4 for upper.
        if (b == null
                || b.length <= ORIGIN_HEADER
                || b[0] != 0
                || b[1] != (byte) 0xfb
                || (b[2] & 0xff) > b.length
                || (b[2] & 0xff) <= ORIGIN_HEADER
                || (b[3] & ~3) != 0) {
            return Optional.empty();
        }
        return Optional.of(
                of(b[ORIGIN_TYPE] & 0xff, Arrays.copyOfRange(b, ORIGIN_HEADER, b[2] & 0xff)));
    }

    /** The inverse of {@link #toString}. */
    public static FileHandle parse(String text) {
        int colon = text.indexOf(':');
        if (colon < 0) {
            throw new IllegalArgumentException("not a file handle: " + text);
        }
        byte[] bytes = HexFormat.of().parseHex(text.substring(colon + 1));
        if (bytes.length > MAX_BYTES) {
            throw new IllegalArgumentException("file handle too long: " + text);
        }
        return new FileHandle(Integer.parseInt(text.substring(0, colon)), bytes);
    }

    /**
     * Opens it.
     *
     * @param mount anything open on the mount through which it is to be seen (CAP_DAC_READ_SEARCH);
     *     not O_PATH
     * @throws LinuxException ESTALE if it is gone
     */
    public Fd open(Fd mount, int flags) throws LinuxException {
        Memory m = LibC.scratch();
        m.setInt(0, bytes.length);
        m.setInt(4, type);
        m.write(8, bytes, 0, bytes.length);
        return Fd.check(
                LibC.open_by_handle_at(mount.number(), m, flags | At.O_CLOEXEC),
                "open by handle",
                "file handle " + this);
    }

    public int type() {
        return type;
    }

    public byte[] bytes() {
        return bytes.clone();
    }

    @Override
    public boolean equals(Object o) {
        return o instanceof FileHandle h && h.type == type && Arrays.equals(h.bytes, bytes);
    }

    @Override
    public int hashCode() {
        return 31 * type + Arrays.hashCode(bytes);
    }

    /** {@code type:hex}. */
    @Override
    public String toString() {
        return type + ":" + HexFormat.of().formatHex(bytes);
    }
}
