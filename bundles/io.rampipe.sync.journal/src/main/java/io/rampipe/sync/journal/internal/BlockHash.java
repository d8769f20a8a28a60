package io.rampipe.sync.journal.internal;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.SecureRandom;
import java.util.zip.CRC32;
import java.util.zip.CRC32C;

/**
 * Short forms of blocks of data, by which is told whether a block changed. Two kinds:
 *
 * <p>A strong one of 128 bits stands for what is on disk from one checkpoint to the next. It is NH
 * with 32-bit words, twice with a shifted key (Black, Halevi, Krawczyk, Krovetz and Rogaway:
 * "UMAC", CRYPTO 1999), under a random key of this daemon's life: whoever chooses two different
 * blocks without knowing the key, they have the same hash with a probability of at most 2^-64. A
 * checksum without a key would not do, because whoever can choose what is in a file could then make
 * a change that is never written.
 *
 * <p>A quick one of 64 bits, two CRCs that processors compute at the speed of memory, tells what
 * changed while a copy was being made, within a fraction of a second; a change that it misses is
 * found by the next checkpoint.
 *
 * <p>One thread.
 */
final class BlockHash {
    static final int BLOCK = FileData.BLOCK;

    private static final int WORDS = BLOCK / Long.BYTES;
    private static final int SHIFT = 2;
    private static final long LOWER = 0xffffffffL;
    private static final long[] NO_WORDS = new long[WORDS];

    private final long[] key;
    private final CRC32C first = new CRC32C();
    private final CRC32 second = new CRC32();
    private final long[] words = new long[WORDS];
    private final long[] zeros;

    /** The high and the low half of the last {@link #strong}. */
    long high;

    long low;

    private BlockHash(long[] key) {
        this.key = key;
        nh(NO_WORDS);
        this.zeros = new long[] {high, low};
    }

    /** A random key, for {@link #of}. */
    static long[] key() {
        SecureRandom random = new SecureRandom();
        long[] key = new long[WORDS + SHIFT];
        for (int i = 0; i < key.length; i++) {
            key[i] = random.nextLong();
        }
        return key;
    }

    static BlockHash of(long[] key) {
        return new BlockHash(key);
    }

    /** Whether a strong hash is that of a block of zeros. */
    boolean isZeros(long h, long l) {
        return h == zeros[0] && l == zeros[1];
    }

    /**
     * Of the block at that index of the buffer, which holds a whole block there, padded with zeros.
     * Never 0.
     */
    long quick(ByteBuffer buffer, int index) {
        ByteBuffer view = buffer.duplicate();
        view.limit(index + BLOCK).position(index);
        first.reset();
        first.update(view);
        view.position(index);
        second.reset();
        second.update(view);
        long q = first.getValue() << 32 | second.getValue();
        return q == 0 ? 1 : q;
    }

    /** Of the same; the result is in {@link #high} and {@link #low}, never 0 both. */
    void strong(ByteBuffer buffer, int index) {
        buffer.slice(index, BLOCK).order(ByteOrder.LITTLE_ENDIAN).asLongBuffer().get(words);
        nh(words);
    }

    /**
     * Two sums of products of the halves of 64-bit words, with the key added; the second with the
     * key shifted by {@link #SHIFT} words. (The carry from the lower to the upper half, which NH
     * does not have, changes nothing in its proof: where the lower halves are equal it is the same,
     * and where they differ it is fixed before the upper half of the key is drawn.) Four words at a
     * time, because that is four times as fast with the compiler that the daemon runs with.
     */
    private void nh(long[] w) {
        long[] k = key;
        long h = 0;
        long l = 0;
        for (int i = 0; i < WORDS; i += 4) {
            long w0 = w[i];
            long w1 = w[i + 1];
            long w2 = w[i + 2];
            long w3 = w[i + 3];
            long k2 = k[i + 2];
            long k3 = k[i + 3];
            long a = w0 + k[i];
            long b = w1 + k[i + 1];
            long c = w2 + k2;
            long d = w3 + k3;
            h +=
                    (a & LOWER) * (a >>> 32)
                            + (b & LOWER) * (b >>> 32)
                            + (c & LOWER) * (c >>> 32)
                            + (d & LOWER) * (d >>> 32);
            a = w0 + k2;
            b = w1 + k3;
            c = w2 + k[i + 4];
            d = w3 + k[i + 5];
            l +=
                    (a & LOWER) * (a >>> 32)
                            + (b & LOWER) * (b >>> 32)
                            + (c & LOWER) * (c >>> 32)
                            + (d & LOWER) * (d >>> 32);
        }
        high = h;
        low = h == 0 && l == 0 ? 1 : l;
    }
}
