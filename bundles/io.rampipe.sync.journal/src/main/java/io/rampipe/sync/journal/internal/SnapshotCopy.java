package io.rampipe.sync.journal.internal;

import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.sync.journal.internal.SnapshotPlan.Range;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.BitSet;

/**
 * Writes what differs of a file in RAM into a redo log, in one or more passes: what a later pass
 * finds changed again is written again, and counts. So the first may be made while programs write,
 * and only the last has to see the file at rest. One thread, for one log.
 */
final class SnapshotCopy {
    private static final int BLOCK = SnapshotView.BLOCK;

    private final LogWriter log;
    private final int id;
    private final Fd disk;
    private final long diskSize;
    private final KnownBlocks known;
    private final KnownBlocks logged = new KnownBlocks();
    private final BitSet written = new BitSet();
    private final BlockHash hash;
    private final Step describe;
    private final ByteBuffer buffer =
            ByteBuffer.allocateDirect(LogFormat.MAX_DATA + BLOCK)
                    .alignedSlice(BLOCK)
                    .limit(LogFormat.MAX_DATA)
                    .slice();
    private long bytes;
    private long reserve;
    private boolean limited;
    private long end;

    /** Programs must not be held any longer. */
    static final class TooLongException extends IOException {
        private static final long serialVersionUID = 1L;

        TooLongException() {
            super("it took too long");
        }
    }

    /** Something that may fail as writing does. */
    @FunctionalInterface
    interface Step {
        void run() throws IOException;
    }

    /**
     * @param id of the file in the log
     * @param disk the file on disk, open for reading
     * @param known what is on disk
     * @param describe called before anything is written about the file
     */
    SnapshotCopy(
            LogWriter log,
            int id,
            Fd disk,
            long diskSize,
            KnownBlocks known,
            long[] key,
            Step describe) {
        this.log = log;
        this.id = id;
        this.disk = disk;
        this.diskSize = diskSize;
        this.known = known;
        this.hash = BlockHash.of(key);
        this.describe = describe;
    }

    /** Brings the log up to what the file is like now, or was while this looked at it. */
    void pass(SnapshotView view, SnapshotPlan plan) throws IOException {
        BitSet seen = new BitSet();
        for (Range r : plan.holes()) {
            seen.set((int) r.from(), (int) r.to());
            holes(r, plan.size());
        }
        for (Range r : plan.data()) {
            seen.set((int) r.from(), (int) r.to());
            data(view, r, plan.size());
        }
        long[] stored = plan.inStore();
        for (long s : stored) {
            seen.set((int) s);
        }
        if (stored.length > 0) {
            try (Fd store = view.openStore()) {
                stored(store, stored, plan.size());
            }
        }
        // What an earlier pass has written although by now the disk has had the right data.
        BitSet back = (BitSet) written.clone();
        back.andNot(seen);
        int end = (int) SnapshotPlan.blocks(plan.size());
        for (int b = back.nextSetBit(0); b >= 0 && b < end; b = back.nextSetBit(b)) {
            int to = Math.min(end, back.nextClearBit(b));
            data(view, new Range(b, to), plan.size());
            b = to;
        }
    }

    /** Throws a {@link TooLongException} if it goes on after this {@link System#nanoTime}. */
    void until(long nanos) {
        limited = true;
        end = nanos;
    }

    private void checkTime() throws TooLongException {
        if (limited && System.nanoTime() - end > 0) {
            throw new TooLongException();
        }
    }

    /**
     * Reads the store from its beginning to its end, where blocks are in the order in which they
     * were written first: one call for many, wherever they are in the file.
     */
    private void stored(Fd store, long[] blocks, long size) throws IOException {
        int most = LogFormat.MAX_DATA / BLOCK;
        for (int i = 0; i < blocks.length; ) {
            long place = blocks[i] >>> 32;
            int count = 1;
            // The tables between them are read along.
            while (i + count < blocks.length && (blocks[i + count] >>> 32) - place < most) {
                count++;
            }
            int length = (int) ((blocks[i + count - 1] >>> 32) - place) + 1;
            checkTime();
            buffer.clear().limit(length * BLOCK);
            if (Io.readFully(store, buffer, place * BLOCK) < length * BLOCK) {
                throw new IOException("the store is shorter than it says");
            }
            changed(blocks, i, count, place, size);
            i += count;
        }
    }

    /** Writes those of the buffer that have changed; neighbours in one record. */
    private void changed(long[] blocks, int first, int count, long place, long size)
            throws IOException {
        long from = -1;
        int start = 0;
        int end = 0;
        for (int i = first; i < first + count; i++) {
            long b = blocks[i] & 0xffffffffL;
            int index = (int) ((blocks[i] >>> 32) - place);
            boolean differs = differs(b, index * BLOCK);
            if (from >= 0 && (!differs || index != end || b != from + end - start)) {
                writeAt(from, start, end, size);
                from = -1;
            }
            if (differs) {
                if (from < 0) {
                    from = b;
                    start = index;
                }
                end = index + 1;
            }
        }
        if (from >= 0) {
            writeAt(from, start, end, size);
        }
    }

    private void holes(Range r, long size) throws IOException {
        long start = -1;
        for (long b = r.from(); b <= r.to(); b++) {
            boolean needed = b < r.to() && needsHole(b);
            if (needed && start < 0) {
                start = b;
            } else if (!needed && start >= 0) {
                describe.run();
                long from = start * BLOCK;
                log.write(new LogRecord.Hole(id, from, Math.min(size, b * BLOCK) - from));
                start = -1;
            }
            if (b < r.to()) {
                logged.hole(b);
            }
            if (needed) {
                written.set((int) b);
            }
        }
    }

    private boolean needsHole(long b) {
        if (logged.knows(b)) {
            return !logged.isHole(b);
        }
        return !known.isHole(b) && b * BLOCK < diskSize;
    }

    private void data(SnapshotView view, Range r, long size) throws IOException {
        long most = LogFormat.MAX_DATA / BLOCK;
        for (long from = r.from(); from < r.to(); from += most) {
            long to = Math.min(r.to(), from + most);
            chunk(view, from, (int) (to - from), size);
        }
    }

    private void chunk(SnapshotView view, long from, int count, long size) throws IOException {
        checkTime();
        buffer.clear().limit(count * BLOCK);
        view.read(buffer, from * BLOCK);
        while (buffer.hasRemaining()) {
            buffer.put((byte) 0);
        }
        int start = -1;
        for (int i = 0; i <= count; i++) {
            boolean differs = i < count && differs(from + i, i * BLOCK);
            if (differs && start < 0) {
                start = i;
            } else if (!differs && start >= 0) {
                write(from, start, i, size);
                start = -1;
            }
        }
    }

    private boolean differs(long b, int index) {
        hash.strong(buffer, index);
        boolean same =
                logged.knows(b)
                        ? logged.has(b, hash.high, hash.low)
                        : known.has(b, hash.high, hash.low);
        if (!same) {
            logged.put(b, hash.high, hash.low);
            written.set((int) b);
        }
        return !same;
    }

    /** Blocks of the buffer that follow each other. */
    private void write(long from, int start, int end, long size) throws IOException {
        writeAt(from + start, start, end, size);
    }

    /**
     * @param block of the file that the first one is
     * @param start and end: in blocks of the buffer
     */
    private void writeAt(long block, int start, int end, long size) throws IOException {
        long offset = block * BLOCK;
        int length = (int) (Math.min(size, offset + (long) (end - start) * BLOCK) - offset);
        if (length <= 0) {
            return;
        }
        describe.run();
        long data = offset < diskSize ? Io.nextData(disk, offset) : -1;
        if (data != offset || Io.nextHole(disk, offset) < offset + length) {
            reserve += length + 2L * BLOCK;
        }
        ByteBuffer part = buffer.duplicate();
        part.limit(start * BLOCK + length).position(start * BLOCK);
        log.write(new LogRecord.Data(id, offset, length), part);
        bytes += length;
    }

    /** Blocks of the file on disk that the log writes. */
    BitSet written() {
        return written;
    }

    /** Bytes of data in the log. */
    long bytes() {
        return bytes;
    }

    /** Bytes of room on disk that applying it will take at most. */
    long reserve() {
        return reserve;
    }

    /** The log has been applied: what it had written is on disk. */
    void learn(long size) {
        known.putAll(logged);
        known.cut(SnapshotPlan.blocks(size));
    }
}
