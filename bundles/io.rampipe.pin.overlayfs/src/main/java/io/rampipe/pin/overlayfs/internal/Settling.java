package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.Pin;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Baseline;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Mask;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.Processes;
import io.rampipe.linux.Stat;
import io.rampipe.pin.LowerDirectory;
import io.rampipe.pin.Stragglers;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;

/**
 * Looks at a directory that is covered already, when everybody who was on the way to it on disk has
 * arrived there, and makes what is there then the lower layer of the pin, if that is true. Nothing
 * on disk changes any more after that: nobody is on the way, or has anything open there.
 */
final class Settling {
    /** From the beginning of a pin, on a slow disk, to the last change of who was on the way. */
    private static final Duration LATEST = Duration.ofSeconds(30);

    private Settling() {}

    /**
     * The same for a pin whose daemon died before it could look.
     *
     * @return the record with {@link Pin#BYPASSED} if somebody may have slipped past the mount
     */
    static Pin adopt(Pin pin, Eligibility eligibility) throws IOException {
        Pin unsure = pin.with(Pin.BYPASSED, "");
        if (pin.target().kind() != Target.Kind.DIRECTORY) {
            return unsure;
        }
        try (Fd lower = beneath(pin)) {
            if (lower == null) {
                return unsure;
            }
            Stragglers.of(pin.target().path()).await(() -> {});
            return settle(pin, lower, eligibility) ? pin : unsure;
        } catch (RefusedException | LinuxException e) {
            return unsure;
        }
    }

    /**
     * @param lower directory on disk, not O_PATH
     */
    static boolean settle(Pin pin, Fd lower, Eligibility eligibility) throws IOException {
        Optional<Baseline> before = Baseline.load(pin.path(Pin.BASELINE));
        if (before.isEmpty() || !pin.attributes().containsKey(Pin.MASK)) {
            return false;
        }
        try (Fd upper = At.openNoLinks(pin.path(Pin.UPPER), At.O_RDONLY | At.O_DIRECTORY);
                Mask mask = Mask.open(pin.path(Pin.MASK))) {
            Tree after = eligibility.walk(pin.target().path(), lower);
            Instant latest = pin.since().plus(LATEST);
            long nanos = latest.getEpochSecond() * 1_000_000_000 + latest.getNano();
            if (!Processes.inside(lower, after::hasFile, 1).isEmpty()
                    || !new LateChanges(before.get(), mask, after, lower, upper, nanos).cameFirst()
                    || !after.changed(lower).isEmpty()) {
                return false;
            }
            after.baseline().save(pin.path(Pin.BASELINE));
            return true;
        }
    }

    /** The directory on disk, past the mount; null if it is not to be found. */
    private static Fd beneath(Pin pin) throws IOException {
        String handle = pin.attributes().get(Pin.LOWER_HANDLE);
        if (handle == null) {
            return null;
        }
        for (MountInfo m : MountInfo.all()) {
            if (!Stat.deviceText(m.device()).equals(pin.attribute(Pin.LOWER_DEVICE))) {
                continue;
            }
            try (Fd top = At.openNoLinks(m.path(), At.O_PATH | At.O_DIRECTORY);
                    Fd copy = Mounts.cloneTree(top);
                    Fd root = At.reopen(copy, At.O_RDONLY | At.O_DIRECTORY)) {
                Fd lower = FileHandle.parse(handle).open(root, At.O_RDONLY | At.O_DIRECTORY);
                if (LowerDirectory.isLower(pin, Stat.of(lower))) {
                    return lower;
                }
                lower.close();
            } catch (LinuxException e) {
                // Covered, or not a mount through which it can be reached.
                if (!e.is(
                        Errno.ENOENT,
                        Errno.ENOTDIR,
                        Errno.ELOOP,
                        Errno.ESTALE,
                        Errno.EINVAL,
                        Errno.EOPNOTSUPP)) {
                    throw e;
                }
            }
        }
        return null;
    }
}
