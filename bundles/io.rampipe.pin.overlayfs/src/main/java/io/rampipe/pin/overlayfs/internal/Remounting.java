package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.Optional;

/** Puts the mounts of a pin back from its record alone, wherever its target is by now. */
final class Remounting {
    private static final int PATH = At.O_PATH | At.O_DIRECTORY | At.O_NOFOLLOW;

    private Remounting() {}

    /** Idempotent: what is mounted stays. Returns the record with the mount id. */
    static Pin remount(Pin pin) throws IOException {
        Optional<MountInfo> there = Overlay.over(pin);
        if (there.isEmpty()) {
            try (Fd lower = lower(pin)) {
                long flags = Overlay.flags(mountOf(lower));
                if (pin.target().kind() == Target.Kind.DIRECTORY) {
                    mount(pin, lower, lower, flags);
                } else {
                    if (Overlay.hidden(pin).isEmpty()) {
                        try (Fd point = At.openNoLinks(pin.path(Pin.HIDDEN), PATH)) {
                            mount(pin, lower, point, flags);
                        }
                    }
                    bind(pin, lower);
                }
            }
            there = Overlay.over(pin);
        }
        MountInfo mount =
                there.orElseThrow(
                        () -> new IOException("the mount over " + pin.target() + " vanished"));
        return pin.with(Pin.MOUNT, Integer.toString(mount.id()));
    }

    private static void mount(Pin pin, Fd lower, Fd over, long flags) throws IOException {
        try (Fd overlay = Overlay.make(pin, lower, flags)) {
            Mounts.attach(overlay, over);
        }
    }

    /** Puts back the bind mount of a file target whose hidden overlay is still there. */
    static void bindAgain(Pin pin) throws IOException {
        try (Fd lower = lower(pin)) {
            bind(pin, lower);
        }
    }

    private static void bind(Pin pin, Fd lower) throws IOException {
        FilePath name = pin.target().path().name();
        try (Fd merged = At.openNoLinks(pin.path(Pin.HIDDEN), PATH);
                Fd copy = At.open(merged, name, At.O_PATH | At.O_NOFOLLOW, 0);
                Fd over = At.open(lower, name, At.O_PATH | At.O_NOFOLLOW, 0)) {
            if (!Stat.of(over).isRegular() || !Stat.of(copy).isRegular()) {
                throw new IOException(pin.target() + " is not a regular file any more");
            }
            Mounts.mount(copy.magicPath(), over.magicPath(), null, Mounts.MS_BIND, null);
        }
    }

    /**
     * The lower directory, O_PATH, on a mount through which programs reach it: at its path if it is
     * still there, else where its file handle leads.
     */
    private static Fd lower(Pin pin) throws IOException {
        FilePath path = pin.target().path();
        if (pin.target().kind() == Target.Kind.FILE) {
            path = path.parent();
        }
        Fd found = open(pin, path);
        if (found == null && pin.attributes().containsKey(Pin.LOWER_HANDLE)) {
            found = openByHandle(pin, FileHandle.parse(pin.attribute(Pin.LOWER_HANDLE)));
        }
        if (found == null) {
            throw new IOException(
                    "cannot mount "
                            + pin.target()
                            + " again: its directory on disk is not to be found; what is in RAM is"
                            + " kept in "
                            + pin.path(Pin.UPPER));
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
                Fd found = open(pin, lower.currentPath());
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
    private static Fd open(Pin pin, FilePath path) throws IOException {
        try {
            Fd fd = At.openNoLinks(path, PATH);
            if (Records.isLower(pin, Stat.of(fd))) {
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

    private static MountInfo mountOf(Fd fd) throws IOException {
        return MountInfo.byId(Stat.of(fd).mount())
                .orElseThrow(() -> new IOException("the mount of " + fd + " vanished"));
    }
}
