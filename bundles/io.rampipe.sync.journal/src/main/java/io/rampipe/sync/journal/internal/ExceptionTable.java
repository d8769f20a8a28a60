package io.rampipe.sync.journal.internal;

import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.BitSet;
import java.util.stream.LongStream;

/**
 * Which chunks of a snapshot are in its store: those that have been written to ({@code
 * drivers/md/dm-snap-persistent.c}; the format of the store has not changed since Linux 2.6). A
 * chunk that is in it is never read from the origin again.
 */
final class ExceptionTable {
    private static final int CHUNK = FileData.BLOCK;
    private static final int MAGIC = 0x70416e53;
    private static final int VERSION = 1;
    private static final int PAIR = 16;
    private static final int PAIRS = CHUNK / PAIR;

    private ExceptionTable() {}

    /**
     * Reads it while nothing is being written to the snapshot, or else what was there at some time
     * meanwhile and perhaps more.
     *
     * @param chunks of the snapshot
     * @return which are in the store
     * @throws LostException if the store is not valid any more
     */
    static BitSet read(Fd store, long chunks) throws IOException {
        BitSet changed = new BitSet((int) chunks);
        walk(store, chunks, (chunk, place) -> changed.set(chunk));
        return changed;
    }

    /**
     * Reads where in the store each chunk is; 0 for those that are not in it.
     *
     * @throws LostException if the store is not valid any more
     */
    static int[] places(Fd store, long chunks) throws IOException {
        int[] places = new int[Math.toIntExact(chunks)];
        walk(store, chunks, (chunk, place) -> places[chunk] = place);
        return places;
    }

    /**
     * The same of those that are in it, sorted by chunk: the upper half of each number is the
     * chunk, the lower half its place.
     */
    static long[] sorted(Fd store, long chunks) throws IOException {
        LongStream.Builder all = LongStream.builder();
        walk(store, chunks, (chunk, place) -> all.add((long) chunk << 32 | place));
        return all.build().sorted().toArray();
    }

    /**
     * Writes a store that begins with some chunks.
     *
     * @param store of zeros only
     * @param from the store that has them
     * @param which to take
     * @param chunks of the snapshot
     */
    static void begin(Fd store, Fd from, BitSet which, long chunks) throws IOException {
        ByteBuffer data = ByteBuffer.allocateDirect(2 * CHUNK).alignedSlice(CHUNK);
        ByteBuffer table = ByteBuffer.allocateDirect(CHUNK).order(ByteOrder.LITTLE_ENDIAN);
        int count = 0;
        for (long pair : sorted(from, chunks)) {
            int chunk = (int) (pair >>> 32);
            if (!which.get(chunk)) {
                continue;
            }
            long area = 1 + (long) (count / PAIRS) * (PAIRS + 1);
            int index = count % PAIRS;
            long place = area + 1 + index;
            load(from, data, (pair & 0xffffffffL) * CHUNK);
            Io.writeFully(store, data, place * CHUNK);
            table.putLong(index * PAIR, chunk);
            table.putLong(index * PAIR + 8, place);
            count++;
            if (index == PAIRS - 1) {
                Io.writeFully(store, table.clear(), area * CHUNK);
                table = ByteBuffer.allocateDirect(CHUNK).order(ByteOrder.LITTLE_ENDIAN);
            }
        }
        // The first table with room in it ends them all, and may be empty.
        Io.writeFully(store, table.clear(), (1 + (long) (count / PAIRS) * (PAIRS + 1)) * CHUNK);
        table = ByteBuffer.allocateDirect(CHUNK).order(ByteOrder.LITTLE_ENDIAN);
        table.putInt(0, MAGIC).putInt(4, 1).putInt(8, VERSION).putInt(12, CHUNK / 512);
        Io.writeFully(store, table, 0);
    }

    @FunctionalInterface
    private interface Pair {
        void at(int chunk, int place);
    }

    private static void walk(Fd store, long chunks, Pair pairs) throws IOException {
        // Aligned, because the store may be a device that is read directly.
        ByteBuffer b =
                ByteBuffer.allocateDirect(2 * CHUNK)
                        .alignedSlice(CHUNK)
                        .limit(CHUNK)
                        .slice()
                        .order(ByteOrder.LITTLE_ENDIAN);
        load(store, b, 0);
        if (b.getInt(0) != MAGIC || b.getInt(8) != VERSION || b.getInt(12) * 512L != CHUNK) {
            throw new IOException(store + " is not the store of a snapshot with chunks of 4 KiB");
        }
        if (b.getInt(4) == 0) {
            throw new LostException("its store says that it is not valid");
        }
        for (long area = 0; ; area++) {
            load(store, b, (1 + area * (PAIRS + 1)) * CHUNK);
            for (int i = 0; i < CHUNK; i += PAIR) {
                long from = b.getLong(i);
                long to = b.getLong(i + 8);
                if (to == 0) {
                    return;
                }
                if (from < 0 || from >= chunks || to < 0 || to > Integer.MAX_VALUE) {
                    throw new IOException(
                            store + " speaks of chunk " + from + " of " + chunks + " at " + to);
                }
                pairs.at((int) from, (int) to);
            }
        }
    }

    private static void load(Fd store, ByteBuffer b, long at) throws IOException {
        b.clear().limit(CHUNK);
        int n = Io.readFully(store, b, at);
        for (int i = n; i < CHUNK; i++) {
            b.put(i, (byte) 0);
        }
        b.clear().limit(CHUNK);
    }

    /** The snapshot is gone, and with it all changes since the last checkpoint. */
    static final class LostException extends IOException {
        private static final long serialVersionUID = 1L;

        LostException(String message) {
            super(message);
        }
    }
}
