package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A redo log is read exactly as it was written, or not at all. */
class RedoLogTest {
    private static final int MUTATIONS = Integer.getInteger("rampipe.test.filemutations", 20_000);
    private static final FilePath NONE = FilePath.of("");

    @TempDir Path dir;

    private static final byte[] DATA = new byte[5000];

    static {
        new Random(1).nextBytes(DATA);
    }

    private static List<LogRecord> records() {
        TreeMap<String, byte[]> xattrs = new TreeMap<>();
        xattrs.put("user.x", new byte[] {1, 2, 3});
        xattrs.put("security.capability", new byte[20]);
        Attributes a = new Attributes(1000, 100, 04755, 1, 2, -3, 4, false, xattrs);
        FilePath raw = FilePath.ofRaw("\u00ff\n raw");
        return List.of(
                new LogRecord.Header(
                        "p1", 7, false, "8:1", 42, "1:0011", FilePath.of("/home/x"), false),
                new LogRecord.Directory(0, 42, -1, NONE, -1, NONE, NONE),
                new LogRecord.Directory(
                        1, 43, 0, FilePath.of("old"), 0, FilePath.of("new"), FilePath.of("7-0")),
                new LogRecord.File(0, 44, Stat.REGULAR, 1, raw, NONE),
                new LogRecord.Size(0, 100_000),
                new LogRecord.Data(0, 4096, DATA.length),
                new LogRecord.Hole(0, 8192, 4096),
                new LogRecord.File(1, 45, Stat.SYMLINK, -1, NONE, FilePath.of("7-1")),
                new LogRecord.Detach(1),
                new LogRecord.Remove(0, FilePath.of("gone"), 46, true),
                new LogRecord.PlaceDirectory(1),
                new LogRecord.PlaceFile(1, 1, FilePath.of("link"), 0, true),
                new LogRecord.FileAttributes(0, a),
                new LogRecord.DirectoryAttributes(1, a));
    }

    private Fd write(List<LogRecord> records) throws IOException {
        Fd fd =
                At.open(
                        Fd.CWD,
                        FilePath.of(dir.resolve("log").toString()),
                        At.O_RDWR | At.O_CREAT | At.O_TRUNC,
                        0600);
        LogWriter writer = new LogWriter(() -> fd, Steps.NONE);
        for (LogRecord r : records) {
            if (r instanceof LogRecord.Data d) {
                ByteBuffer b = ByteBuffer.allocateDirect(d.length());
                b.put(DATA).flip();
                writer.write(d, b);
            } else {
                writer.write(r);
            }
        }
        writer.finish();
        return fd;
    }

    private static List<String> read(Fd fd) throws IOException {
        LogContents.read(fd);
        List<String> found = new ArrayList<>();
        LogReader reader = new LogReader(fd);
        LogRecord r;
        while ((r = reader.next()) != null) {
            String more = "";
            if (r instanceof LogRecord.Data) {
                byte[] bytes = new byte[reader.data().remaining()];
                reader.data().get(bytes);
                more = Arrays.toString(bytes);
            }
            found.add(text(r) + more);
        }
        return found;
    }

    /** Arrays by their content. */
    private static String text(LogRecord r) {
        ByteBuffer b = ByteBuffer.allocate(8192).order(LogFormat.ORDER);
        LogFormat.encode(r, b);
        return LogFormat.type(r) + Arrays.toString(Arrays.copyOf(b.array(), b.position()));
    }

    @Test
    void whatIsWrittenIsRead() throws IOException {
        try (Fd fd = write(records())) {
            List<String> found = read(fd);
            List<String> expected = new ArrayList<>();
            for (LogRecord r : records()) {
                expected.add(text(r) + (r instanceof LogRecord.Data ? Arrays.toString(DATA) : ""));
            }
            assertEquals(expected, found.subList(0, found.size() - 1));
        }
    }

    @Test
    void whatWasTakenBackIsNotRead() throws IOException {
        Fd fd =
                At.open(
                        Fd.CWD,
                        FilePath.of(dir.resolve("log").toString()),
                        At.O_RDWR | At.O_CREAT,
                        0600);
        try (fd) {
            LogWriter writer = new LogWriter(() -> fd, Steps.NONE);
            List<LogRecord> records = records();
            writer.write(records.get(0));
            writer.write(records.get(1));
            LogWriter.Mark mark = writer.mark();
            for (int i = 0; i < 50_000; i++) {
                writer.write(new LogRecord.Hole(9, 0, 1));
            }
            writer.reset(mark);
            writer.finish();
            assertEquals(3, read(fd).size());
        }
    }

    @Test
    void aCutLogIsRefused() throws IOException {
        try (Fd fd = write(records())) {
            for (long size = Stat.of(fd).size() - 1; size >= 0; size -= size > 6000 ? 1 : 7) {
                Io.truncate(fd, size);
                assertThrows(DamagedLogException.class, () -> read(fd));
            }
        }
    }

    @Test
    void aMutatedLogIsRefused() throws IOException {
        long seed = Long.getLong("rampipe.test.seed", System.nanoTime());
        System.out.println("RedoLogTest: -Drampipe.test.seed=" + seed);
        Random random = new Random(seed);
        try (Fd fd = write(records())) {
            byte[] good = bytes(fd);
            List<String> before = read(fd);
            for (int i = 0; i < MUTATIONS; i++) {
                byte[] bad = good.clone();
                mutate(bad, random);
                boolean resealed = i % 2 == 0;
                if (resealed) {
                    reseal(bad);
                }
                replace(fd, bad);
                try {
                    List<String> found = read(fd);
                    if (!resealed && !Arrays.equals(bad, good)) {
                        assertEquals(before, found, "seed " + seed + ", mutation " + i);
                    }
                } catch (DamagedLogException e) {
                    // That is what shall happen. Anything else fails the test.
                }
            }
        }
    }

    private static void mutate(byte[] bytes, Random random) {
        // Mostly outside of the file data, where there is something to get wrong.
        for (int i = random.nextInt(3); i >= 0; i--) {
            int at = random.nextInt(bytes.length);
            switch (random.nextInt(4)) {
                case 0 -> bytes[at] ^= (byte) (1 << random.nextInt(8));
                case 1 -> bytes[at] = (byte) random.nextInt(256);
                case 2 -> {
                    byte[] ends = {0, -1, 127, -128, '/', '.'};
                    bytes[at] = ends[random.nextInt(ends.length)];
                }
                default -> {
                    int length = Math.min(random.nextInt(64), bytes.length - at);
                    System.arraycopy(
                            bytes, random.nextInt(bytes.length - length + 1), bytes, at, length);
                }
            }
        }
    }

    /** Makes all checksums right again, as a forger would. */
    private static void reseal(byte[] bytes) {
        ByteBuffer b = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
        long sum = 0;
        long records = 0;
        CRC32C crc = new CRC32C();
        for (int at = LogFormat.PREAMBLE; at + LogFormat.FRAME <= bytes.length; ) {
            int length = b.getInt(at + 4);
            long whole = LogFormat.padded(LogFormat.FRAME + (length & 0xffffff));
            if (length < 0 || at + whole > bytes.length) {
                return;
            }
            if (b.getInt(at) == LogFormat.FOOTER && length == 16) {
                b.putLong(at + LogFormat.FRAME, records);
                b.putLong(at + LogFormat.FRAME + 8, sum);
            }
            b.putInt(at + 8, 0);
            int checksum = LogWriter.checksum(crc, b, at, at + (int) whole);
            b.putInt(at + 8, checksum);
            sum = LogFormat.sum(sum, checksum);
            records++;
            at += (int) whole;
        }
    }

    private static byte[] bytes(Fd fd) throws IOException {
        ByteBuffer b = ByteBuffer.allocateDirect((int) Stat.of(fd).size());
        Io.readFully(fd, b, 0);
        b.flip();
        byte[] bytes = new byte[b.remaining()];
        b.get(bytes);
        return bytes;
    }

    private static void replace(Fd fd, byte[] bytes) throws IOException {
        ByteBuffer b = ByteBuffer.allocateDirect(bytes.length);
        b.put(bytes).flip();
        Io.writeFully(fd, b, 0);
    }
}
