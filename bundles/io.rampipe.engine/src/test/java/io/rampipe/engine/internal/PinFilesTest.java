package io.rampipe.engine.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Target;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PinFilesTest {
    private static final Pin HOSTILE =
            new Pin(
                    "abc123",
                    Target.directory(
                            FilePath.ofBytes(
                                    new byte[] {
                                        '/',
                                        'a',
                                        '\n',
                                        '=',
                                        (byte) 0xff,
                                        ' ',
                                        '#',
                                        '\\',
                                        'u',
                                        (byte) 0x80
                                    })),
                    "overlayfs",
                    "journal",
                    Pin.OVERLAY,
                    Pin.Step.MOUNTING,
                    Instant.ofEpochMilli(1_700_000_000_123L),
                    Map.of(Pin.UPPER, "/pool/\u00e9\u00ff\n x", Pin.LOWER_INODE, "42"));

    @TempDir Path dir;

    @Test
    void recordsSurviveWithEveryByteOfTheirNames() throws Exception {
        PinFiles files = new PinFiles(dir);
        files.write(HOSTILE);
        assertEquals(
                List.of(HOSTILE),
                new PinFiles(dir)
                        .load(
                                (f, p) -> {
                                    throw new AssertionError(f + p);
                                }));
        files.write(HOSTILE.at(Pin.Step.PINNED));
        assertEquals(Pin.Step.PINNED, files.load((f, p) -> {}).get(0).step());
        files.remove("abc123");
        assertTrue(files.load((f, p) -> {}).isEmpty());
    }

    /**
     * Whatever happens to a record, it is read as what was written or reported, and left in place.
     */
    @Test
    void damagedRecordsAreReportedAndNeverBelieved() throws Exception {
        PinFiles files = new PinFiles(dir);
        files.write(HOSTILE);
        Path record = dir.resolve("abc123.pin");
        byte[] good = Files.readAllBytes(record);
        long seed = System.nanoTime();
        SplittableRandom random = new SplittableRandom(seed);
        for (int i = 0; i < 5_000; i++) {
            byte[] bad =
                    random.nextInt(4) == 0
                            ? java.util.Arrays.copyOf(good, random.nextInt(good.length))
                            : good.clone();
            for (int flips = random.nextInt(3); flips >= 0 && bad.length > 0; flips--) {
                bad[random.nextInt(bad.length)] = (byte) random.nextInt(256);
            }
            Files.write(record, bad);
            List<String> problems = new ArrayList<>();
            List<Pin> read = files.load((f, p) -> problems.add(p));
            boolean reported = read.isEmpty() && problems.size() == 1;
            assertTrue(
                    reported || read.equals(List.of(HOSTILE)),
                    "seed " + seed + ", round " + i + ": " + read);
            assertTrue(Files.exists(record));
        }
    }
}
