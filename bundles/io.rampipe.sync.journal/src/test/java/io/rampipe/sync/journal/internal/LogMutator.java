package io.rampipe.sync.journal.internal;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.zip.CRC32C;

/**
 * Makes logs that are wrong in the ways that logs can be wrong: torn bytes, and well-formed logs
 * with right checksums that say the wrong thing. One thread.
 */
final class LogMutator {
    /** One record without its frame. */
    record Part(int type, byte[] payload) {}

    /**
     * What a payload consists of: n number, l long, b truth, t text, x attributes (at the end), d
     * data (at the end).
     */
    private static final String[] SCHEMA = {
        "",
        "tlbbtltt",
        "nlntntt",
        "nlnntt",
        "nl",
        "nlnd",
        "nll",
        "n",
        "ntlb",
        "n",
        "nntlb",
        "nx",
        "nx",
        "ll"
    };

    private static final int[] NUMBERS = {
        0,
        1,
        2,
        3,
        4,
        5,
        -1,
        -2,
        255,
        256,
        4096,
        1 << 20,
        1 << 30,
        Integer.MAX_VALUE,
        Integer.MIN_VALUE,
        0100000,
        0120000,
        0020000,
        0040000
    };

    private static final long[] LONGS = {
        0,
        1,
        -1,
        2,
        4095,
        4096,
        8192,
        100_000,
        1L << 31,
        1L << 32,
        1L << 40,
        1L << 44,
        Long.MAX_VALUE,
        Long.MAX_VALUE - 4096,
        Long.MIN_VALUE
    };

    private static final String LONG_NAME = "n".repeat(255);

    private static final String[] NAMES = {
        "",
        ".",
        "..",
        "/",
        "a/b",
        "../canary",
        "../../canary/secret",
        "/etc/passwd",
        "x\0y",
        "\0",
        "secret",
        "canary",
        ".rampipe",
        "p1.redo",
        "7-reserve",
        "7-2/secret",
        "7-3/..",
        "-",
        LONG_NAME,
        LONG_NAME + "n",
        "n/".repeat(2000),
        "\u00ff\n raw",
        "0:0",
        "99999999999:1",
        "1:00",
        "-1:ff"
    };

    private final SplittableRandom random;
    private final List<Long> inodes = new ArrayList<>();
    private final List<String> names = new ArrayList<>(Arrays.asList(NAMES));
    private final CRC32C crc = new CRC32C();

    LogMutator(SplittableRandom random) {
        this.random = random;
    }

    /** Inode numbers that mutants shall speak of too. */
    void inodes(List<Long> more) {
        inodes.clear();
        inodes.addAll(more);
    }

    /** Names that mutants shall speak of too. */
    void names(List<String> more) {
        names.addAll(more);
    }

    /** Records as they are; {@code data} is what all Data records begin with. */
    static List<Part> parts(List<LogRecord> records, byte[] data) {
        List<Part> parts = new ArrayList<>();
        ByteBuffer b = ByteBuffer.allocate(1 << 20).order(ByteOrder.LITTLE_ENDIAN);
        for (LogRecord r : records) {
            b.clear();
            LogFormat.encode(r, b);
            if (r instanceof LogRecord.Data d) {
                b.put(data, 0, d.length());
            }
            parts.add(new Part(LogFormat.type(r), Arrays.copyOf(b.array(), b.position())));
        }
        return parts;
    }

    /** A whole log, footer and checksums right. */
    byte[] log(List<Part> parts) {
        int size = LogFormat.PREAMBLE + 32;
        for (Part p : parts) {
            size += LogFormat.padded(LogFormat.FRAME + p.payload().length);
        }
        ByteBuffer b = ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
        b.put(LogFormat.MAGIC).putInt(LogFormat.VERSION).putInt(0);
        long sum = 0;
        for (Part p : parts) {
            sum = LogFormat.sum(sum, frame(b, p.type(), p.payload()));
        }
        byte[] footer = new byte[16];
        ByteBuffer.wrap(footer).order(ByteOrder.LITTLE_ENDIAN).putLong(parts.size()).putLong(sum);
        frame(b, LogFormat.FOOTER, footer);
        return b.array();
    }

    private int frame(ByteBuffer b, int type, byte[] payload) {
        int start = b.position();
        b.putInt(type).putInt(payload.length).putInt(0).putInt(0).put(payload);
        b.position(start + LogFormat.padded(LogFormat.FRAME + payload.length));
        int checksum = LogWriter.checksum(crc, b, start, b.position());
        b.putInt(start + 8, checksum);
        return checksum;
    }

    /** Some of its records changed, doubled, lost, moved, or replaced by those of another log. */
    List<Part> mutate(List<Part> log, List<Part> other) {
        List<Part> parts = new ArrayList<>(log);
        for (int times = random.nextInt(3); times >= 0; times--) {
            int at = random.nextInt(parts.size());
            Part p = parts.get(at);
            switch (random.nextInt(16)) {
                case 0 -> parts.remove(at);
                case 1 -> parts.add(random.nextInt(parts.size() + 1), p);
                case 2 -> {
                    int with = random.nextInt(parts.size());
                    parts.set(at, parts.get(with));
                    parts.set(with, p);
                }
                case 3 -> {
                    // Two logs spliced.
                    parts.subList(at, parts.size()).clear();
                    parts.addAll(other.subList(random.nextInt(other.size()), other.size()));
                }
                case 4 -> parts.add(at, other.get(random.nextInt(other.size())));
                case 5 -> parts.set(at, new Part(random.nextInt(16) - 1, p.payload()));
                case 6 ->
                        parts.set(
                                at,
                                new Part(
                                        p.type(),
                                        Arrays.copyOf(
                                                p.payload(),
                                                Math.max(
                                                        0,
                                                        p.payload().length
                                                                + random.nextInt(24)
                                                                - 12))));
                default -> parts.set(at, field(p));
            }
            if (parts.isEmpty()) {
                return parts;
            }
        }
        return parts;
    }

    /** One field of it set to something else. */
    private Part field(Part p) {
        String schema =
                p.type() > 0 && p.type() < SCHEMA.length
                        ? SCHEMA[p.type()].replace("x", "nnnlnlnbn")
                        : "";
        ByteBuffer in = ByteBuffer.wrap(p.payload()).order(ByteOrder.LITTLE_ENDIAN);
        List<int[]> fields = new ArrayList<>();
        try {
            for (int i = 0; i < schema.length(); i++) {
                int start = in.position();
                switch (schema.charAt(i)) {
                    case 'n' -> in.getInt();
                    case 'l' -> in.getLong();
                    case 'b' -> in.get();
                    case 't' -> in.position(in.position() + 4 + in.getInt(in.position()));
                    default -> in.position(in.limit());
                }
                fields.add(new int[] {schema.charAt(i), start, in.position()});
            }
            if (SCHEMA[p.type()].endsWith("x")) {
                while (in.hasRemaining()) {
                    int start = in.position();
                    in.position(in.position() + 4 + in.getInt(in.position()));
                    fields.add(new int[] {'t', start, in.position()});
                }
            }
        } catch (RuntimeException e) {
            // It was cut before: what can be told apart of it will do.
        }
        if (fields.isEmpty()) {
            return p;
        }
        int[] f = fields.get(random.nextInt(fields.size()));
        byte[] now =
                switch (f[0]) {
                    case 'n' -> number();
                    case 'l' -> bytes(8).putLong(longNumber(p.payload(), f[1])).array();
                    case 'b' -> new byte[] {(byte) random.nextInt(3)};
                    case 't' -> text();
                    default -> new byte[random.nextInt(300)];
                };
        byte[] all = new byte[p.payload().length - (f[2] - f[1]) + now.length];
        System.arraycopy(p.payload(), 0, all, 0, f[1]);
        System.arraycopy(now, 0, all, f[1], now.length);
        System.arraycopy(p.payload(), f[2], all, f[1] + now.length, p.payload().length - f[2]);
        return new Part(p.type(), all);
    }

    private byte[] number() {
        int n =
                random.nextInt(4) == 0
                        ? random.nextInt()
                        : NUMBERS[random.nextInt(random.nextBoolean() ? 6 : NUMBERS.length)];
        return bytes(4).putInt(n).array();
    }

    private long longNumber(byte[] payload, int at) {
        return switch (random.nextInt(4)) {
            case 0 -> random.nextLong();
            case 1 -> LONGS[random.nextInt(LONGS.length)];
            case 2 ->
                    ByteBuffer.wrap(payload).order(ByteOrder.LITTLE_ENDIAN).getLong(at)
                            + random.nextInt(3)
                            - 1;
            default ->
                    inodes.isEmpty()
                            ? random.nextInt(100_000)
                            : inodes.get(random.nextInt(inodes.size()));
        };
    }

    private byte[] text() {
        byte[] text = names.get(random.nextInt(names.size())).getBytes(StandardCharsets.ISO_8859_1);
        int length = random.nextInt(20) == 0 ? NUMBERS[random.nextInt(15)] : text.length;
        return bytes(4 + text.length).putInt(length).put(text).array();
    }

    private static ByteBuffer bytes(int length) {
        return ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
    }

    /** Torn: bits, bytes and runs of bytes are others, the end is missing or something follows. */
    byte[] tear(byte[] good) {
        byte[] bad = good.clone();
        for (int i = random.nextInt(3); i >= 0; i--) {
            int at = random.nextInt(bad.length);
            switch (random.nextInt(6)) {
                case 0 -> bad[at] ^= (byte) (1 << random.nextInt(8));
                case 1 -> bad[at] = (byte) random.nextInt(256);
                case 2 -> {
                    byte[] ends = {0, -1, 127, -128, '/', '.'};
                    bad[at] = ends[random.nextInt(ends.length)];
                }
                case 3 -> {
                    int length = Math.min(random.nextInt(64), bad.length - at);
                    System.arraycopy(bad, random.nextInt(bad.length - length + 1), bad, at, length);
                }
                case 4 ->
                        Arrays.fill(bad, at & ~511, Math.min(bad.length, (at | 511) + 1), (byte) 0);
                default -> bad = Arrays.copyOf(bad, Math.max(1, at + random.nextInt(64)));
            }
        }
        return bad;
    }
}
