package io.rampipe.engine.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.api.Target;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class HotSetTest {
    private static final List<HotSet.Entry> ENTRIES =
            List.of(
                    new HotSet.Entry(
                            Target.directory(
                                    FilePath.ofBytes(
                                            new byte[] {'/', '\n', '=', (byte) 0xff, '\\', ' '})),
                            List.of(
                                    FilePath.ofBytes(new byte[] {'a', '\n', (byte) 0x80}),
                                    FilePath.of("b c")),
                            Instant.ofEpochSecond(1_700_000_000),
                            2),
                    new HotSet.Entry(
                            Target.file(FilePath.of("/var/lib/db")),
                            List.of(),
                            Instant.ofEpochSecond(1_700_000_001),
                            0));

    @TempDir Path dir;

    @Test
    void itSurvivesWithEveryByteOfItsNames() throws Exception {
        HotSet file = new HotSet(dir.resolve("hot"));
        assertEquals(List.of(), file.load(), "nothing yet");
        file.save(ENTRIES);
        assertEquals(ENTRIES, file.load());
        file.save(ENTRIES.subList(1, 2));
        assertEquals(ENTRIES.subList(1, 2), file.load());
        file.remove();
        assertEquals(List.of(), file.load());
    }

    /** A bit that the disk has lost must not make it pin something else. */
    @Test
    void aChangedFileIsRefusedWhole() {
        String text = HotSet.text(ENTRIES);
        SplittableRandom random = new SplittableRandom(1);
        int refused = 0;
        for (int i = 0; i < 20_000; i++) {
            StringBuilder changed = new StringBuilder(text);
            int at = random.nextInt(changed.length());
            switch (random.nextInt(3)) {
                case 0 -> changed.setCharAt(at, (char) random.nextInt(256));
                case 1 -> changed.setLength(at);
                default -> changed.insert(at, (char) random.nextInt(256));
            }
            try {
                assertEquals(ENTRIES, HotSet.parse(changed.toString()), changed.toString());
            } catch (IllegalArgumentException e) {
                refused++;
            }
        }
        assertTrue(refused > 15_000, refused + " of 20000");
    }

    @Test
    void whatIsNotOneIsRefused() throws Exception {
        Path path = dir.resolve("hot");
        for (String text : List.of("", "version=1\n", "\\u12", "version=2\nchecksum=0\n")) {
            Files.writeString(path, text);
            assertThrows(IllegalArgumentException.class, () -> new HotSet(path).load(), text);
        }
    }
}
