package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Extents;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.SplitStore;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A pin that is made of a snapshot, as it is in RAM. One thread. */
abstract class SnapshotView implements AutoCloseable {
    static final int BLOCK = FileData.BLOCK;

    private static final Pattern STATUS = Pattern.compile("(\\d+)/(\\d+) (\\d+)");
    private static final int SECTOR = DeviceMapper.SECTOR;

    private final Pin pin;
    private final long blocks;

    SnapshotView(Pin pin) {
        this.pin = pin;
        this.blocks = Long.parseLong(pin.attribute(Pin.SNAPSHOT_BLOCKS));
    }

    static SnapshotView open(Pin pin) throws IOException {
        return pin.format().equals(Pin.SNAPSHOT_BLOCK) ? DeviceView.of(pin) : FileView.of(pin);
    }

    Pin pin() {
        return pin;
    }

    /** Reads what programs see, until the buffer is full or the end comes; returns how much. */
    abstract int read(ByteBuffer buffer, long offset) throws IOException;

    /** Bytes. */
    abstract long size() throws IOException;

    /** When it was changed last, nanoseconds since the epoch. */
    abstract long changedNanos() throws IOException;

    /** Whether whatever is written from now on shows in {@link #look}. */
    abstract boolean settled() throws IOException;

    /** Stands for what is in it. */
    abstract String look() throws IOException;

    /**
     * What the file on disk is to have beside its data.
     *
     * @param below the file on disk
     */
    abstract Attributes attributes(Fd below, Stat disk) throws IOException;

    /** Whether programs can change anything of it beside its data. */
    abstract boolean hasAttributes();

    /** Whether a block of the device belongs to the snapshot. */
    abstract boolean isSnapshot(long physical);

    /** The block of the file on disk that a block of the device is a snapshot of. */
    abstract long home(long physical);

    /** Writes what programs have written to the device, without waiting for any disk. */
    abstract void flush() throws IOException;

    /** Holds who writes, until it is closed, which is before this view is. */
    abstract GuardedFreeze freeze() throws IOException;

    /** Ends what a daemon that died in the middle of a syncback has left. */
    abstract boolean thaw() throws IOException;

    /** Where the blocks of the file are on the device. */
    abstract List<Extents.Extent> extents() throws IOException;

    /**
     * Puts blocks into the snapshot's store as they are. Only while it is {@link #freeze frozen}:
     * then nobody else writes them.
     */
    abstract void store(BitSet which) throws IOException;

    /** Blocks of the snapshot. */
    long blocks() {
        return blocks;
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
        if (!pin.attributes().containsKey(Pin.SNAPSHOT_ORIGIN)) {
            return 0;
        }
        long[] sectors = allocated(pin, dm);
        return (sectors[0] - sectors[1]) * SECTOR;
    }

    /** Sectors of the store that are taken, and how many of them are its tables. */
    private static long[] allocated(Pin pin, DeviceMapper dm) throws IOException {
        String name = pin.attribute(Pin.SNAPSHOT_ORIGIN);
        String status = dm.status(name).get(0).parameters();
        Matcher m = STATUS.matcher(status);
        if (!m.matches()) {
            throw new ExceptionTable.LostException("the kernel says: " + status);
        }
        return new long[] {Long.parseLong(m.group(1)), Long.parseLong(m.group(3))};
    }

    /** Blocks of the file on disk that are never read again. */
    BitSet changed() throws IOException {
        if (blocks == 0) {
            return new BitSet();
        }
        try (Fd store = openStore()) {
            return ExceptionTable.read(store, blocks);
        }
    }

    /** Whether what programs see of a block in the store is in it when it is frozen. */
    boolean readsStore() {
        return blocks > 0;
    }

    /** See {@link ExceptionTable#sorted}. */
    long[] places() throws IOException {
        try (Fd store = openStore()) {
            return ExceptionTable.sorted(store, blocks);
        }
    }

    /** The one in force. */
    Fd openStore() throws IOException {
        if (!isSplit()) {
            return At.open(pin.path(Pin.SNAPSHOT_STORE), At.O_RDONLY | At.O_NOFOLLOW);
        }
        try (DeviceMapper dm = DeviceMapper.open()) {
            // Past the pages of that device, which the snapshot does not write through.
            return openDevice(pin, split(pin, dm).device(), At.O_RDONLY | At.O_DIRECT);
        }
    }

    /** Makes the node of the store if a daemon died while it replaced the store. */
    void showStore() throws IOException {
        if (!isSplit()) {
            return;
        }
        FilePath path = pin.path(Pin.SNAPSHOT_STORE);
        try (DeviceMapper dm = DeviceMapper.open();
                Fd directory = At.open(path.parent(), At.O_RDONLY | At.O_DIRECTORY)) {
            removeNode(directory, path.name());
            At.mknod(directory, path.name(), Stat.BLOCK | 0600, split(pin, dm).device());
        }
    }

    /** Whether a part of the store is on disk. */
    boolean isSplit() {
        return pin.attributes().containsKey(Pin.SNAPSHOT_SPLIT);
    }

    /** The store in force, of which a part is on disk. */
    static SplitStore split(Pin pin, DeviceMapper dm) throws IOException {
        long device = dm.table(pin.attribute(Pin.SNAPSHOT_ORIGIN)).get(0).device(1);
        for (int i = 0; i < 2; i++) {
            String name = pin.attribute(Pin.SNAPSHOT_SPLIT) + i;
            Optional<DeviceMapper.Device> found = dm.find(name);
            if (found.isPresent() && found.get().number() == device) {
                return SplitStore.of(dm, name, device);
            }
        }
        throw new IOException(
                "the store of "
                        + pin.attribute(Pin.SNAPSHOT_ORIGIN)
                        + " is none of this pin: dmsetup table tells more");
    }

    /**
     * Whether so much of the part of the store that is in RAM is taken that it should be replaced
     * by a fresh one.
     */
    static boolean crowded(Pin pin) throws IOException {
        if (!pin.attributes().containsKey(Pin.SNAPSHOT_SPLIT)) {
            return false;
        }
        try (DeviceMapper dm = DeviceMapper.open()) {
            return allocated(pin, dm)[0] > split(pin, dm).ram() / 2;
        }
    }

    /** Opens a device by a node that is there for as long only. */
    static Fd openDevice(Pin pin, long device, int flags) throws IOException {
        FilePath store = pin.path(Pin.SNAPSHOT_NODE).parent();
        FilePath name = FilePath.of("device");
        try (Fd directory = At.open(store, At.O_RDONLY | At.O_DIRECTORY)) {
            removeNode(directory, name);
            At.mknod(directory, name, Stat.BLOCK | 0600, device);
            try {
                return At.open(directory, name, flags | At.O_NOFOLLOW, 0);
            } finally {
                removeNode(directory, name);
            }
        }
    }

    static void removeNode(Fd directory, FilePath name) throws LinuxException {
        try {
            At.unlink(directory, name);
        } catch (LinuxException e) {
            if (!e.is(Errno.ENOENT)) {
                throw e;
            }
        }
    }

    @Override
    public abstract void close();
}
