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

/**
 * A pin of format {@link Pin#SNAPSHOT}: a mount of its file system that nobody sees, of the same
 * file system that programs use. While it is open, the file system's device is in use.
 */
final class FileView extends SnapshotView {
    /**
     * Change times of ext4 are those of the last timer interrupt (10 ms at most): what changed just
     * now may change again and look the same.
     */
    private static final long COARSE_NANOS = 20_000_000;

    private static final FilePath FILE = FilePath.of(Pin.SNAPSHOT_FILE);

    private final long first;
    private final Fd root;
    private final Fd directory;
    private final Fd file;

    private FileView(Pin pin, Fd root, Fd directory, Fd file) {
        super(pin);
        this.root = root;
        this.directory = directory;
        this.file = file;
        this.first = blocks() == 0 ? 0 : Long.parseLong(pin.attribute(Pin.SNAPSHOT_FIRST));
    }

    static FileView of(Pin pin) throws IOException {
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
            FileView view = new FileView(pin, root, directory, file);
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

    @Override
    int read(ByteBuffer buffer, long offset) throws LinuxException {
        return Io.readFully(file, buffer, offset);
    }

    @Override
    long size() throws LinuxException {
        return Stat.of(file).size();
    }

    @Override
    long changedNanos() throws LinuxException {
        Stat stat = Stat.of(file);
        return stat.changeSeconds() * 1_000_000_000L + stat.changeNanos();
    }

    @Override
    boolean settled() throws LinuxException {
        return changedNanos() < System.currentTimeMillis() * 1_000_000L - COARSE_NANOS;
    }

    @Override
    String look() throws IOException {
        Stat s = Stat.of(file);
        return s.size()
                + ":"
                + s.changeSeconds()
                + "."
                + s.changeNanos()
                + ":"
                + s.modifySeconds()
                + "."
                + s.modifyNanos()
                + ":"
                + stored();
    }

    @Override
    Attributes attributes(Fd below, Stat disk) throws IOException {
        return Attributes.of(file, Stat.of(file));
    }

    @Override
    boolean hasAttributes() {
        return true;
    }

    @Override
    boolean isSnapshot(long physical) {
        return physical >= first && physical < first + blocks();
    }

    @Override
    long home(long physical) {
        return physical - first;
    }

    /** Mappings are write-protected by it, so that the next write shows in the times. */
    @Override
    void flush() throws IOException {
        try {
            Io.syncFileSystem(file);
        } catch (LinuxException e) {
            stored();
            throw e;
        }
    }

    @Override
    GuardedFreeze freeze() throws IOException {
        try {
            return GuardedFreeze.of(directory);
        } catch (LinuxException e) {
            stored();
            throw e;
        }
    }

    @Override
    boolean thaw() throws LinuxException {
        return FileSystemFreeze.thaw(file);
    }

    @Override
    List<Extents.Extent> extents() throws LinuxException {
        return Extents.of(file);
    }

    /** By reading and writing them. */
    @Override
    void store(BitSet which) throws IOException {
        if (which.isEmpty()) {
            return;
        }
        String device = pin().attribute(Pin.SNAPSHOT_ORIGIN);
        long number;
        try (DeviceMapper dm = DeviceMapper.open()) {
            number =
                    dm.find(device)
                            .orElseThrow(() -> new IOException("the device " + device + " is gone"))
                            .number();
        }
        try (Fd snapshot = openDevice(pin(), number, At.O_RDWR | At.O_DIRECT)) {
            ByteBuffer b = ByteBuffer.allocateDirect(2 * BLOCK).alignedSlice(BLOCK);
            for (int i = which.nextSetBit(0); i >= 0; i = which.nextSetBit(i + 1)) {
                b.clear().limit(BLOCK);
                Io.readFully(snapshot, b, (long) i * BLOCK);
                b.flip();
                Io.writeFully(snapshot, b, (long) i * BLOCK);
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
