package io.rampipe.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class InotifyEventsTest {
    private final InotifyEvents events = new InotifyEvents(4096);

    @Test
    void readsWhatTheKernelWrites(@TempDir Path directory) throws Exception {
        try (Inotify inotify = Inotify.open();
                Fd on = At.open(FilePath.of(directory.toString()), At.O_PATH | At.O_DIRECTORY)) {
            int watch = inotify.add(on, Inotify.CREATE | Inotify.DELETE);
            assertEquals(watch, inotify.add(on, Inotify.CREATE | Inotify.DELETE));
            assertFalse(inotify.read(events));
            Files.createDirectory(directory.resolve("a name"));
            Files.delete(directory.resolve("a name"));
            assertTrue(inotify.read(events));
            assertFalse(events.full());
            assertTrue(events.next());
            assertEquals(watch, events.watch());
            assertEquals(Inotify.CREATE | Inotify.ISDIR, events.mask());
            byte[] name = new byte[events.nameLength()];
            events.memory().get(events.nameOffset(), name);
            assertEquals("a name", new String(name, StandardCharsets.US_ASCII));
            assertTrue(events.next());
            assertEquals(Inotify.DELETE | Inotify.ISDIR, events.mask());
            assertFalse(events.next());
            inotify.remove(watch);
            assertTrue(inotify.read(events) && events.next());
            assertEquals(Inotify.IGNORED, events.mask());
            assertEquals(0, events.nameLength());
        }
    }

    @Test
    void randomBytesEndInOrderOrInATypedError() throws Exception {
        long seed = new Random().nextLong();
        Random random = new Random(seed);
        for (int round = 0; round < 100_000; round++) {
            int length = random.nextInt(400);
            byte[] bytes = new byte[length];
            random.nextBytes(bytes);
            events.memory().put(0, bytes);
            // Mostly right, so that the deeper checks are reached.
            for (int at = 0; at + 16 <= length && random.nextInt(4) > 0; ) {
                int name = 16 * random.nextInt(3);
                events.memory().putInt(at + 12, name);
                at += 16 + name;
            }
            events.filled(length);
            int steps = 0;
            try {
                while (events.next()) {
                    assertTrue(++steps <= length / 16, "endless, seed " + seed);
                    assertTrue(events.nameOffset() + events.nameLength() <= length);
                }
            } catch (MalformedEventException e) {
                assertFalse(events.next(), "seed " + seed);
            }
        }
    }

    @Test
    void refusesANameBeyondTheEnd() {
        events.memory().putInt(12, 64);
        events.filled(32);
        assertThrows(MalformedEventException.class, events::next);
    }
}
