package io.rampipe.source.fanotify.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;

class IdentityTest {
    private final ByteBuffer memory = ByteBuffer.allocateDirect(64);

    @Test
    void dependsOnEachByteAndOnTheLength() {
        Set<Long> all = new HashSet<>();
        for (int length = 0; length <= 20; length++) {
            all.add(Identity.file(1, memory, 0, length));
            for (int at = 0; at < length; at++) {
                for (int bit = 0; bit < 8; bit++) {
                    memory.put(at, (byte) (1 << bit));
                    all.add(Identity.file(1, memory, 0, length));
                    memory.put(at, (byte) 0);
                }
            }
        }
        assertEquals(21 + 20 * 21 / 2 * 8, all.size());
    }

    @Test
    void doesNotDependOnWhereTheBytesAre() {
        for (int i = 0; i < 12; i++) {
            memory.put(i, (byte) (i + 1));
            memory.put(i + 21, (byte) (i + 1));
        }
        assertEquals(Identity.directory(5, memory, 0, 8), Identity.directory(5, memory, 21, 8));
        assertNotEquals(Identity.directory(5, memory, 0, 8), Identity.directory(6, memory, 0, 8));
    }

    @Test
    void numberedNamesSpreadEvenly() {
        int[] buckets = new int[1024];
        for (int i = 0; i < 100 * buckets.length; i++) {
            byte[] name = ("file" + i).getBytes(java.nio.charset.StandardCharsets.US_ASCII);
            memory.put(0, name);
            long file = Identity.file(7, memory, 0, name.length);
            buckets[(int) file & buckets.length - 1]++;
        }
        for (int n : buckets) {
            assertTrue(n > 40 && n < 180, "a bucket of " + n);
        }
    }
}
