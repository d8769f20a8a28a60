package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.linux.Stat;
import io.rampipe.sync.journal.internal.LogMutator.Part;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

/**
 * Whatever a redo log contains, reading it ends with a log that makes sense or with {@link
 * DamagedLogException}, and takes no more memory than the log is large, within a factor.
 */
class LogFuzzTest {
    private static final int INPUTS = Integer.getInteger("rampipe.test.mutations", 1_200_000);

    /** Until then classes are loaded, and that takes memory too. */
    private static final int WARM_UP = 10_000;

    private static final FilePath NONE = FilePath.of("");
    private static final byte[] DATA = new byte[400];

    /** Reading a log of that size may allocate this. The buffer of a file comes on top: 1 MiB. */
    private static long allowed(int size) {
        return 64 * 1024 + 40L * size;
    }

    /** A log in memory. */
    static LogReader.Source memory(byte[] log) {
        return new LogReader.Source() {
            @Override
            public long size() {
                return log.length;
            }

            @Override
            public ByteBuffer allocate(int size) {
                return ByteBuffer.allocate(size);
            }

            @Override
            public int read(ByteBuffer buffer, long offset) {
                int n = (int) Math.max(0, Math.min(buffer.remaining(), log.length - offset));
                buffer.put(log, (int) Math.min(offset, log.length), n);
                return n;
            }
        };
    }

    private static Attributes attributes() {
        TreeMap<String, byte[]> xattrs = new TreeMap<>();
        xattrs.put("user.x", new byte[] {1, 2, 3});
        xattrs.put("security.capability", new byte[20]);
        return new Attributes(1000, 100, 04755, 1, 2, -3, 4, false, xattrs);
    }

    private static LogRecord.Header header(long sequence, boolean file) {
        return new LogRecord.Header(
                "p1", sequence, !file, "8:1", 42, "1:0011", FilePath.of("/home/x"), file);
    }

    private static LogRecord.Directory root() {
        return new LogRecord.Directory(0, 42, -1, NONE, -1, NONE, NONE);
    }

    private static List<LogRecord> directoryLog() {
        return List.of(
                header(7, false),
                root(),
                // Two directories that change places, one within the other.
                new LogRecord.Directory(
                        1, 43, 0, FilePath.of("old"), 2, FilePath.of("new"), FilePath.of("7-0")),
                new LogRecord.Directory(
                        2, 50, 1, FilePath.of("in"), 0, FilePath.of("out"), FilePath.of("7-1")),
                new LogRecord.File(0, 44, Stat.REGULAR, 1, FilePath.ofRaw("\u00ff\n raw"), NONE),
                new LogRecord.Size(0, 100_000),
                new LogRecord.Data(0, 4096, DATA.length),
                new LogRecord.Hole(0, 8192, 4096),
                new LogRecord.File(1, 45, Stat.SYMLINK, -1, NONE, FilePath.of("7-2")),
                new LogRecord.Detach(1),
                new LogRecord.Detach(2),
                new LogRecord.Remove(0, FilePath.of("gone"), 46, true),
                new LogRecord.PlaceDirectory(2),
                new LogRecord.PlaceDirectory(1),
                new LogRecord.PlaceFile(1, 1, FilePath.of("link"), 0, true),
                new LogRecord.FileAttributes(0, attributes()),
                new LogRecord.DirectoryAttributes(1, attributes()));
    }

    private static List<LogRecord> fileLog() {
        return List.of(
                header(8, true),
                root(),
                new LogRecord.File(0, 44, Stat.REGULAR, 0, FilePath.of("x"), NONE),
                new LogRecord.Data(0, 0, 100),
                new LogRecord.Data(0, 1 << 20, 1),
                new LogRecord.File(1, 47, Stat.REGULAR, -1, NONE, FilePath.of("8-0")),
                new LogRecord.PlaceFile(1, 0, FilePath.of("x"), 46, false),
                new LogRecord.PlaceFile(1, 0, FilePath.of("x"), 0, true),
                new LogRecord.FileAttributes(1, attributes()));
    }

    @Test
    void anythingIsReadOrRefused() throws IOException {
        long seed = Long.getLong("rampipe.test.seed", System.nanoTime());
        System.out.println("LogFuzzTest: -Drampipe.test.seed=" + seed);
        LogMutator mutator = new LogMutator(new SplittableRandom(seed));
        List<List<Part>> logs = new ArrayList<>();
        for (List<LogRecord> records : List.of(directoryLog(), fileLog())) {
            logs.add(LogMutator.parts(records, DATA));
        }
        byte[][] good = {mutator.log(logs.get(0)), mutator.log(logs.get(1))};
        for (byte[] log : good) {
            read(log);
        }
        var threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
        int sensible = 0;
        for (int i = 0; i < INPUTS; i++) {
            int which = i & 1;
            boolean torn = i % 3 == 0;
            byte[] bad =
                    torn
                            ? mutator.tear(good[which])
                            : mutator.log(mutator.mutate(logs.get(which), logs.get(1 - which)));
            long before = threads.getCurrentThreadAllocatedBytes();
            try {
                LogContents contents = LogContents.read(new LogReader(memory(bad)));
                sensible++;
                if (torn) {
                    assertArrayEquals(good[which], bad, "seed " + seed + ", input " + i);
                } else {
                    verify(contents, bad, "seed " + seed + ", input " + i);
                }
            } catch (DamagedLogException e) {
                // That is what shall happen. Anything else fails the test.
            } catch (RuntimeException | IOException | StackOverflowError e) {
                throw new AssertionError("seed " + seed + ", input " + i, e);
            }
            long used = threads.getCurrentThreadAllocatedBytes() - before;
            assertTrue(
                    i < WARM_UP || used <= allowed(bad.length),
                    () -> used + " bytes for a log of " + bad.length + ", seed " + seed);
        }
        System.out.printf("LogFuzzTest: %d inputs, %d of them make sense%n", INPUTS, sensible);
        // The rest of the test would mean nothing if all were refused at the first byte.
        assertTrue(sensible > INPUTS / 100, sensible + " of " + INPUTS);
    }

    private static void read(byte[] log) throws IOException {
        LogContents.read(new LogReader(memory(log)));
    }

    /** Says again, in other words, what a log may contain that is applied. */
    private static void verify(LogContents contents, byte[] log, String where) throws IOException {
        String prefix = contents.header().sequence() + "-";
        Set<Integer> directories = new HashSet<>();
        Set<Integer> files = new HashSet<>();
        Set<Integer> used = new HashSet<>();
        LogReader reader = new LogReader(memory(log));
        LogRecord r;
        while ((r = reader.next()) != null) {
            if (r instanceof LogRecord.Directory d) {
                assertTrue(directories.add(d.id()), where);
                oneComponent(d.oldName(), where);
                oneComponent(d.newName(), where);
                String staged = d.staged().raw();
                assertTrue(staged.isEmpty() || staged.startsWith(prefix), where);
                for (String part : staged.split("/", -1)) {
                    oneComponent(FilePath.ofRaw(part), where);
                }
                used.add(d.oldParent());
                used.add(d.newParent());
            } else if (r instanceof LogRecord.File f) {
                assertTrue(files.add(f.id()), where);
                oneComponent(f.homeName(), where);
                oneComponent(f.staged(), where);
                assertTrue(f.staged().isEmpty() || f.staged().raw().startsWith(prefix), where);
                used.add(f.home());
            } else if (r instanceof LogRecord.Remove x) {
                oneComponent(x.name(), where);
                used.add(x.directory());
            } else if (r instanceof LogRecord.PlaceFile x) {
                oneComponent(x.name(), where);
                used.add(x.directory());
                assertTrue(files.contains(x.file()), where);
            } else if (r instanceof LogRecord.Data x) {
                assertTrue(files.contains(x.file()), where);
                assertEquals(x.length(), reader.data().remaining(), where);
                assertTrue(x.offset() >= 0 && x.offset() + x.length() > 0, where);
            }
        }
        used.remove(LogRecord.NONE);
        assertTrue(directories.containsAll(used), where);
        assertEquals(directories, contents.directories().keySet(), where);
        assertEquals(files, contents.files().keySet(), where);
    }

    private static void oneComponent(FilePath name, String where) {
        String raw = name.raw();
        assertTrue(
                raw.length() <= 255
                        && !raw.equals(".")
                        && !raw.equals("..")
                        && raw.indexOf('/') < 0
                        && raw.indexOf('\0') < 0,
                where + ": " + name);
    }

    /** A length that says that a gigabyte follows is not believed. */
    @Test
    void hugeCountsCostNothing() throws IOException {
        LogMutator mutator = new LogMutator(new SplittableRandom(1));
        for (int count : new int[] {Integer.MAX_VALUE, 1 << 28, -1, Integer.MIN_VALUE}) {
            List<Part> parts = LogMutator.parts(directoryLog(), DATA);
            byte[] payload = parts.get(15).payload().clone();
            // File, uid, gid, mode, times, truth: then the number of attributes.
            ByteBuffer.wrap(payload).order(LogFormat.ORDER).putInt(16 + 24 + 1, count);
            parts.set(15, new Part(LogFormat.FILE_ATTRIBUTES, payload));
            byte[] log = mutator.log(parts);
            var threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
            long used = Long.MAX_VALUE;
            for (int i = 0; i < 3; i++) {
                long before = threads.getCurrentThreadAllocatedBytes();
                assertThrows(
                        DamagedLogException.class, () -> read(log), () -> "believed: " + count);
                used = Math.min(used, threads.getCurrentThreadAllocatedBytes() - before);
            }
            assertTrue(used <= allowed(log.length), used + " bytes");
        }
    }
}
