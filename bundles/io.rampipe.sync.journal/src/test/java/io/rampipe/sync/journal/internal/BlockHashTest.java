package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.HashSet;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;

class BlockHashTest {
    private final BlockHash hash = BlockHash.of(BlockHash.key());
    private final ByteBuffer buffer = ByteBuffer.allocateDirect(3 * BlockHash.BLOCK);

    private String strong(int index) {
        hash.strong(buffer, index);
        return hash.high + " " + hash.low;
    }

    @Test
    void everySingleChangeIsSeen() {
        Random random = new Random(1);
        byte[] bytes = new byte[BlockHash.BLOCK];
        random.nextBytes(bytes);
        buffer.put(BlockHash.BLOCK, bytes);
        Set<String> strong = new HashSet<>();
        Set<Long> quick = new HashSet<>();
        strong.add(strong(BlockHash.BLOCK));
        quick.add(hash.quick(buffer, BlockHash.BLOCK));
        for (int i = 0; i < bytes.length; i++) {
            for (int bit = 1; bit < 256; bit <<= 1) {
                buffer.put(BlockHash.BLOCK + i, (byte) (bytes[i] ^ bit));
                assertTrue(strong.add(strong(BlockHash.BLOCK)), i + " " + bit);
                assertTrue(quick.add(hash.quick(buffer, BlockHash.BLOCK)), i + " " + bit);
            }
            buffer.put(BlockHash.BLOCK + i, bytes[i]);
        }
    }

    @Test
    void exchangedWordsAreSeen() {
        for (int i = 0; i < BlockHash.BLOCK; i += 8) {
            buffer.putLong(i, i);
        }
        String before = strong(0);
        for (int i = 8; i < BlockHash.BLOCK; i += 8) {
            buffer.putLong(0, i);
            buffer.putLong(i, 0);
            assertNotEquals(before, strong(0));
            buffer.putLong(0, 0);
            buffer.putLong(i, i);
        }
        assertEquals(before, strong(0));
    }

    @Test
    void zerosAreKnownAndAreNoHole() {
        hash.strong(buffer, 0);
        assertTrue(hash.isZeros(hash.high, hash.low));
        assertFalse(hash.high == 0 && hash.low == 0);
        assertNotEquals(0, hash.quick(buffer, 0));
        assertFalse(hash.isZeros(0, 0));
        buffer.put(0, (byte) 1);
        hash.strong(buffer, 0);
        assertFalse(hash.isZeros(hash.high, hash.low));
    }

    @Test
    void anotherKeyIsAnotherHash() {
        BlockHash other = BlockHash.of(BlockHash.key());
        other.strong(buffer, 0);
        hash.strong(buffer, 0);
        assertNotEquals(hash.high, other.high);
    }
}
