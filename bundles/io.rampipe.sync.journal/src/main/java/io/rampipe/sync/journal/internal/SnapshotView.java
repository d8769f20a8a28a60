package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.Extents;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileSystemFreeze;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.NewMount;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.BitSet;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * A pin of format {@link Pin#SNAPSHOT} as it is in RAM: a mount of its file system that nobody
 * sees, of the same file system that programs use. One thread. While it is open, the file system's
 * device is in use.
 */
final class SnapshotView implements AutoCloseable {
    static final int BLOCK = FileData.BLOCK;

    private static final FilePath FILE = FilePath.of(Pin.SNAPSHOT_FILE);
    private static final Pattern STATUS = Pattern.compile("(\\d+)/(\\d+) (\\d+)");
    private static final int SECTOR = DeviceMapper.SECTOR;

    private final Pin pin;
    private final long first;
    private final long blocks;
    private final Fd root;
    private final Fd directory;
    private final Fd file;

    private SnapshotView(Pin pin, Fd root, Fd directory, Fd file) {
        this.pin = pin;
        this.root = root;
        this.directory = directory;
        this.file = file;
        this.blocks = Long.parseLong(pin.attribute(Pin.SNAPSHOT_BLOCKS));
        this.first = blocks == 0 ? 0 : Long.parseLong(pin.attribute(Pin.SNAPSHOT_FIRST));
    }

    static SnapshotView open(Pin pin) throws IOException {
        Fd root = null;
        Fd directory = null;
        Fd file = null;
        try (NewMount mount = NewMount.of("ext4")) {
            root =
                    mount.option("source", pin.path(Pin.SNAPSHOT_NODE))
                            .flag("noinit_itable")
                            .flag("nodiscard")
                            .create(Mounts.MS_NOATIME | Mounts.MS_NODEV);
            directory = At.reopen(root, At.O_RDONLY | At.O_DIRECTORY);
            file = At.open(root, FILE, At.O_RDONLY | At.O_NOFOLLOW, 0);
            SnapshotView view = new SnapshotView(pin, root, directory, file);
            root = null;
            directory = null;
            file = null;
            return view;
        } finally {
            if (file != null) {
                file.close();
            }
            if (directory != null) {
                directory.close();
            }
            if (root != null) {
                root.close();
            }
        }
    }

    Fd file() {
        return file;
    }

    Stat stat() throws LinuxException {
        return Stat.of(file);
    }

    /** Whether a block of the device belongs to the snapshot. */
    boolean isSnapshot(long physical) {
        return physical >= first && physical < first + blocks;
    }

    /** The block of the file on disk that a block of the device is a snapshot of. */
    long home(long physical) {
        return physical - first;
    }

    long blocks() {
        return blocks;
    }

    /** Writes what programs have written to the device, without waiting for any disk. */
    void flush() throws IOException {
        try {
            Io.syncFileSystem(file);
        } catch (LinuxException e) {
            stored();
            throw e;
        }
    }

    /** Holds who writes, until it is closed, which is before this view is. */
    GuardedFreeze freeze() throws IOException {
        try {
            return GuardedFreeze.of(directory);
        } catch (LinuxException e) {
            stored();
            throw e;
        }
    }

    /** Ends what a daemon that died in the middle of a syncback has left. */
    boolean thaw() throws LinuxException {
        return FileSystemFreeze.thaw(file);
    }

    List<Extents.Extent> extents() throws LinuxException {
        return Extents.of(file);
    }

    /** Bytes of data in the snapshot's store; 0 if there is none. */
    long stored() throws IOException {
        if (blocks == 0) {
            return 0;
        }
        try (DeviceMapper dm = DeviceMapper.open()) {
            return stored(pin, dm);
        }
    }

    /** The same without a view. */
    static long stored(Pin pin, DeviceMapper dm) throws IOException {
        String name = pin.attributes().get(Pin.SNAPSHOT_ORIGIN);
        if (name == null) {
            return 0;
        }
        String status = dm.status(name).get(0).parameters();
        Matcher m = STATUS.matcher(status);
        if (!m.matches()) {
            throw new ExceptionTable.LostException("the kernel says: " + status);
        }
        return (Long.parseLong(m.group(1)) - Long.parseLong(m.group(3))) * SECTOR;
    }

    /** Blocks of the file on disk that are never read again. */
    BitSet changed() throws IOException {
        if (blocks == 0) {
            return new BitSet();
        }
        try (Fd store = At.open(pin.path(Pin.SNAPSHOT_STORE), At.O_RDONLY | At.O_NOFOLLOW)) {
            return ExceptionTable.read(store, blocks);
        }
    }

    /**
     * Puts blocks into the snapshot's store as they are, by reading and writing them. Only while
     * the file system is frozen: then nobody else writes them.
     */
    void store(BitSet which) throws IOException {
        if (which.isEmpty()) {
            return;
        }
        FilePath store = pin.path(Pin.SNAPSHOT_NODE).parent();
        FilePath name = FilePath.of("snapshot");
        try (DeviceMapper dm = DeviceMapper.open();
                Fd directory = At.open(store, At.O_RDONLY | At.O_DIRECTORY)) {
            String device = pin.attribute(Pin.SNAPSHOT_ORIGIN);
            long number =
                    dm.find(device)
                            .orElseThrow(() -> new IOException("the device " + device + " is gone"))
                            .number();
            removeNode(directory, name);
            At.mknod(directory, name, Stat.BLOCK | 0600, number);
            try (Fd snapshot =
                    At.open(directory, name, At.O_RDWR | At.O_NOFOLLOW | At.O_DIRECT, 0)) {
                ByteBuffer b = ByteBuffer.allocateDirect(2 * BLOCK).alignedSlice(BLOCK);
                for (int i = which.nextSetBit(0); i >= 0; i = which.nextSetBit(i + 1)) {
                    b.clear().limit(BLOCK);
                    Io.readFully(snapshot, b, (long) i * BLOCK);
                    b.flip();
                    Io.writeFully(snapshot, b, (long) i * BLOCK);
                }
            } finally {
                removeNode(directory, name);
            }
        }
    }

    private static void removeNode(Fd directory, FilePath name) throws LinuxException {
        try {
            At.unlink(directory, name);
        } catch (LinuxException e) {
            if (!e.is(io.rampipe.linux.Errno.ENOENT)) {
                throw e;
            }
        }
    }

    @Override
    public void close() {
        file.close();
        directory.close();
        root.close();
    }
}
