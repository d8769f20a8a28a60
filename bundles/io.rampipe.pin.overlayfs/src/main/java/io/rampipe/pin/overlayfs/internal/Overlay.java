package io.rampipe.pin.overlayfs.internal;

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
import io.rampipe.pin.PinMount;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;

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
        return PinMount.over(pin);
    }

    /** See {@link PinMount#unmount}. */
    static void unmount(Pin pin, MountInfo mount) throws IOException {
        PinMount.unmount(pin, mount);
    }
}
