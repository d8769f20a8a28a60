package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.BusyException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.NewMount;
import io.rampipe.linux.Processes;
import io.rampipe.linux.Stat;
import io.rampipe.pin.Exposure;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Making, finding and taking away a pin's overlay mounts. A mount is known by its source, {@code
 * rampipe:ID}, wherever it is by now.
 */
final class Overlay {
    /**
     * Best first. index: hard links survive copying up, and an upper layer cannot be mounted twice
     * or over something else. nfs_export: file handles, without which fanotify cannot report names
     * here. redirect_dir: directories from below can be renamed. metacopy: a file's data must be
     * copied up with the first change of its attributes. xino: inode numbers stay as small as on
     * disk; large ones break 32-bit programs (EOVERFLOW). Not {@code volatile}: fsync on tmpfs is
     * free already, and it would forbid mounting the same upper layer again. Not {@code userxattr}:
     * programs could forge whiteouts.
     */
    private static final List<Map<String, String>> OPTIONS =
            List.of(options("on", "on"), options("on", "off"), options("off", "off"));

    private static final String SOURCE = "rampipe:";
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

    private Overlay() {}

    private static Map<String, String> options(String index, String nfsExport) {
        return Map.of(
                "index", index,
                "nfs_export", nfsExport,
                "redirect_dir", "on",
                "metacopy", "off",
                "xino", "off");
    }

    static FilePath source(String id) {
        return FilePath.of(SOURCE + id);
    }

    /** The id of the pin that a mount says it belongs to. */
    static Optional<String> idOf(MountInfo mount) {
        String source = mount.source().raw();
        String id = source.startsWith(SOURCE) ? source.substring(SOURCE.length()) : "";
        return id.matches("[0-9a-z]{1,32}") ? Optional.of(id) : Optional.empty();
    }

    /** The flags of a mount, so that nothing is allowed on top that is not allowed below. */
    static long flags(MountInfo below) {
        long flags = 0;
        boolean atime = true;
        for (String flag : below.flags().split(",")) {
            flags |= FLAGS.getOrDefault(flag, 0L);
            atime &= !flag.equals("noatime") && !flag.equals("relatime");
        }
        return atime ? flags | Mounts.MS_STRICTATIME : flags;
    }

    /**
     * Makes an overlay that is not attached yet: that takes the kernel a while, and attaching it
     * then next to nothing.
     *
     * @param lower descriptor of the lower layer, O_PATH; the kernel takes its own reference, so it
     *     may be closed afterwards
     * @return to be attached ({@link Mounts#attach}), and closed before it can be unmounted
     */
    static Fd make(Pin pin, Fd lower, long flags) throws IOException {
        String complaints = "";
        LinuxException last = null;
        String mask = pin.attributes().get(Pin.MASK);
        try (Fd upper = open(pin.path(Pin.UPPER));
                Fd work = open(pin.path(Pin.WORK));
                Fd between = mask == null ? null : open(pin.path(Pin.MASK))) {
            FilePath lowest = lower.magicPath();
            FilePath layers =
                    between == null
                            ? lowest
                            : FilePath.ofRaw(
                                    shown(pin.path(Pin.MASK), between).raw() + ":" + lowest.raw());
            for (Map<String, String> options : OPTIONS) {
                try (NewMount mount = NewMount.of("overlay")) {
                    try {
                        mount.option("source", source(pin.id()))
                                .option("lowerdir", layers)
                                .option("upperdir", shown(pin.path(Pin.UPPER), upper))
                                .option("workdir", shown(pin.path(Pin.WORK), work));
                        for (Map.Entry<String, String> option : options.entrySet()) {
                            mount.option(option.getKey(), FilePath.of(option.getValue()));
                        }
                        return mount.create(flags);
                    } catch (LinuxException e) {
                        if (!e.is(Errno.EINVAL, Errno.EOPNOTSUPP)) {
                            throw e;
                        }
                        complaints = mount.complaints();
                        last = e;
                    }
                }
            }
        }
        throw new RefusedException(
                Cause.UNSUPPORTED,
                "the kernel does not take "
                        + pin.target()
                        + " as the lower layer of an overlay: "
                        + (complaints.isEmpty() ? "its log (dmesg) has the reason" : complaints),
                last);
    }

    /**
     * Whether any overlay has the pin's upper layer, be it one that is mounted nowhere any more,
     * but in use. The kernel gives an upper layer to one overlay at a time (with {@code index=on}:
     * {@code Documentation/filesystems/overlayfs.rst}, "Sharing and copying layers"); it looks at
     * that before it looks at the work directory, which cannot be the upper one, so that nothing is
     * ever mounted here.
     */
    static boolean uses(Pin pin) throws IOException {
        try (Fd upper = open(pin.path(Pin.UPPER));
                NewMount mount = NewMount.of("overlay")) {
            mount.option("source", source(pin.id()))
                    .option("index", FilePath.of("on"))
                    .option("lowerdir", upper.magicPath())
                    .option("upperdir", upper.magicPath())
                    .option("workdir", upper.magicPath())
                    .create(0)
                    .close();
            throw new IOException(
                    "the kernel took " + upper + " as upper layer and work directory");
        } catch (LinuxException e) {
            if (e.is(Errno.EBUSY)) {
                return true;
            }
            if (e.is(Errno.EINVAL, Errno.ELOOP, Errno.ENOENT)) {
                return false;
            }
            throw e;
        }
    }

    private static Fd open(FilePath layer) throws LinuxException {
        return At.openNoLinks(layer, At.O_PATH | At.O_DIRECTORY);
    }

    /** A path that people understand in mountinfo, unless overlayfs would misunderstand it. */
    private static FilePath shown(FilePath path, Fd fd) {
        return path.raw().matches("[^,:\\\\]*") ? path : fd.magicPath();
    }

    /** The hidden overlay of a file target. */
    static Optional<MountInfo> hidden(Pin pin) throws IOException {
        String hidden = pin.attributes().get(Pin.HIDDEN);
        return hidden == null
                ? Optional.empty()
                : MountInfo.all().stream()
                        .filter(m -> m.source().equals(source(pin.id())))
                        .filter(m -> m.path().raw().equals(hidden))
                        .reduce((earlier, later) -> later);
    }

    /** The mount over the target, wherever the target is by now. */
    static Optional<MountInfo> over(Pin pin) throws IOException {
        String hidden = pin.attributes().get(Pin.HIDDEN);
        String known = pin.attributes().get(Pin.MOUNT);
        List<MountInfo> found = new ArrayList<>();
        for (MountInfo m : MountInfo.all()) {
            if (m.source().equals(source(pin.id())) && !m.path().raw().equals(hidden)) {
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
    static void unmount(Pin pin, MountInfo mount) throws IOException {
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
