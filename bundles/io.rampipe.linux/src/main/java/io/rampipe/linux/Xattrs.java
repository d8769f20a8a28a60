package io.rampipe.linux;

import com.sun.jna.Memory;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Extended attributes ({@code xattr(7)}) of an open file of any kind; O_PATH will do. ACLs are
 * attributes too.
 */
public final class Xattrs {
    private Xattrs() {}

    /** All names, in no order; empty where the file system has none. */
    public static List<String> list(Fd fd) throws LinuxException {
        Memory m = LibC.scratch();
        long n = LibC.listxattr(fd.magicPath().cString(), m, m.size());
        if (n < 0) {
            if (LibC.errno() == Errno.EOPNOTSUPP) {
                return List.of();
            }
            throw LinuxException.last("list attributes of", fd);
        }
        List<String> names = new ArrayList<>();
        byte[] all = m.getByteArray(0, (int) n);
        for (int start = 0, i = 0; i < all.length; i++) {
            if (all[i] == 0) {
                names.add(new String(all, start, i - start, StandardCharsets.ISO_8859_1));
                start = i + 1;
            }
        }
        return names;
    }

    /** The value, or empty if there is no such attribute. */
    public static Optional<byte[]> get(Fd fd, String name) throws LinuxException {
        Memory m = LibC.scratch();
        long n = LibC.getxattr(fd.magicPath().cString(), cString(name), m, m.size());
        if (n < 0) {
            if (LibC.errno() == Errno.ENODATA || LibC.errno() == Errno.EOPNOTSUPP) {
                return Optional.empty();
            }
            throw LinuxException.last("get attribute " + name + " of", fd);
        }
        return Optional.of(m.getByteArray(0, (int) n));
    }

    /**
     * Whether the file system can hold attributes of that name at all (tmpfs has no {@code user.}
     * ones before Linux 6.6).
     */
    public static boolean supported(Fd fd, String name) throws LinuxException {
        return LibC.getxattr(fd.magicPath().cString(), cString(name), LibC.scratch(), 0) >= 0
                || LibC.errno() != Errno.EOPNOTSUPP;
    }

    public static void set(Fd fd, String name, byte[] value) throws LinuxException {
        At.check(
                LibC.setxattr(fd.magicPath().cString(), cString(name), value, value.length, 0),
                "set attribute " + name + " of",
                fd);
    }

    /** Removes it; no error if there is none. */
    public static void remove(Fd fd, String name) throws LinuxException {
        if (LibC.removexattr(fd.magicPath().cString(), cString(name)) < 0
                && LibC.errno() != Errno.ENODATA) {
            throw LinuxException.last("remove attribute " + name + " of", fd);
        }
    }

    private static byte[] cString(String name) {
        byte[] raw = name.getBytes(StandardCharsets.ISO_8859_1);
        return java.util.Arrays.copyOf(raw, raw.length + 1);
    }
}
