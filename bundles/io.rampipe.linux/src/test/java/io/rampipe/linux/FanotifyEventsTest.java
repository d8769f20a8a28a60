package io.rampipe.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import java.nio.ByteBuffer;
import java.util.Random;
import org.junit.jupiter.api.Test;

class FanotifyEventsTest {
    private static final int CAPACITY = 4096;

    private final FanotifyEvents events = new FanotifyEvents(CAPACITY);

    @Test
    void readsWhatTheKernelWrites() throws Exception {
        int length = put(0, "a\nb", 8);
        length += put(length, "", 20);
        events.filled(length, true);

        assertTrue(events.next());
        assertEquals(Fanotify.MODIFY, events.mask());
        assertEquals(4711, events.pid());
        assertTrue(events.hasHandle());
        assertEquals(0x1122334455667788L, events.fileSystem());
        assertEquals(FilePath.of("a\nb"), events.name());
        assertEquals("1:0001020304050607", events.handle().toString());
        assertTrue(events.next());
        assertEquals(0, events.nameLength());
        assertEquals(20, events.handleLength());
        assertFalse(events.next());
        assertFalse(events.next());
    }

    @Test
    void skipsRecordsItDoesNotKnow() throws Exception {
        ByteBuffer b = events.memory();
        int length = metadata(0, 24 + 8 + 28);
        b.put(24, (byte) 99).putShort(26, (short) 8);
        record(32, "x", 4);
        events.filled(length, true);

        assertTrue(events.next());
        assertEquals(FilePath.of("x"), events.name());
    }

    @Test
    void anEventWithoutRecordsHasNoHandle() throws Exception {
        events.filled(metadata(0, 24), true);

        assertTrue(events.next());
        assertFalse(events.hasHandle());
        assertFalse(events.hasDescriptor());
    }

    @Test
    void refusesAnotherVersion() {
        int length = put(0, "x", 8);
        events.memory().put(4, (byte) 4);
        events.filled(length, true);

        MalformedEventException e = assertThrows(MalformedEventException.class, events::next);
        assertTrue(e.getMessage().contains("version 4"), e.getMessage());
    }

    @Test
    void refusesANameWithoutEnd() {
        int length = put(0, "x", 8);
        for (int i = 24 + 20 + 8; i < length; i++) {
            events.memory().put(i, (byte) 'x');
        }
        events.filled(length, true);

        assertThrows(MalformedEventException.class, events::next);
    }

    @Test
    void randomBytesEndInOrderOrInATypedError() {
        long seed = new Random().nextLong();
        Random random = new Random(seed);
        for (int round = 0; round < 200_000; round++) {
            int length = random.nextInt(400);
            byte[] bytes = new byte[length];
            random.nextBytes(bytes);
            events.memory().put(0, bytes);
            // Mostly right, so that the deeper checks are reached.
            for (int at = 0; at + 100 <= length && random.nextInt(4) > 0; ) {
                at += put(at, "name".substring(random.nextInt(5)), random.nextInt(24));
            }
            for (int flips = random.nextInt(4); flips > 0 && length > 0; flips--) {
                events.memory().put(random.nextInt(length), (byte) random.nextInt(256));
            }
            events.filled(length, true);
            int steps = 0;
            try {
                while (events.next()) {
                    assertTrue(++steps <= length / 24, "endless, seed " + seed);
                    if (events.hasHandle()) {
                        assertTrue(events.handle().bytes().length <= 128);
                        events.name();
                    }
                }
            } catch (MalformedEventException e) {
                steps = 0;
            } catch (RuntimeException e) {
                throw new AssertionError("seed " + seed + ", round " + round, e);
            }
        }
    }

    private int put(int at, String name, int handle) {
        int record = 20 + handle + (name.length() / 4 + 1) * 4;
        metadata(at, 24 + record);
        record(at + 24, name, handle);
        return 24 + record;
    }

    private int metadata(int at, int length) {
        events.memory()
                .putInt(at, length)
                .put(at + 4, (byte) 3)
                .putShort(at + 6, (short) 24)
                .putLong(at + 8, Fanotify.MODIFY)
                .putInt(at + 16, -1)
                .putInt(at + 20, 4711);
        return length;
    }

    private void record(int at, String name, int handle) {
        ByteBuffer b = events.memory();
        int length = 20 + handle + (name.length() / 4 + 1) * 4;
        b.put(at, (byte) 2)
                .putShort(at + 2, (short) length)
                .putLong(at + 4, 0x1122334455667788L)
                .putInt(at + 12, handle)
                .putInt(at + 16, 1);
        for (int i = 0; i < handle; i++) {
            b.put(at + 20 + i, (byte) i);
        }
        for (int i = at + 20 + handle; i < at + length; i++) {
            int c = i - at - 20 - handle;
            b.put(i, c < name.length() ? (byte) name.charAt(c) : 0);
        }
    }
}
