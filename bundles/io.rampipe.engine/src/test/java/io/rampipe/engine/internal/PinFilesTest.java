package io.rampipe.engine.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Target;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
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
        for (int i = 0; i < 2_000; i++) {
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

    private static final int INPUTS = Integer.getInteger("rampipe.test.mutations", 1_000_000);

    private static final String[] VALUES = {
        "",
        "/",
        "..",
        "../../etc",
        "relative",
        "/a/../b",
        "/nul\\u0000",
        "/wide\\u0100",
        "ABC",
        "0",
        "-1",
        "2",
        "DIRECTORY",
        "FILE",
        "PINNED",
        "pinned",
        "DISCARDING",
        "9999999999999999999",
        "+1000000000-01-01T00:00:00Z",
        "2026-01-01",
        "a".repeat(33),
        "x".repeat(5000)
    };

    /**
     * Whatever a record contains, it is read or refused with IllegalArgumentException: torn ones
     * are never believed, and well-formed ones with a right checksum only if they make sense.
     */
    @Test
    void anythingIsReadOrRefused() throws Exception {
        new PinFiles(dir).write(HOSTILE);
        String good = Files.readString(dir.resolve("abc123.pin"), StandardCharsets.ISO_8859_1);
        String[] lines = good.split("\\R");
        long seed = Long.getLong("rampipe.test.seed", System.nanoTime());
        System.out.println("PinFilesTest: -Drampipe.test.seed=" + seed);
        SplittableRandom random = new SplittableRandom(seed);
        int believed = 0;
        for (int i = 0; i < INPUTS; i++) {
            boolean torn = (i & 1) == 0;
            String bad = torn ? tear(good, random) : change(lines, random);
            try {
                Pin pin = PinFiles.parse(bad);
                believed++;
                if (torn) {
                    assertEquals(HOSTILE, pin, "seed " + seed + ", input " + i);
                }
                assertTrue(pin.id().matches("[0-9a-z]{1,32}"), "seed " + seed + ", input " + i);
                assertTrue(pin.target().path().isAbsolute(), "seed " + seed + ", input " + i);
            } catch (IllegalArgumentException e) {
                assertTrue(e.getMessage() != null && !e.getMessage().isEmpty());
            } catch (RuntimeException e) {
                throw new AssertionError("seed " + seed + ", input " + i + ": " + bad, e);
            }
        }
        System.out.printf("PinFilesTest: %d inputs, %d of them make sense%n", INPUTS, believed);
        assertTrue(believed > INPUTS / 100, believed + " of " + INPUTS);
    }

    private static String tear(String good, SplittableRandom random) {
        StringBuilder bad = new StringBuilder(good);
        if (random.nextInt(4) == 0) {
            bad.setLength(random.nextInt(bad.length()));
        }
        for (int flips = random.nextInt(3); flips >= 0 && bad.length() > 0; flips--) {
            int at = random.nextInt(bad.length());
            int length = Math.min(random.nextInt(20), bad.length() - at);
            switch (random.nextInt(4)) {
                case 0 -> bad.insert(at, good.substring(random.nextInt(good.length())));
                case 1 -> bad.delete(at, at + length);
                case 2 -> bad.insert(random.nextInt(bad.length()), bad.substring(at, at + length));
                default -> bad.setCharAt(at, (char) random.nextInt(256));
            }
        }
        return bad.toString();
    }

    /** Lines that say something else, are lost or doubled, under a right checksum. */
    private static String change(String[] lines, SplittableRandom random) throws Exception {
        List<String> changed = new ArrayList<>(List.of(lines));
        for (int times = random.nextInt(2); times >= 0; times--) {
            int at = random.nextInt(changed.size());
            String line = changed.get(at);
            String key = line.substring(0, line.indexOf('=') + 1);
            String value = VALUES[random.nextInt(VALUES.length)];
            switch (random.nextInt(6)) {
                case 0 -> changed.remove(at);
                case 1 -> changed.add(key + value);
                case 2 -> changed.add("attribute." + value + "=" + value);
                case 3 -> changed.set(at, lines[random.nextInt(lines.length)]);
                default -> changed.set(at, key + value);
            }
        }
        changed.removeIf(line -> line.startsWith("checksum="));
        Properties p = new Properties();
        p.load(new StringReader(String.join("\n", changed)));
        changed.add("checksum=" + PinFiles.checksum(p));
        return String.join("\n", changed);
    }
}
