package io.rampipe.engine.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Refusal;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * A disk that somebody may pull out: nothing is pinned there, unless its user has named a directory
 * on it, or the machine runs from it. The kernel says so of a disk whose medium can be taken out
 * ({@code /sys/block/DISK/removable}), and of whatever hangs at a port that is reached from outside
 * ({@code removable} of a USB device, ABI/testing/sysfs-bus-usb).
 */
final class PullableDisk {
    private static final FilePath ROOT = FilePath.of("/");

    private final Path sys;

    /**
     * @param sys where sysfs is mounted
     */
    PullableDisk(Path sys) {
        this.sys = sys;
    }

    /** Why a target is not pinned by itself; empty if its disk stays where it is. */
    Optional<Refusal> refusal(FilePath target, List<FilePath> watched) {
        try (Fd fd = At.open(target, At.O_PATH)) {
            long device = Stat.of(fd).device();
            if (isOn(ROOT, device) || watched.stream().anyMatch(d -> isOn(d, device))) {
                return Optional.empty();
            }
            return pullable(Stat.deviceText(device))
                    .map(
                            name ->
                                    new Refusal(
                                            Refusal.Cause.NOT_WATCHED,
                                            target
                                                    + " is on "
                                                    + name
                                                    + ", which may be pulled out: name a directory on"
                                                    + " it in watch.directories to have it pinned, and"
                                                    + " run 'rampipe freeze' before you pull it"));
        } catch (LinuxException e) {
            // It is gone, or cannot be looked at: whoever pins it will say so.
            return Optional.empty();
        }
    }

    private static boolean isOn(FilePath path, long device) {
        try (Fd fd = At.open(path, At.O_PATH)) {
            return Stat.of(fd).device() == device;
        } catch (LinuxException e) {
            return false;
        }
    }

    /**
     * The disk's name if it may be pulled out.
     *
     * @param number {@code major:minor}, of the disk or of a partition
     */
    Optional<String> pullable(String number) {
        try {
            Path device = sys.resolve("dev/block").resolve(number).toRealPath();
            String name = device.getFileName().toString();
            for (Path at = device; at.startsWith(sys.toRealPath()); at = at.getParent()) {
                String removable = text(at.resolve("removable"));
                if (removable.equals("1") || removable.equals("removable")) {
                    return Optional.of("/dev/" + name);
                }
                if (removable.equals("fixed")) {
                    // Whatever this port belongs to hangs at is inside.
                    return Optional.empty();
                }
            }
        } catch (IOException e) {
            // btrfs and others have numbers of their own, and in a container there may be no sysfs.
            return Optional.empty();
        }
        return Optional.empty();
    }

    private static String text(Path file) {
        try {
            return Files.readString(file).strip();
        } catch (IOException e) {
            return "";
        }
    }
}
