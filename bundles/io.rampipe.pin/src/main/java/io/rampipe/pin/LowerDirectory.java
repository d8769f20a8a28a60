package io.rampipe.pin;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Stat;
import java.io.IOException;

/** The directory on disk that a pin's record names ({@link Pin#LOWER_INODE} and its like). */
public final class LowerDirectory {
    private static final int PATH = At.O_PATH | At.O_DIRECTORY | At.O_NOFOLLOW;

    private LowerDirectory() {}

    /** The record with what identifies this directory; O_PATH will do. */
    public static Pin identified(Pin pin, Fd directory) throws IOException {
        Stat stat = Stat.of(directory);
        Pin with =
                pin.with(Pin.LOWER_DEVICE, Stat.deviceText(stat.device()))
                        .with(Pin.LOWER_INODE, Long.toUnsignedString(stat.inode()));
        try {
            return with.with(Pin.LOWER_HANDLE, FileHandle.of(directory).toString());
        } catch (LinuxException e) {
            if (e.is(Errno.EOPNOTSUPP)) {
                return with;
            }
            throw e;
        }
    }

    /** Whether this is the lower directory of the record. */
    public static boolean isLower(Pin pin, Stat stat) {
        return stat.isDirectory()
                && Stat.deviceText(stat.device()).equals(pin.attribute(Pin.LOWER_DEVICE))
                && Long.toUnsignedString(stat.inode()).equals(pin.attribute(Pin.LOWER_INODE));
    }

    /**
     * The lower directory, O_PATH, on a mount through which programs reach it: at its path if it is
     * still there, else where its file handle leads.
     */
    public static Fd open(Pin pin) throws IOException {
        FilePath path = pin.target().path();
        if (pin.target().kind() == Target.Kind.FILE) {
            path = path.parent();
        }
        Fd found = openIf(pin, path);
        if (found == null && pin.attributes().containsKey(Pin.LOWER_HANDLE)) {
            found = openByHandle(pin, FileHandle.parse(pin.attribute(Pin.LOWER_HANDLE)));
        }
        if (found == null) {
            throw new IOException(
                    "cannot mount "
                            + pin.target()
                            + " again: its directory on disk is not to be found; what is in RAM"
                            + " is kept"
                            + (pin.attributes().containsKey(Pin.UPPER)
                                    ? " in " + pin.path(Pin.UPPER)
                                    : ""));
        }
        return found;
    }

    private static Fd openByHandle(Pin pin, FileHandle handle) throws IOException {
        String device = pin.attribute(Pin.LOWER_DEVICE);
        for (MountInfo m : MountInfo.all()) {
            // Volumes of btrfs have device numbers of their own, which no mount shows.
            if (!Stat.deviceText(m.device()).equals(device) && !m.type().equals("btrfs")) {
                continue;
            }
            try (Fd mount = At.openNoLinks(m.path(), At.O_RDONLY | At.O_DIRECTORY);
                    Fd lower = handle.open(mount, PATH)) {
                Fd found = openIf(pin, lower.currentPath());
                if (found != null) {
                    return found;
                }
            } catch (LinuxException e) {
                // Not a directory, or not a mount through which it can be reached.
                if (!e.is(
                        Errno.ENOTDIR, Errno.ENOENT, Errno.ESTALE, Errno.EOPNOTSUPP, Errno.ELOOP)) {
                    throw e;
                }
            }
        }
        return null;
    }

    /** The directory at a path, if it is the lower directory of the pin; else null. */
    private static Fd openIf(Pin pin, FilePath path) throws IOException {
        try {
            Fd fd = At.openNoLinks(path, PATH);
            if (isLower(pin, Stat.of(fd))) {
                return fd;
            }
            fd.close();
            return null;
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                return null;
            }
            throw e;
        }
    }

    /** The mount that a descriptor is on. */
    public static MountInfo mountOf(Fd fd) throws IOException {
        return MountInfo.byId(Stat.of(fd).mount())
                .orElseThrow(() -> new IOException("the mount of " + fd + " vanished"));
    }
}
