package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.Extents;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.BitSet;
import java.util.List;

/**
 * A pin of format {@link Pin#SNAPSHOT_BLOCK}: the snapshot itself, a block device. It is read past
 * the device, from the store and the origin, because a device that is suspended answers nobody.
 */
final class DeviceView extends SnapshotView {
    private static final FilePath ORIGIN = FilePath.of("origin");

    /**
     * Sectors written, in {@code /sys/dev/block/NUMBER/stat} ({@code
     * Documentation/block/stat.rst}). Of requests, those that only flush count as well.
     */
    private static final int WRITTEN = 6;

    private static final int IN_FLIGHT = 8;
    private static final int DISCARDED = 13;

    private final String name;
    private final Fd store;
    private final ByteBuffer block = ByteBuffer.allocateDirect(2 * BLOCK).alignedSlice(BLOCK);
    private int[] places;

    private DeviceView(Pin pin, Fd store) {
        super(pin);
        this.store = store;
        this.name = pin.attribute(Pin.SNAPSHOT_DEVICE);
    }

    static DeviceView of(Pin pin) throws IOException {
        return new DeviceView(
                pin, At.open(pin.path(Pin.SNAPSHOT_STORE), At.O_RDONLY | At.O_NOFOLLOW));
    }

    /** As the store was when {@link #changed} was called last. */
    @Override
    int read(ByteBuffer buffer, long offset) throws IOException {
        if (places == null) {
            changed();
        }
        long size = size();
        int start = buffer.position();
        try (Origin origin = new Origin()) {
            while (buffer.hasRemaining() && offset + buffer.position() - start < size) {
                long at = offset + buffer.position() - start;
                int within = (int) (at % BLOCK);
                int place = places[(int) (at / BLOCK)];
                block.clear().limit(BLOCK);
                if (place == 0) {
                    Io.readFully(origin.fd(), block, at - within);
                } else {
                    Io.readFully(store, block, (long) place * BLOCK);
                }
                long end = Math.min(block.position(), within + size - at);
                if (end <= within) {
                    throw new IOException("the store or the origin of " + name + " is too short");
                }
                block.limit((int) Math.min(end, within + (long) buffer.remaining()));
                block.position(within);
                buffer.put(block);
            }
        }
        return buffer.position() - start;
    }

    @Override
    BitSet changed() throws IOException {
        places = ExceptionTable.places(store, blocks());
        BitSet changed = new BitSet(places.length);
        for (int i = 0; i < places.length; i++) {
            changed.set(i, places[i] != 0);
        }
        return changed;
    }

    /** {@link #read} does it. */
    @Override
    boolean readsStore() {
        return false;
    }

    @Override
    long size() {
        return Long.parseLong(pin().attribute(Pin.FILE_SIZE));
    }

    /** Nobody has written it down; it is as late as it can be. */
    @Override
    long changedNanos() {
        return System.currentTimeMillis() * 1_000_000L;
    }

    @Override
    boolean settled() throws IOException {
        return statistics()[IN_FLIGHT].equals("0");
    }

    /** Not by its store, which a merge empties while nothing changes. */
    @Override
    String look() throws IOException {
        String[] s = statistics();
        return s[WRITTEN] + ":" + (s.length > DISCARDED ? s[DISCARDED] : "");
    }

    private String[] statistics() throws IOException {
        return Files.readString(Path.of("/sys/dev/block", Stat.deviceText(device()), "stat"))
                .strip()
                .split(" +");
    }

    private long device() throws IOException {
        try (DeviceMapper dm = DeviceMapper.open()) {
            return dm.find(name)
                    .orElseThrow(() -> new IOException("the device " + name + " is gone"))
                    .number();
        }
    }

    /** The disk's own, but for the modify time: whoever looks for changed files has to find it. */
    @Override
    Attributes attributes(Fd below, Stat disk) throws IOException {
        long now = System.currentTimeMillis();
        return Attributes.of(below, disk).modified(now / 1000, (int) (now % 1000) * 1_000_000);
    }

    @Override
    boolean hasAttributes() {
        return false;
    }

    @Override
    boolean isSnapshot(long physical) {
        return true;
    }

    @Override
    long home(long physical) {
        return physical;
    }

    @Override
    void flush() throws IOException {
        try (Fd device = At.open(pin().path(Pin.SNAPSHOT_NODE), At.O_RDONLY | At.O_NOFOLLOW)) {
            Io.sync(device);
        }
    }

    @Override
    GuardedFreeze freeze() throws IOException {
        return GuardedFreeze.ofDevice(name);
    }

    @Override
    boolean thaw() throws IOException {
        try (DeviceMapper dm = DeviceMapper.open()) {
            dm.resume(name);
        }
        return true;
    }

    @Override
    List<Extents.Extent> extents() {
        return List.of(new Extents.Extent(0, 0, blocks() * BLOCK, 0));
    }

    /** Nothing is ever written to the disk that is not in the store. */
    @Override
    void store(BitSet which) throws IOException {
        throw new IOException("blocks " + which + " of " + name + " are not in its store");
    }

    @Override
    public void close() {
        store.close();
    }

    /** The file on disk as the snapshot sees it, whatever has its name by now. Opened if needed. */
    private final class Origin implements AutoCloseable {
        private Fd fd;

        Fd fd() throws IOException {
            if (fd != null) {
                return fd;
            }
            try (DeviceMapper dm = DeviceMapper.open();
                    Fd directory =
                            At.open(
                                    pin().path(Pin.SNAPSHOT_STORE).parent(),
                                    At.O_RDONLY | At.O_DIRECTORY)) {
                String device =
                        dm.table(pin().attribute(Pin.SNAPSHOT_ORIGIN))
                                .get(0)
                                .parameters()
                                .split(" ")[0];
                int colon = device.indexOf(':');
                long number =
                        Stat.device(
                                Long.parseLong(device.substring(0, colon)),
                                Long.parseLong(device.substring(colon + 1)));
                removeNode(directory, ORIGIN);
                At.mknod(directory, ORIGIN, Stat.BLOCK | 0600, number);
                try {
                    // The file may have been written past the loop device's own pages.
                    fd = At.open(directory, ORIGIN, At.O_RDONLY | At.O_NOFOLLOW | At.O_DIRECT, 0);
                } finally {
                    removeNode(directory, ORIGIN);
                }
            }
            return fd;
        }

        @Override
        public void close() {
            if (fd != null) {
                fd.close();
            }
        }
    }
}
