package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.Stat;
import io.rampipe.sync.journal.internal.LogMutator.Part;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/**
 * Logs that are well-formed and say the wrong thing are recovered on a real disk: nothing changes
 * outside of the target and of RamPipe's own directory, nothing escapes as an exception, and it
 * ends.
 */
@NeedsMounts
class ApplyFuzzTest {
    private static final int MUTANTS = Integer.getInteger("rampipe.test.applied", 24_000);
    private static final FilePath NONE = FilePath.of("");
    private static final FilePath DOT = FilePath.of(".");
    private static final byte[] DATA = new byte[6000];

    private final ScratchDisk disk;
    private Path root;
    private Path target;
    private Path home;
    private Path staging;

    ApplyFuzzTest() throws IOException {
        // Without a journal: what is tested here is not a power cut, and fsync is ten times faster.
        disk = ScratchDisk.make(24, "mkfs.ext4", "-q", "-F", "-O", "^has_journal");
        on(disk.root());
    }

    private void on(Path mount) {
        root = mount;
        target = root.resolve("target");
        home = root.resolve(".rampipe");
        staging = home.resolve("p1.d");
    }

    /** The target and what is staged, as they are before a log is applied. */
    private void build() throws IOException {
        clear(home);
        clear(target);
        Files.createDirectories(staging);
        Files.createDirectories(target.resolve("sub"));
        Files.createDirectories(target.resolve("old/in"));
        Files.createDirectories(target.resolve("gone"));
        for (String f : List.of("f", "sub/g", "replaced", "removed", "gone/x", "old/in/y")) {
            Files.write(target.resolve(f), new byte[3000]);
        }
        Files.createSymbolicLink(target.resolve("link"), Path.of("../canary"));
        Files.write(staging.resolve("7-2"), new byte[100]);
        Files.createSymbolicLink(staging.resolve("7-3"), Path.of("../../canary"));
        Files.createDirectories(staging.resolve("7-4/a"));
        Files.write(staging.resolve("7-4/a/b"), new byte[10]);
        Files.createLink(staging.resolve("7-5"), target.resolve("sub/g"));
        Files.write(staging.resolve("7-reserve"), new byte[10]);
    }

    private static void clear(Path directory) throws IOException {
        if (!Files.isDirectory(directory)) {
            Files.createDirectory(directory);
        }
        try (Stream<Path> all = Files.list(directory)) {
            for (Path p : all.toList()) {
                if (Files.isDirectory(p, java.nio.file.LinkOption.NOFOLLOW_LINKS)) {
                    clear(p);
                }
                Files.delete(p);
            }
        }
    }

    private long inode(Path path) throws IOException {
        return Stat.at(Fd.CWD, FilePath.of(path.toString())).inode();
    }

    private List<LogRecord> records() throws IOException {
        Attributes a = new Attributes(1000, 100, 0640, 1, 2, 3, 4, false, new TreeMap<>());
        String handle;
        Stat stat;
        try (Fd fd = At.open(FilePath.of(target.toString()), At.O_RDONLY | At.O_DIRECTORY)) {
            handle = FileHandle.of(fd).toString();
            stat = Stat.of(fd);
        }
        return List.of(
                new LogRecord.Header(
                        "p1",
                        7,
                        false,
                        Stat.deviceText(stat.device()),
                        stat.inode(),
                        handle,
                        FilePath.of(target.toString()),
                        false),
                new LogRecord.Directory(0, stat.inode(), -1, NONE, -1, NONE, NONE),
                directory(1, "sub", 0, "sub", ""),
                directory(2, "old", 3, "deeper", "7-0"),
                new LogRecord.Directory(
                        3,
                        inode(target.resolve("old/in")),
                        2,
                        FilePath.of("in"),
                        0,
                        FilePath.of("out"),
                        FilePath.of("7-1")),
                new LogRecord.Directory(
                        4,
                        inode(staging.resolve("7-4")),
                        -1,
                        NONE,
                        0,
                        FilePath.of("fresh"),
                        FilePath.of("7-4")),
                file(0, "f", Stat.REGULAR, 0),
                new LogRecord.Size(0, 10_000),
                new LogRecord.Data(0, 4096, DATA.length - 4096),
                new LogRecord.Hole(0, 0, 4096),
                file(1, "sub/g", Stat.REGULAR, 1),
                new LogRecord.Data(1, 100, 50),
                staged(2, "7-2", Stat.REGULAR),
                staged(3, "7-3", Stat.SYMLINK),
                staged(4, "7-5", Stat.REGULAR),
                new LogRecord.Detach(2),
                new LogRecord.Detach(3),
                new LogRecord.Remove(
                        0, FilePath.of("removed"), inode(target.resolve("removed")), false),
                new LogRecord.Remove(0, FilePath.of("gone"), inode(target.resolve("gone")), true),
                new LogRecord.PlaceDirectory(3),
                new LogRecord.PlaceDirectory(2),
                new LogRecord.PlaceDirectory(4),
                new LogRecord.PlaceFile(
                        2, 0, FilePath.of("replaced"), inode(target.resolve("replaced")), true),
                new LogRecord.PlaceFile(3, 1, FilePath.of("away"), 0, true),
                new LogRecord.PlaceFile(4, 0, FilePath.of("g2"), 0, false),
                new LogRecord.FileAttributes(0, a),
                new LogRecord.FileAttributes(3, a),
                new LogRecord.DirectoryAttributes(1, a),
                new LogRecord.DirectoryAttributes(0, a));
    }

    private LogRecord directory(int id, String old, int newParent, String name, String stagedName)
            throws IOException {
        boolean moved = !stagedName.isEmpty();
        return new LogRecord.Directory(
                id,
                inode(target.resolve(old)),
                moved ? 0 : LogRecord.NONE,
                moved ? FilePath.of(old) : NONE,
                newParent,
                FilePath.of(name),
                FilePath.of(stagedName));
    }

    private LogRecord file(int id, String path, int type, int dir) throws IOException {
        Path p = target.resolve(path);
        FilePath name = FilePath.of(p.getFileName().toString());
        return new LogRecord.File(id, inode(p), type, dir, name, NONE);
    }

    private LogRecord staged(int id, String name, int type) throws IOException {
        long inode = inode(staging.resolve(name));
        return new LogRecord.File(id, inode, type, LogRecord.NONE, NONE, FilePath.of(name));
    }

    /** What no log may change: everything at the root of the disk, and below the canary. */
    private Map<String, Stat> outside() throws IOException {
        Map<String, Stat> found = new TreeMap<>();
        try (Fd top = At.open(FilePath.of(root.toString()), At.O_RDONLY | At.O_DIRECTORY)) {
            for (FilePath name : At.list(top)) {
                String n = name.raw();
                // Those two may change, but not go away or become something else.
                boolean may = n.equals("target") || n.equals(".rampipe");
                Stat s = Stat.at(top, name);
                found.put(n, may ? null : s);
                assertTrue(!may || s.isDirectory(), n);
            }
            try (Fd canary = At.openDirectory(top, FilePath.of("canary"))) {
                look(canary, DOT, found);
            }
        }
        return found;
    }

    private void look(Fd dir, FilePath path, Map<String, Stat> found) throws IOException {
        for (FilePath name : At.list(dir)) {
            Stat s = Stat.at(dir, name);
            found.put(path.resolve(name).raw(), s);
            if (s.isDirectory()) {
                try (Fd sub = At.openDirectory(dir, name)) {
                    look(sub, path.resolve(name), found);
                }
            }
        }
    }

    private void makeCanary() throws IOException {
        Path canary = Files.createDirectories(root.resolve("canary/dir")).getParent();
        for (String f : List.of("secret", "f", "a", "dir/secret", "dir/g")) {
            Files.writeString(canary.resolve(f), "secret of " + f);
        }
        Files.createSymbolicLink(canary.resolve("link"), Path.of("secret"));
        Files.writeString(root.resolve("secret"), "at the root");
        Files.writeString(root.resolve("passwd"), "root::0:0:::");
    }

    @Test
    void nothingOutsideIsTouchedOnExt4() throws Exception {
        try (disk) {
            nothingOutsideIsTouched(MUTANTS / 8);
        }
    }

    /** Where nothing waits for a disk. */
    @Test
    void nothingOutsideIsTouchedOnTmpfs() throws Exception {
        try (disk) {
            Path ram = disk.aside("ram");
            Command.run("mount", "-t", "tmpfs", "-o", "size=32M", "none", ram.toString());
            on(ram);
            nothingOutsideIsTouched(MUTANTS);
        }
    }

    private void nothingOutsideIsTouched(int mutants) throws Exception {
        long seed = Long.getLong("rampipe.test.seed", System.nanoTime());
        System.out.println("ApplyFuzzTest: -Drampipe.test.seed=" + seed);
        SplittableRandom random = new SplittableRandom(seed);
        LogMutator mutator = new LogMutator(random);
        mutator.names(
                List.of(
                        "f",
                        "sub",
                        "g",
                        "old",
                        "in",
                        "out",
                        "deeper",
                        "gone",
                        "replaced",
                        "link",
                        "fresh",
                        "away",
                        "7-0",
                        "7-1",
                        "7-2",
                        "7-3",
                        "7-3/secret",
                        "7-3/dir/g",
                        "7-4",
                        "7-4/a/b",
                        "7-5",
                        "7-reserve",
                        "7-3/dir",
                        "7-4/a",
                        "8-0"));
        makeCanary();
        clear(home);
        clear(target);
        Files.setPosixFilePermissions(
                home, java.nio.file.attribute.PosixFilePermissions.fromString("rwx------"));
        Map<String, Stat> before = outside();
        List<Long> inodes = new ArrayList<>();
        int[] applied = {0};
        int[] refused = {0};
        int[] failed = {0};
        for (int i = 0; i < mutants; i++) {
            String where = "seed " + seed + ", mutant " + i;
            build();
            List<Part> good = LogMutator.parts(records(), DATA);
            inodes.clear();
            before.values().stream().filter(s -> s != null).forEach(s -> inodes.add(s.inode()));
            for (String p : List.of("", "f", "sub", "sub/g", "old", "old/in", "gone", "link")) {
                inodes.add(inode(target.resolve(p)));
            }
            inodes.add(inode(home));
            inodes.add(inode(staging));
            inodes.add(inode(staging.resolve("7-3")));
            mutator.inodes(inodes);
            byte[] log = null;
            // Most of those that do not even parse are left out here: the other fuzz has them.
            for (int t = 0; t < 20 && log == null; t++) {
                byte[] bad = mutator.log(mutator.mutate(good, good));
                try {
                    LogContents.read(new LogReader(LogFuzzTest.memory(bad)));
                    log = bad;
                } catch (DamagedLogException e) {
                    log = random.nextInt(100) == 0 ? bad : null;
                }
            }
            if (i == 0 || log == null) {
                log = mutator.log(good);
            }
            Files.write(home.resolve("p1.redo"), log, StandardOpenOption.CREATE_NEW);
            List<String> lines;
            try {
                lines = recover();
            } catch (IOException | RuntimeException | Error e) {
                throw new AssertionError(where, e);
            }
            String said = lines.toString();
            assertTrue(i > 0 || lines.size() == 1 && said.contains("last checkpoint"), said);
            applied[0] += said.contains("last checkpoint") ? 1 : 0;
            refused[0] += said.contains("damaged") ? 1 : 0;
            failed[0] += said.contains("could not be applied") ? 1 : 0;
            // Applying it again, as after a cut, must not find a way out either.
            if (Files.exists(home.resolve("p1.redo"))) {
                recover();
            }
            Map<String, Stat> now = outside();
            if (!now.equals(before)) {
                for (String k : now.keySet()) {
                    assertEquals(before.get(k), now.get(k), where + ": " + k + " " + lines);
                }
                assertEquals(before.keySet(), now.keySet(), where + " " + lines);
            }
        }
        System.out.printf(
                "ApplyFuzzTest: %d mutants, %d applied, %d damaged, %d could not be applied%n",
                mutants, applied[0], refused[0], failed[0]);
        assertEquals("secret of dir/g", Files.readString(root.resolve("canary/dir/g")));
        assertTrue(applied[0] > mutants / 4, applied[0] + " applied");
    }

    private List<String> recover() throws IOException {
        return new JournalSyncBack(Steps.NONE, line -> {})
                .recover(List.of(FilePath.of(root.toString())), List.of());
    }

    /** A staged symbolic link to the canary is no directory of staged files. */
    @Test
    void aStagedLinkLeadsNowhere() throws Exception {
        try (disk) {
            makeCanary();
            clear(home);
            clear(target);
            Command.run("chmod", "700", home.toString());
            build();
            Map<String, Stat> before = outside();
            List<LogRecord> records = new ArrayList<>(records());
            long secret = inode(root.resolve("canary/secret"));
            FilePath path = FilePath.of("7-3/secret");
            records.add(new LogRecord.File(9, secret, Stat.REGULAR, LogRecord.NONE, NONE, path));
            records.add(new LogRecord.Data(9, 0, 100));
            records.add(new LogRecord.PlaceFile(9, 0, FilePath.of("mine"), 0, true));
            LogMutator mutator = new LogMutator(new SplittableRandom(1));
            Files.write(home.resolve("p1.redo"), mutator.log(LogMutator.parts(records, DATA)));
            List<String> lines = recover();
            assertTrue(lines.toString().contains("damaged"), lines.toString());
            assertEquals(before, outside());
            assertTrue(Files.exists(target.resolve("f")));
        }
    }

    /** Each of them could be in the next one, two ways: 2^60 ways in all. */
    @Test
    void directoriesThatLeadNowhereEnd() throws Exception {
        try (disk) {
            clear(home);
            clear(target);
            Files.createDirectories(staging);
            List<LogRecord> records = new ArrayList<>();
            int last = 60;
            for (int i = 1; i < last; i++) {
                FilePath name = FilePath.of("d" + i);
                records.add(new LogRecord.Directory(i, i, i + 1, name, i + 1, name, NONE));
            }
            FilePath name = FilePath.of("last");
            records.add(new LogRecord.Directory(last, last, 1, name, 1, name, NONE));
            records.add(new LogRecord.Remove(1, name, 5, false));
            assertTimeoutPreemptively(Duration.ofSeconds(60), () -> apply(records));
        }
    }

    /** No stack is deep enough for what a log can say. */
    @Test
    void directoriesNestedTooDeepAreRefused() throws Exception {
        try (disk) {
            clear(home);
            clear(target);
            Files.createDirectories(staging);
            List<LogRecord> records = new ArrayList<>();
            int last = 200_000;
            for (int i = 1; i < last; i++) {
                FilePath name = FilePath.of("d" + i);
                records.add(new LogRecord.Directory(i, i, -1, NONE, i + 1, name, NONE));
            }
            records.add(
                    new LogRecord.Directory(last, last, -1, NONE, 0, FilePath.of("last"), NONE));
            records.add(new LogRecord.Remove(1, FilePath.of("x"), 5, false));
            Throwable[] thrown = {null};
            Thread small =
                    new Thread(
                            null,
                            () -> {
                                try {
                                    assertThrows(IOException.class, () -> apply(records));
                                } catch (Throwable e) {
                                    thrown[0] = e;
                                }
                            },
                            "small stack",
                            512 * 1024);
            small.start();
            small.join(60_000);
            assertNull(thrown[0]);
        }
    }

    private void apply(List<LogRecord> more) throws IOException {
        List<LogRecord> records = new ArrayList<>();
        try (Fd fd = At.open(FilePath.of(target.toString()), At.O_RDONLY | At.O_DIRECTORY)) {
            Stat stat = Stat.of(fd);
            String device = Stat.deviceText(stat.device());
            FilePath path = FilePath.of(target.toString());
            String handle = FileHandle.of(fd).toString();
            records.add(
                    new LogRecord.Header(
                            "p1", 7, false, device, stat.inode(), handle, path, false));
            records.add(new LogRecord.Directory(0, stat.inode(), -1, NONE, -1, NONE, NONE));
            records.addAll(more);
            byte[] log =
                    new LogMutator(new SplittableRandom(1)).log(LogMutator.parts(records, DATA));
            Path file = home.resolve("p1.redo");
            Files.write(file, log);
            try (Disk.Place place =
                            Disk.find(
                                    new Disk.Identity(device, stat.inode(), handle, path),
                                    Steps.NONE);
                    Fd staged =
                            At.open(FilePath.of(staging.toString()), At.O_RDONLY | At.O_DIRECTORY);
                    Fd in = At.open(FilePath.of(file.toString()), At.O_RDONLY);
                    Applier applier =
                            new Applier(
                                    place,
                                    staged,
                                    new LowerFiles(stat.device()),
                                    LogContents.read(in),
                                    f -> {},
                                    Steps.NONE)) {
                applier.apply(in, false);
            }
        }
    }
}
