package io.rampipe.pin;

import io.rampipe.api.BusyException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.Processes;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** The mount of a pin over its target, known by its source wherever it is by now. */
public final class PinMount {
    private static final int TRIES = 5;
    private static final int MOST_NAMED = 3;

    private static final Map<String, Long> FLAGS =
            Map.of(
                    "ro", Mounts.MS_RDONLY,
                    "nosuid", Mounts.MS_NOSUID,
                    "nodev", Mounts.MS_NODEV,
                    "noexec", Mounts.MS_NOEXEC,
                    "noatime", Mounts.MS_NOATIME,
                    "nodiratime", Mounts.MS_NODIRATIME,
                    "relatime", Mounts.MS_RELATIME,
                    "nosymfollow", Mounts.MS_NOSYMFOLLOW);

    private PinMount() {}

    /** The flags of a mount, so that nothing is allowed on top that is not allowed below. */
    public static long flags(MountInfo below) {
        long flags = 0;
        boolean atime = true;
        for (String flag : below.flags().split(",")) {
            flags |= FLAGS.getOrDefault(flag, 0L);
            atime &= !flag.equals("noatime") && !flag.equals("relatime");
        }
        return atime ? flags | Mounts.MS_STRICTATIME : flags;
    }

    /** The mount over the target, wherever the target is by now. */
    public static Optional<MountInfo> over(Pin pin) throws IOException {
        String hidden = pin.attributes().get(Pin.HIDDEN);
        String known = pin.attributes().get(Pin.MOUNT);
        List<MountInfo> found = new ArrayList<>();
        for (MountInfo m : MountInfo.all()) {
            if (m.pin().equals(Optional.of(pin.id())) && !m.path().raw().equals(hidden)) {
                if (Integer.toString(m.id()).equals(known)) {
                    return Optional.of(m);
                }
                found.add(m);
            }
        }
        // Not the recorded one: the record may be older than the mount. Ours came first.
        return found.stream().findFirst();
    }

    /**
     * Unmounts one of the pin's mounts in this namespace and whatever copies of it receive that.
     *
     * @throws BusyException if it is in use, or would stay reachable elsewhere; nothing changed
     */
    public static void unmount(Pin pin, MountInfo mount) throws IOException {
        Exposure exposure = Exposure.now();
        List<String> staying =
                exposure.staying(
                        mount,
                        Optional.ofNullable(pin.attributes().get(Pin.HIDDEN)).map(FilePath::ofRaw));
        if (!staying.isEmpty()) {
            throw new BusyException(
                    pin.target()
                            + " is mounted in another place too: "
                            + String.join(", ", staying));
        }
        for (int i = 0; i < TRIES; i++) {
            FilePath path = MountInfo.byId(mount.id()).map(MountInfo::path).orElse(null);
            if (path == null) {
                return;
            }
            try (Fd parent = At.openNoLinks(path.parent(), At.O_PATH | At.O_DIRECTORY)) {
                long top = Stat.at(parent, path.name()).mount();
                if (top == mount.id()) {
                    Mounts.unmount(parent, path.name());
                    return;
                }
                Optional<MountInfo> cover = MountInfo.byId(top);
                if (cover.isPresent() && cover.get().path().equals(path)) {
                    throw new BusyException(
                            pin.target()
                                    + " has another mount on top ("
                                    + cover.get().type()
                                    + " "
                                    + cover.get().source()
                                    + ")");
                }
            } catch (LinuxException e) {
                if (e.is(Errno.EBUSY)) {
                    throw busy(pin, exposure.ids(mount.source()));
                }
                if (!e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                    throw e;
                }
            }
            // A directory above was renamed between reading the table and opening it.
        }
        throw new BusyException(
                "the directories above "
                        + pin.target()
                        + " are renamed faster than they can be opened");
    }

    private static BusyException busy(Pin pin, Set<Long> mounts) {
        String who;
        try {
            List<Processes.Holder> holders = Processes.onMounts(mounts, MOST_NAMED);
            who =
                    holders.isEmpty()
                            ? " (nobody found: by the kernel or for a moment)"
                            : ": "
                                    + String.join(
                                            ", ", holders.stream().map(Object::toString).toList());
        } catch (IOException e) {
            who = " (who: " + e.getMessage() + ")";
        }
        return new BusyException(pin.target() + " is in use" + who);
    }
}
