package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import io.rampipe.linux.Xattrs;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * How overlayfs writes down, in an upper directory, what is not simply there ({@code
 * Documentation/filesystems/overlayfs.rst}; the layout of the origin attribute is {@code struct
 * ovl_fb} in {@code fs/overlayfs/overlayfs.h}).
 */
final class Overlay {
    private static final String PREFIX = "trusted.overlay.";
    private static final int ORIGIN_HEADER = 21;
    private static final int ORIGIN_TYPE = 4;

    private Overlay() {}

    /** A deleted name: a 0/0 character device. */
    static boolean isWhiteout(Stat upper) {
        return upper.type() == Stat.CHARACTER && upper.deviceNumber() == 0;
    }

    /** A directory that hides everything of its name below. */
    static boolean isOpaque(Fd upper) throws LinuxException {
        return Xattrs.get(upper, PREFIX + "opaque")
                .filter(v -> v.length == 1 && v[0] == 'y')
                .isPresent();
    }

    /**
     * Where a renamed directory was: an absolute path from the lower directory, or another name in
     * the same directory.
     */
    static Optional<FilePath> redirect(Fd upper) throws LinuxException {
        return Xattrs.get(upper, PREFIX + "redirect").map(FilePath::ofBytes);
    }

    /** The lower file that an upper file was copied up from. */
    static Optional<String> origin(Fd upper) throws LinuxException {
        return Xattrs.get(upper, PREFIX + "origin")
                .filter(v -> v.length > ORIGIN_HEADER)
                .map(
                        v ->
                                FileHandle.of(
                                                v[ORIGIN_TYPE] & 0xff,
                                                Arrays.copyOfRange(v, ORIGIN_HEADER, v.length))
                                        .toString());
    }

    /** The overlay keeps the hard links of this file together ({@code index=on}). */
    static boolean linksKept(Fd upper) throws LinuxException {
        return Xattrs.get(upper, PREFIX + "nlink").isPresent();
    }

    /** The attributes that programs see. */
    static Map<String, byte[]> xattrs(Fd file) throws LinuxException {
        Map<String, byte[]> all = new TreeMap<>();
        for (String name : Xattrs.list(file)) {
            if (!name.startsWith(PREFIX)) {
                Xattrs.get(file, name).ifPresent(v -> all.put(name, v));
            }
        }
        return all;
    }
}
