package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileSystemFreeze;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.NewMount;
import io.rampipe.linux.Stat;
import io.rampipe.pin.BlockSnapshot;
import io.rampipe.pin.LowerDirectory;
import io.rampipe.pin.PinMount;
import java.io.IOException;
import java.util.Optional;

/** The file system of a pin, and how it gets over the target. */
final class Pinned {
    private static final FilePath FILE = FilePath.of(Pin.SNAPSHOT_FILE);

    private Pinned() {}

    /**
     * Makes a mount of it that nobody sees; the same file system as any other mount of it.
     *
     * @param flags {@code MS_*} of {@link Mounts}
     */
    static Fd mount(Pin pin, long flags) throws IOException {
        if (isDevice(pin)) {
            return nodes(pin, flags);
        }
        try (NewMount mount = NewMount.of("ext4")) {
            return mount.option("source", pin.path(Pin.SNAPSHOT_NODE))
                    .flag("noinit_itable")
                    .flag("nodiscard")
                    .create(flags);
        }
    }

    /** Whether programs see a block device. */
    static boolean isDevice(Pin pin) {
        return pin.format().equals(Pin.SNAPSHOT_BLOCK);
    }

    /**
     * A file system with nothing in it but a node of the device, which may be used as the file on
     * disk may be: {@code /dev} has other owners and modes, and no node where there is no udev.
     */
    private static Fd nodes(Pin pin, long flags) throws IOException {
        long device;
        try (DeviceMapper dm = DeviceMapper.open()) {
            String name = pin.attribute(Pin.SNAPSHOT_DEVICE);
            device =
                    dm.find(name)
                            .orElseThrow(() -> new IOException("the device " + name + " is gone"))
                            .number();
        }
        try (NewMount mount = NewMount.of("tmpfs")) {
            Fd root =
                    mount.option("source", Labels.node(pin.id()))
                            .option("size", FilePath.of("4k"))
                            .option("mode", FilePath.of("0700"))
                            .create(flags & ~(Mounts.MS_NODEV | Mounts.MS_RDONLY));
            boolean done = false;
            try {
                Stat disk = new DiskFile(pin).stat();
                At.mknod(root, FILE, Stat.BLOCK | 0600, device);
                try (Fd node = At.open(root, FILE, At.O_PATH | At.O_NOFOLLOW, 0)) {
                    At.chown(node, disk.uid(), disk.gid());
                    At.chmod(node, disk.permissions() & 0777);
                }
                done = true;
                return root;
            } finally {
                if (!done) {
                    root.close();
                }
            }
        }
    }

    /** What programs may do on the disk's mount they may do here, and no more. */
    static long flags(Fd lower) throws IOException {
        long flags = PinMount.flags(LowerDirectory.mountOf(lower));
        return flags & ~(Mounts.MS_RELATIME | Mounts.MS_STRICTATIME)
                | Mounts.MS_NOATIME
                | Mounts.MS_NODEV;
    }

    /**
     * Mounts it where nobody but root comes. The kernel binds only what is mounted somewhere, so it
     * is until it is bound.
     *
     * @param pool the pin's directory in the pool
     */
    static void attach(Pin pin, Fd pool, long flags) throws IOException {
        Store.unmount(pool, Labels.HIDDEN);
        try (Fd made = mount(pin, flags);
                Fd point = directory(pool)) {
            Mounts.attach(made, point);
        }
    }

    /**
     * Binds the file over another one, and takes away what {@link #attach} made.
     *
     * @param over O_PATH
     */
    static void bind(Fd pool, Fd over) throws IOException {
        try (Fd root = At.openDirectory(pool, Labels.HIDDEN);
                Fd file = At.open(root, FILE, At.O_PATH | At.O_NOFOLLOW, 0)) {
            Mounts.mount(file.magicPath(), over.magicPath(), null, Mounts.MS_BIND, null);
        } finally {
            Store.unmount(pool, Labels.HIDDEN);
        }
    }

    private static Fd directory(Fd pool) throws LinuxException {
        try {
            At.mkdir(pool, Labels.HIDDEN, 0700);
        } catch (LinuxException e) {
            if (!e.is(Errno.EEXIST)) {
                throw e;
            }
        }
        return At.openDirectory(pool, Labels.HIDDEN);
    }

    /** Puts the mount back over the target, wherever its directory is by now. */
    static void bindAgain(Pin pin) throws IOException {
        try (Fd lower = LowerDirectory.open(pin);
                Fd over = At.open(lower, pin.target().path().name(), At.O_PATH | At.O_NOFOLLOW, 0);
                Fd pool = pool(pin)) {
            if (!Stat.of(over).isRegular()) {
                throw new IOException(pin.target() + " is not a regular file any more");
            }
            attach(pin, pool, flags(lower));
            bind(pool, over);
        }
    }

    /** The mount over the target: not the hidden one. */
    static Optional<MountInfo> over(Pin pin) throws IOException {
        return PinMount.over(withHidden(pin));
    }

    /** See {@link PinMount#unmount}. */
    static void unmount(Pin pin, MountInfo over) throws IOException {
        PinMount.unmount(withHidden(pin), over);
    }

    private static Pin withHidden(Pin pin) {
        return pin.with(Pin.HIDDEN, directory(pin).resolve(Labels.HIDDEN).raw());
    }

    /** The pin's directory in the pool. */
    static FilePath directory(Pin pin) {
        return pin.path(Pin.SNAPSHOT_NODE).parent().parent();
    }

    static Fd pool(Pin pin) throws LinuxException {
        return At.openNoLinks(directory(pin), At.O_RDONLY | At.O_DIRECTORY | At.O_NOFOLLOW);
    }

    /**
     * Removes what a daemon may have left when it died in the middle of something: the hidden
     * mount, and a freeze, which would hold programs for ever. Harmless at any other time but that
     * of a syncback.
     */
    static void tidy(Pin pin) throws IOException {
        try (Fd pool = pool(pin)) {
            Store.unmount(pool, Labels.HIDDEN);
        } catch (LinuxException e) {
            if (!e.is(Errno.ENOENT)) {
                throw e;
            }
            return;
        }
        if (isDevice(pin)) {
            BlockSnapshot.goOn(pin);
            try (DeviceMapper dm = DeviceMapper.open()) {
                if (dm.find(pin.attribute(Pin.SNAPSHOT_DEVICE)).isPresent()) {
                    dm.resume(pin.attribute(Pin.SNAPSHOT_DEVICE));
                }
            }
            return;
        }
        if (Devices.users(pin.id()) > 0) {
            try (Fd root = mount(pin, Mounts.MS_NOATIME | Mounts.MS_NODEV);
                    Fd directory = At.reopen(root, At.O_RDONLY | At.O_DIRECTORY)) {
                FileSystemFreeze.thaw(directory);
            }
        }
    }
}
