package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.Stat;
import io.rampipe.pin.LowerDirectory;
import io.rampipe.pin.PinMount;
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
            try (Fd lower = LowerDirectory.open(pin)) {
                long flags = PinMount.flags(LowerDirectory.mountOf(lower));
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
        try (Fd lower = LowerDirectory.open(pin)) {
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
}
