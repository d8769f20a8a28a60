package io.rampipe.sync.journal.internal;

import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import io.rampipe.sync.journal.internal.Planner.Dir;
import io.rampipe.sync.journal.internal.Planner.Name;
import io.rampipe.sync.journal.internal.Planner.Node;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BooleanSupplier;

/**
 * A copy in RAM of what a plan is about: the attributes of everything, and of the data those blocks
 * that differ from the disk. It takes no longer than reading the changed files from memory, so that
 * it can be made of a target that rests only for a moment, and the disk can take its time after
 * that. It can be made again and again: then only what changed since is copied. One thread calls;
 * while programs are held, several work, because the processors have nothing else to do then.
 *
 * <p>What is on disk is known by hashes, from the checkpoint before or by reading it once.
 */
final class Capture implements AutoCloseable {
    private static final int BLOCK = FileData.BLOCK;
    private static final int CHUNK = LogFormat.MAX_DATA;

    /** Distance of the files in the copy, which is sparse. */
    private static final int SPACING = 40;

    /** What a thread is given of a larger file. */
    private static final long PART = 8L << 20;

    /** More of them wait for memory. */
    private static final int MOST_THREADS = 4;

    private final Memory memory;
    private final long[] key;
    private final long room;
    private final Map<Long, Image> images = new ConcurrentHashMap<>();
    private final Set<Long> wanted = ConcurrentHashMap.newKeySet();
    private final AtomicLong bases = new AtomicLong();
    private final AtomicLong used = new AtomicLong();
    private final AtomicLong read = new AtomicLong();

    /** The first is the caller's. */
    private final Worker[] workers = new Worker[MOST_THREADS];

    private volatile BooleanSupplier held = () -> true;
    private Fd copy;

    /** What a thread needs to copy. */
    private final class Worker {
        final BlockHash hash = BlockHash.of(key);
        final ByteBuffer buffer = ByteBuffer.allocateDirect(CHUNK);
        final BitSet fresh = new BitSet(CHUNK / BLOCK);
    }

    /** The data of one regular file. */
    final class Image {
        private final long base = bases.getAndIncrement() << SPACING;

        /** As it was when it was copied; null if it was changing. */
        private Stat stat;

        private Attributes attributes;

        /** For each block; 0 is a hole. */
        private long[] quick = {};

        /** Two for each block; 0 is a hole. */
        private long[] strong = {};

        /** Those that are in the copy. Guarded by this image, as are they in the copy. */
        private final BitSet kept = new BitSet();

        /** What is on disk; null if that is not known: then everything is copied. */
        private Memory.Blocks disk;

        private boolean whole;
        private volatile boolean tooLarge;

        Attributes attributes() {
            return attributes;
        }

        long size() {
            return stat.size();
        }

        int blocks() {
            return (int) (size() + BLOCK - 1 >> 12);
        }

        /** Whether all data is here, not only what differs from the disk. */
        boolean whole() {
            return whole || disk == null;
        }

        boolean isHole(int block) {
            return quick[block] == 0;
        }

        /** Whether this block, as data, has to be written to the file on disk. */
        boolean changed(int block) {
            return !isHole(block) && differs(block);
        }

        /** Whether this block has to become a hole on disk, if the file there is so long. */
        boolean opened(int block) {
            return isHole(block) && (disk == null || !disk.isHole(block));
        }

        /** Whether the file on disk is still the one that this was compared with. */
        boolean comparedWith(Stat below) {
            return disk == null || disk.is(below);
        }

        private boolean differs(int b) {
            if (disk == null) {
                return true;
            }
            long h = strong[2 * b];
            long l = strong[2 * b + 1];
            return disk.isHole(b) ? !workers[0].hash.isZeros(h, l) : !disk.has(b, h, l);
        }

        /** Reads data that is here; {@code length} ends with a block or the file. */
        void read(long offset, ByteBuffer into) throws IOException {
            if (Io.readFully(copy, into, base + offset) == 0 || into.hasRemaining()) {
                throw new IOException("the copy in RAM of " + stat.inode() + " is incomplete");
            }
        }
    }

    /**
     * @param room bytes of RAM for data; files that do not fit are left out
     */
    Capture(Memory memory, long[] key, long room) {
        this.memory = memory;
        this.key = key;
        this.room = room;
        this.workers[0] = new Worker();
    }

    /** Bytes of RAM that it may take. */
    long memory() {
        return room;
    }

    /** The file's copy; null if there is none, because it did not fit. */
    Image of(Node n) {
        Image i = images.get(n.upper.inode());
        return i == null || i.tooLarge || i.stat == null ? null : i;
    }

    /** The next time this file's data is to be copied whole. */
    void wantWhole(Node n) {
        wanted.add(n.upper.inode());
    }

    /** Bytes of files read so far. */
    long read() {
        return read.get();
    }

    /** From now on what is held is copied only while it is. */
    void onlyWhile(BooleanSupplier holds) {
        held = holds;
    }

    /** How a copy is made. */
    enum Mode {
        /** While programs write: what changes meanwhile is copied all the same, to be ahead. */
        AHEAD,
        /** Exactly as it was when the plan was made. */
        EXACT,
        /** The same, while programs are held: nothing is read from the disk. */
        HELD
    }

    /**
     * Copies what the plan is about.
     *
     * @return whether all of it fitted
     * @throws MovingException if anything changed since the plan was made, unless {@code AHEAD}
     */
    boolean take(Planner plan, Disk.Place place, LowerFiles lower, Mode mode) throws IOException {
        int threads = mode == Mode.HELD ? threads(plan) : 1;
        for (int i = 1; i < threads; i++) {
            workers[i] = workers[i] == null ? new Worker() : workers[i];
        }
        AtomicBoolean all = new AtomicBoolean(true);
        Iterator<Node> rest = plan.nodes().iterator();
        List<Node> large = new ArrayList<>();
        Crew.run(
                threads,
                member -> {
                    try (UpperDirectories upper = new UpperDirectories(plan.upper())) {
                        for (Node n = next(rest); n != null; n = next(rest)) {
                            if (threads > 1 && n.upper.isRegular() && n.upper.size() > PART) {
                                synchronized (large) {
                                    large.add(n);
                                }
                            } else if (!node(n, upper, place, lower, mode, workers[member], 1)) {
                                all.set(false);
                            }
                        }
                    }
                });
        try (UpperDirectories upper = new UpperDirectories(plan.upper())) {
            for (Node n : large) {
                if (!node(n, upper, place, lower, mode, workers[0], threads)) {
                    all.set(false);
                }
            }
        }
        for (Dir d : plan.directories()) {
            if (mode != Mode.AHEAD && (d.touched || d.isNew() || d.moved() || d.differs)) {
                plan.wanted(d);
            }
        }
        return all.get();
    }

    private static int threads(Planner plan) {
        long bytes = 0;
        for (Node n : plan.nodes()) {
            bytes += n.upper.isRegular() ? n.upper.size() : 0;
        }
        int most = Math.min(MOST_THREADS, Runtime.getRuntime().availableProcessors());
        return (int) Math.max(1, Math.min(most, bytes / PART));
    }

    private static Node next(Iterator<Node> nodes) {
        synchronized (nodes) {
            return nodes.hasNext() ? nodes.next() : null;
        }
    }

    /** False if there is no room for it. */
    private boolean node(
            Node n,
            UpperDirectories upper,
            Disk.Place place,
            LowerFiles lower,
            Mode mode,
            Worker worker,
            int threads)
            throws IOException {
        try {
            if (n.upper.isRegular()) {
                return file(n, upper, place, lower, mode, worker, threads);
            }
            other(n, upper);
        } catch (MovingException e) {
            if (mode != Mode.AHEAD) {
                throw e;
            }
        }
        return true;
    }

    private static void other(Node n, UpperDirectories upper) throws IOException {
        try (Fd fd = upper.open(n, At.O_PATH | At.O_NOFOLLOW)) {
            n.attributes = Attributes.of(fd, n.upper);
            n.text = n.upper.isSymlink() ? At.readLink(fd) : null;
        }
    }

    /** False if there is no room for it. */
    private boolean file(
            Node n,
            UpperDirectories upper,
            Disk.Place place,
            LowerFiles lower,
            Mode mode,
            Worker worker,
            int threads)
            throws IOException {
        boolean exact = mode != Mode.AHEAD;
        try (Fd fd = exact ? upper.open(n, UpperLayer.READ) : upper.openAgain(n, UpperLayer.READ)) {
            UpperLayer.refuseMetacopy(fd);
            Image i = images.computeIfAbsent(n.upper.inode(), k -> new Image());
            Memory.Blocks below = n.lower == null ? null : known(n, i);
            if (n.lower != null && below == null && mode != Mode.HELD) {
                below = readDisk(n, place, lower, worker);
            }
            Stat now = exact ? n.upper : Stat.of(fd);
            boolean whole = wanted.contains(n.upper.inode());
            i.attributes = Attributes.of(fd, now);
            boolean again = below != i.disk || whole != i.whole || i.tooLarge;
            i.disk = below;
            i.whole = whole;
            if (again || n.mapped || i.stat == null || !i.stat.unchangedSince(now)) {
                copy(fd, now, i, again, exact, worker, threads);
                if (n.replaceable && !i.whole() && mostly(i)) {
                    // Better written as a new file.
                    wantWhole(n);
                    i.whole = true;
                    copy(fd, now, i, true, exact, worker, threads);
                }
            }
            return !i.tooLarge;
        }
    }

    private static boolean mostly(Image i) {
        return i.stat != null
                && i.size() >= PlanWriter.WORTH_STAGING
                && i.kept.cardinality() > i.blocks() / 2;
    }

    private Memory.Blocks known(Node n, Image i) {
        if (i.disk != null && i.disk.is(n.lower)) {
            return i.disk;
        }
        Memory.Blocks remembered = memory.blocks(n.lower.inode());
        return remembered != null && remembered.is(n.lower) ? remembered : null;
    }

    /** Hashes of the file on disk; null if it cannot be read. */
    private Memory.Blocks readDisk(Node n, Disk.Place place, LowerFiles lower, Worker worker)
            throws IOException {
        Fd held = lower.leased().get(n.lower.inode());
        if (held != null) {
            return hashes(held, n.lower, worker);
        }
        try (Fd fd = openDisk(n, place)) {
            return fd == null ? null : hashes(fd, n.lower, worker);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.ESTALE, Errno.EXDEV)) {
                return null;
            }
            throw e;
        }
    }

    private static Fd openDisk(Node n, Disk.Place place) throws IOException {
        int flags = At.O_RDONLY | At.O_NOFOLLOW | At.O_NONBLOCK | At.O_NOATIME;
        for (Name m : n.names) {
            if (m.lower() != null && m.lower().inode() == n.lower.inode()) {
                return At.openBeneathSameMount(
                        place.directory(), m.dir().oldPath.resolve(m.name()), flags, 0);
            }
        }
        return n.origin == null ? null : n.origin.open(place.disk().root(), flags);
    }

    private Memory.Blocks hashes(Fd fd, Stat expected, Worker worker) throws IOException {
        Stat now = Stat.of(fd);
        if (!now.isRegular() || !now.unchangedSince(expected)) {
            return null;
        }
        int blocks = (int) (now.size() + BLOCK - 1 >> 12);
        long[] strong = new long[2 * blocks];
        scan(
                worker,
                fd,
                0,
                now.size(),
                block -> {},
                (block, index) -> {
                    worker.hash.strong(worker.buffer, index);
                    strong[2 * block] = worker.hash.high;
                    strong[2 * block + 1] = worker.hash.low;
                },
                (offset, length) -> {});
        return new Memory.Blocks(strong, now.inode(), Digest.change(now));
    }

    /**
     * @param again every block, not only those that changed
     * @param exact fails if the file changes meanwhile
     */
    private void copy(
            Fd fd, Stat now, Image i, boolean again, boolean exact, Worker worker, int threads)
            throws IOException {
        i.stat = null;
        i.tooLarge = false;
        int blocks = (int) (now.size() + BLOCK - 1 >> 12);
        if (i.quick.length != blocks) {
            i.quick = Arrays.copyOf(i.quick, blocks);
            i.strong = Arrays.copyOf(i.strong, 2 * blocks);
            drop(i, blocks, Math.max(blocks, i.kept.length()));
        }
        if (again) {
            Arrays.fill(i.quick, 0);
            drop(i, 0, blocks);
        }
        if (threads == 1) {
            copy(fd, now, i, exact, worker, 0, now.size());
        } else {
            long part = Math.max(PART, now.size() / threads + CHUNK) & -CHUNK;
            AtomicLong next = new AtomicLong();
            Crew.run(
                    threads,
                    member -> {
                        for (long from = next.getAndAdd(part);
                                from < now.size();
                                from = next.getAndAdd(part)) {
                            long to = Math.min(now.size(), from + part);
                            copy(fd, now, i, exact, workers[member], from, to);
                        }
                    });
        }
        i.stat = exact || Stat.of(fd).unchangedSince(now) ? now : null;
    }

    /** The part of it that begins and ends there. */
    private void copy(Fd fd, Stat now, Image i, boolean exact, Worker worker, long start, long end)
            throws IOException {
        BlockHash hash = worker.hash;
        BitSet fresh = worker.fresh;
        fresh.clear();
        scan(
                worker,
                fd,
                start,
                end,
                block -> {
                    i.quick[block] = 0;
                    i.strong[2 * block] = 0;
                    i.strong[2 * block + 1] = 0;
                    drop(i, block, block + 1);
                },
                (block, index) -> {
                    long q = hash.quick(worker.buffer, index);
                    if (q == i.quick[block]) {
                        return;
                    }
                    hash.strong(worker.buffer, index);
                    i.quick[block] = q;
                    i.strong[2 * block] = hash.high;
                    i.strong[2 * block + 1] = hash.low;
                    if (i.whole || i.differs(block)) {
                        fresh.set(index / BLOCK);
                    } else {
                        drop(i, block, block + 1);
                    }
                },
                (offset, length) -> {
                    keep(i, offset, worker);
                    fresh.clear();
                    if (exact && !Stat.of(fd).unchangedSince(now)) {
                        throw new MovingException(fd.toString());
                    }
                });
    }

    private void drop(Image i, int from, int to) {
        synchronized (i) {
            if (!i.kept.isEmpty()) {
                used.addAndGet(-(long) BLOCK * i.kept.get(from, to).cardinality());
                i.kept.clear(from, to);
            }
        }
    }

    private synchronized Fd copy() throws IOException {
        if (copy == null) {
            copy = Io.memoryFile("rampipe-checkpoint");
        }
        return copy;
    }

    /**
     * Keeps the fresh blocks of those that are in the buffer, the first of which is at the offset.
     */
    private void keep(Image i, long offset, Worker worker) throws IOException {
        BitSet fresh = worker.fresh;
        for (int from = fresh.nextSetBit(0); from >= 0; ) {
            int to = fresh.nextClearBit(from);
            int first = (int) (offset / BLOCK) + from;
            drop(i, first, first + to - from);
            long bytes = (long) (to - from) * BLOCK;
            if (used.addAndGet(bytes) > room) {
                used.addAndGet(-bytes);
                // What is noted of these blocks is not in the copy.
                Arrays.fill(i.quick, first, first + to - from, 0);
                i.tooLarge = true;
                return;
            }
            ByteBuffer part = worker.buffer.duplicate();
            part.limit(to * BLOCK).position(from * BLOCK);
            Io.writeFully(copy(), part, i.base + offset + (long) from * BLOCK);
            synchronized (i) {
                i.kept.set(first, first + to - from);
            }
            from = fresh.nextSetBit(to);
        }
    }

    /** Told of a block. */
    @FunctionalInterface
    private interface OfBlock {
        void block(int block, int index) throws IOException;
    }

    /** Told of a block without data. */
    @FunctionalInterface
    private interface OfHole {
        void hole(int block) throws IOException;
    }

    /** Told that the buffer has been gone through. */
    @FunctionalInterface
    private interface OfChunk {
        void done(long offset, int length) throws IOException;
    }

    /**
     * Goes through a part of a file by whole blocks; what is behind the file's end is taken for
     * zeros.
     *
     * @param start a multiple of the block size, as is {@code end} unless it is the file's
     */
    private void scan(
            Worker worker, Fd fd, long start, long end, OfHole holes, OfBlock data, OfChunk chunks)
            throws IOException {
        ByteBuffer buffer = worker.buffer;
        long at = start;
        while (at < end) {
            long found = Io.nextData(fd, at);
            long from = found < 0 || found >= end ? end : Math.max(at, found & -BLOCK);
            for (long hole = at; hole < from; hole += BLOCK) {
                holes.hole((int) (hole >> 12));
            }
            if (from == end) {
                return;
            }
            long to = Math.min(end, Io.nextHole(fd, Math.max(from, found)) + BLOCK - 1 & -BLOCK);
            to = to <= from ? Math.min(end, from + BLOCK) : to;
            for (long chunk = from; chunk < to; chunk += CHUNK) {
                int length = (int) Math.min(CHUNK, to - chunk);
                if (!held.getAsBoolean()) {
                    throw new MovingException(fd.toString());
                }
                buffer.clear().limit(length);
                int got = Io.readFully(fd, buffer, chunk);
                read.addAndGet(got);
                int last = length + BLOCK - 1 & -BLOCK;
                buffer.clear();
                for (int i = got; i < last; i++) {
                    buffer.put(i, (byte) 0);
                }
                for (int index = 0; index < last; index += BLOCK) {
                    data.block((int) (chunk + index >> 12), index);
                }
                chunks.done(chunk, length);
            }
            at = to;
        }
    }

    /** Whether files whose times are not to be believed still are as they were copied. */
    void verifyMapped(Planner plan) throws IOException {
        try (UpperDirectories upper = new UpperDirectories(plan.upper())) {
            for (Node n : plan.nodes()) {
                Image i = n.mapped && n.upper.isRegular() ? of(n) : null;
                if (i == null) {
                    continue;
                }
                try (Fd fd = upper.open(n, UpperLayer.READ)) {
                    scan(
                            workers[0],
                            fd,
                            0,
                            i.size(),
                            block -> {
                                if (!i.isHole(block)) {
                                    throw new MovingException(fd.toString());
                                }
                            },
                            (block, index) -> {
                                if (workers[0].hash.quick(workers[0].buffer, index)
                                        != i.quick[block]) {
                                    throw new MovingException(fd.toString());
                                }
                            },
                            (offset, length) -> {});
                }
            }
        }
    }

    /** What is on disk now of a file that was changed there. */
    void remember(Node n, Stat below) {
        Image i = of(n);
        if (i != null && n.lower != null && n.lower.inode() == below.inode()) {
            memory.put(new Memory.Blocks(i.strong.clone(), below.inode(), Digest.change(below)));
        } else {
            memory.removeBlocks(below.inode());
        }
    }

    /** The file on disk is not as the copy any more. */
    void forget(Node n) {
        images.remove(n.upper.inode());
    }

    @Override
    public void close() {
        if (copy != null) {
            copy.close();
        }
    }
}
