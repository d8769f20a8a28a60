package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack.Allowance;
import io.rampipe.api.SyncBack.Result;
import io.rampipe.linux.Freeze;
import io.rampipe.linux.LinuxException;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.tree.Snapshot;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Checkpoints of targets that never rest: they are on disk as they were at one moment. */
@NeedsMounts
class RestlessTest {
    /** Enough for a machine that has other things to do. */
    private static final Allowance LONG = new Allowance(Duration.ofSeconds(5), 256 << 20);

    private static final int ROUNDS = 5;

    private final List<String> reports = new ArrayList<>();
    private final List<Long> groups = new ArrayList<>();
    private final JournalSyncBack sync = new JournalSyncBack(Steps.NONE, reports::add);
    private ScratchDisk disk;
    private PinnedTree tree;

    @BeforeEach
    void prepare() throws IOException {
        disk = ScratchDisk.ext4(64);
        tree = new PinnedTree(disk);
    }

    @AfterEach
    void clean() throws Exception {
        try {
            for (long group : groups) {
                Command.run("kill", "-KILL", "--", "-" + group);
            }
            Await.until(Duration.ofSeconds(20), this::uncovered, () -> "still in use");
        } finally {
            tree.close();
            disk.close();
        }
        assertEquals(List.of(), reports);
    }

    private boolean uncovered() throws IOException {
        try {
            tree.uncover();
            return true;
        } catch (LinuxException e) {
            return false;
        }
    }

    /** Starts a program in a group of its own, which is no child of this process. */
    private BufferedReader start(String... command) throws IOException {
        List<String> all = new ArrayList<>(List.of("sh", "-c"));
        all.add("setsid sh -c 'echo $$; exec \"$@\"' sh \"$@\" & wait");
        all.add("sh");
        all.addAll(List.of(command));
        BufferedReader out =
                new ProcessBuilder(all).redirectErrorStream(true).start().inputReader();
        groups.add(Long.parseLong(out.readLine()));
        return out;
    }

    private BufferedReader java(Class<?> program, Object... arguments) throws IOException {
        List<String> all =
                new ArrayList<>(
                        List.of(
                                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                                "-XX:TieredStopAtLevel=1",
                                "-cp",
                                System.getProperty("java.class.path"),
                                program.getName()));
        for (Object a : arguments) {
            all.add(a.toString());
        }
        return start(all.toArray(String[]::new));
    }

    /** What is on disk, beneath the mount, after a checkpoint. */
    private Path below() throws IOException {
        Path where = disk.aside("below");
        Command.run("mount", "--bind", disk.root().toString(), where.toString());
        return where.resolve(disk.root().relativize(tree.path("")));
    }

    private void checkpoint(Pin pin) throws IOException {
        Result result = sync.checkpoint(pin, LONG);
        assertTrue(result.consistent(), result.toString());
    }

    /**
     * Threads of one program write the same growing number to every block of a file of theirs, one
     * block after the other, and a number that says how far they all are.
     */
    static final class Blocks {
        static final int THREADS = 4;
        static final int BLOCKS = 64;

        /** Arguments: a directory, the distance of the blocks, whether through mappings. */
        public static void main(String[] args) throws Exception {
            for (int i = 0; i < THREADS; i++) {
                FileChannel f =
                        FileChannel.open(
                                Path.of(args[0], "f" + i),
                                StandardOpenOption.CREATE,
                                StandardOpenOption.READ,
                                StandardOpenOption.WRITE);
                int distance = Integer.parseInt(args[1]);
                ByteBuffer map =
                        Boolean.parseBoolean(args[2])
                                ? f.map(FileChannel.MapMode.READ_WRITE, 0, BLOCKS * distance)
                                : null;
                new Thread(() -> write(f, map, distance)).start();
            }
            System.out.println("ready");
        }

        private static void write(FileChannel f, ByteBuffer map, int distance) {
            ByteBuffer b = ByteBuffer.allocateDirect(8);
            try {
                for (long n = 1; ; n++) {
                    for (int block = 0; block < BLOCKS; block++) {
                        if (map != null) {
                            map.putLong(block * distance, n);
                        } else {
                            b.clear();
                            f.write(b.putLong(0, n), block * distance);
                        }
                    }
                }
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        }
    }

    /** At one moment the numbers fall by one at one place at most. */
    private static void assertOneMoment(Path file, int distance) throws IOException {
        ByteBuffer b = ByteBuffer.wrap(Files.readAllBytes(file));
        if (b.limit() < (Blocks.BLOCKS - 1) * distance + 8) {
            // It was being written for the first time.
            return;
        }
        long first = b.getLong(0);
        long previous = first;
        for (int i = 1; i < Blocks.BLOCKS; i++) {
            long n = b.getLong(i * distance);
            assertTrue(
                    n == previous || n == first - 1 && previous == first,
                    file + ": " + first + ", " + previous + ", " + n + " in block " + i);
            previous = n;
        }
    }

    private static long sum(Path directory) throws IOException {
        long sum = 0;
        for (int i = 0; i < Blocks.THREADS; i++) {
            Path file = directory.resolve("f" + i);
            if (Files.exists(file) && Files.size(file) >= 8) {
                sum += ByteBuffer.wrap(Files.readAllBytes(file)).getLong(0);
            }
        }
        return sum;
    }

    private void blocksAtOneMoment(int distance, boolean mapped) throws Exception {
        Pin pin = tree.pin();
        assertEquals("ready", java(Blocks.class, tree.target, distance, mapped).readLine());
        Path below = below();
        try {
            for (int round = 0; round < ROUNDS; round++) {
                long before = sum(below);
                Await.until(
                        Duration.ofSeconds(20),
                        () -> sum(tree.path("")) > before,
                        () -> "the program does not write");
                checkpoint(pin);
                for (int i = 0; i < Blocks.THREADS; i++) {
                    assertOneMoment(below.resolve("f" + i), distance);
                }
                assertTrue(sum(below) > before, "it is what was there before");
            }
        } finally {
            Command.run("umount", disk.aside("below").toString());
        }
    }

    @Test
    void manyThreadsThatWrite() throws Exception {
        blocksAtOneMoment(4096, false);
    }

    /** Several threads of the daemon copy a file. */
    @Test
    void largeFiles() throws Exception {
        blocksAtOneMoment(50 * 4096, false);
    }

    @Test
    void manyThreadsThatWriteThroughMappings() throws Exception {
        blocksAtOneMoment(4096, true);
    }

    @Test
    void filesThatAreReplacedAllTheTime() throws Exception {
        // Two files are renamed into place in turn: they differ by one at most.
        Pin pin = tree.pin();
        String script =
                "cd "
                        + tree.target
                        + "; echo 0 > a; echo 0 > b; echo ready; i=0; while :; do i=$((i+1));"
                        + " echo $i > t; mv t a; echo $i > t; mv t b; done";
        assertEquals("ready", start("sh", "-c", script).readLine());
        Path below = below();
        try {
            for (int round = 0; round < ROUNDS; round++) {
                checkpoint(pin);
                int a = Integer.parseInt(Files.readString(below.resolve("a")).strip());
                int b = Integer.parseInt(Files.readString(below.resolve("b")).strip());
                assertTrue(a == b || a == b + 1, a + " " + b);
            }
        } finally {
            Command.run("umount", disk.aside("below").toString());
        }
    }

    @Test
    void aStormOfShortLivedWriters() throws Exception {
        // Each number is written by a process of its own, which stands somewhere else.
        Pin pin = tree.pin();
        String script =
                "cd /; echo ready; i=0; while :; do i=$((i+1)); sh -c \"echo $i >> "
                        + tree.target
                        + "/log; echo $i >> "
                        + tree.target
                        + "/twin\"; done";
        assertEquals("ready", start("sh", "-c", script).readLine());
        Path below = below();
        try {
            for (int round = 0; round < ROUNDS; round++) {
                checkpoint(pin);
                if (!Files.exists(below.resolve("twin"))) {
                    continue;
                }
                int log = Files.readAllLines(below.resolve("log")).size();
                int twin = Files.readAllLines(below.resolve("twin")).size();
                assertTrue(log == twin || log == twin + 1, log + " " + twin);
            }
        } finally {
            Command.run("umount", disk.aside("below").toString());
        }
    }

    /**
     * Moves directories that are on disk about, and new files in them, and looks now and then
     * whether all is there; says so if not.
     */
    static final class Renames {
        static final int DIRECTORIES = 6;
        private static final int BURST = 40;
        private static final int MOST = 20;

        private final Random random = new Random(1);
        private final Path target;
        private final List<Path> places = new ArrayList<>();
        private final List<Set<String>> files = new ArrayList<>();
        private long next;

        private Renames(Path target) {
            this.target = target;
            for (int i = 0; i < DIRECTORIES; i++) {
                places.add(target.resolve("d" + i));
                files.add(new TreeSet<>(List.of("name", "twin", "deep/file")));
            }
        }

        public static void main(String[] args) {
            try {
                Renames renames = new Renames(Path.of(args[0]));
                renames.burst();
                // There is something to write, however soon this is looked at and ended.
                System.out.println("ready");
                while (true) {
                    renames.burst();
                }
            } catch (IOException e) {
                System.out.println(e);
            }
        }

        private void burst() throws IOException {
            for (int i = 0; i < BURST; i++) {
                change(random.nextInt(DIRECTORIES));
            }
            for (int i = 0; i < DIRECTORIES; i++) {
                look(i);
            }
        }

        private void change(int i) throws IOException {
            Path place = places.get(i);
            switch (random.nextInt(5)) {
                case 0 -> move(i, target.resolve("r" + next++));
                case 1 -> {
                    Path into = places.get(random.nextInt(DIRECTORIES));
                    if (!into.startsWith(place)) {
                        move(i, into.resolve("r" + next++));
                    }
                }
                case 2 -> {
                    // The name that another one had.
                    Path former = target.resolve("d" + random.nextInt(DIRECTORIES));
                    if (!Files.exists(former)) {
                        move(i, former);
                    }
                }
                case 3 -> {
                    if (files.get(i).size() < MOST) {
                        String name = "n" + next++;
                        Files.writeString(place.resolve(name), name);
                        files.get(i).add(name);
                    }
                }
                default -> {
                    String name =
                            List.copyOf(files.get(i)).get(random.nextInt(files.get(i).size()));
                    if (name.startsWith("n") && !name.equals("name")) {
                        Files.delete(place.resolve(name));
                        files.get(i).remove(name);
                    }
                }
            }
        }

        private void move(int i, Path to) throws IOException {
            Path from = places.get(i);
            Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
            places.replaceAll(p -> p.startsWith(from) ? to.resolve(from.relativize(p)) : p);
        }

        private void look(int i) throws IOException {
            Path place = places.get(i);
            Set<String> found = list(place);
            if (!found.equals(files.get(i))
                    || !Files.readString(place.resolve("name")).equals("" + i)
                    || !Files.readString(place.resolve("deep/file")).equals("deep" + i)) {
                throw new IOException(place + " has " + found + ", not " + files.get(i));
            }
        }

        private Set<String> list(Path place) throws IOException {
            Set<String> found = new TreeSet<>();
            try (Stream<Path> names = Files.list(place)) {
                names.filter(n -> !places.contains(n))
                        .map(n -> n.getFileName().toString())
                        .map(n -> n.equals("deep") ? "deep/file" : n)
                        .forEach(found::add);
            }
            return found;
        }
    }

    @Test
    void directoriesThatAreRenamedAllTheTime() throws Exception {
        Map<Object, String> numbers = new HashMap<>();
        for (int i = 0; i < Renames.DIRECTORIES; i++) {
            Path d = Files.createDirectories(tree.path("d" + i + "/deep"));
            Files.writeString(d.resolve("file"), "deep" + i);
            Path name = Files.writeString(d.resolveSibling("name"), "" + i);
            Files.createLink(name.resolveSibling("twin"), name);
            numbers.put(Files.getAttribute(d.getParent(), "unix:ino"), "" + i);
        }
        Pin pin = tree.pin();
        BufferedReader out = java(Renames.class, tree.target);
        assertEquals("ready", out.readLine());
        for (int round = 0; round < 2 * ROUNDS; round++) {
            Await.until(
                    Duration.ofSeconds(20),
                    () -> sync.checkpoint(pin, LONG).consistent(),
                    () -> "no moment of rest");
            assertFalse(out.ready(), () -> "the program sees: " + read(out));
        }
        Command.run("kill", "-KILL", "--", "-" + groups.remove(0));
        assertNull(out.readLine());
        assertTrue(sync.checkpoint(pin).consistent());
        Snapshot model = tree.snapshot();
        assertEquals(List.of(), model.differences(tree.afterPowerCut(reports::add)));
        // They were moved on disk, not copied.
        try (Stream<Path> all = Files.walk(tree.path(""))) {
            for (Path name : all.filter(p -> p.endsWith("name")).toList()) {
                Object number = Files.getAttribute(name.getParent(), "unix:ino");
                assertEquals(Files.readString(name), numbers.remove(number), name::toString);
            }
        }
        assertEquals(Map.of(), numbers);
    }

    private static String read(BufferedReader out) {
        try {
            return out.readLine();
        } catch (IOException e) {
            return e.toString();
        }
    }

    @Test
    void aProgramThatIsBeingDebuggedIsNamed() throws Exception {
        Pin pin = tree.pin();
        assertEquals("ready", java(Blocks.class, tree.target, 4096, false).readLine());
        // The debugger lets it run.
        Process debugger =
                new ProcessBuilder(
                                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                                "-cp",
                                System.getProperty("java.class.path"),
                                Debugger.class.getName(),
                                "" + groups.get(0))
                        .start();
        try {
            assertEquals("ready", debugger.inputReader().readLine());
            // Held by the debugger it would be at rest: nothing to hold, nothing to wait for.
            checkpoint(pin);
        } finally {
            debugger.destroyForcibly().waitFor();
        }
        assertTrue(sync.checkpoint(pin, LONG).consistent());
    }

    /** Holds a process until it is killed. */
    static final class Debugger {
        public static void main(String[] args) throws Exception {
            Freeze freeze = Freeze.of(Set.of(Integer.parseInt(args[0])), Duration.ofHours(1));
            System.out.println(freeze.held() ? "ready" : "over");
            Thread.sleep(Long.MAX_VALUE);
        }
    }

    @Test
    void withoutAFreezeItIsNotAtRest() throws Exception {
        Pin pin = tree.pin();
        assertEquals("ready", java(Blocks.class, tree.target, 4096, false).readLine());
        // On a busy machine the program may not get a processor for as long as a copy takes.
        Await.until(
                Duration.ofSeconds(30),
                () -> {
                    Result result = sync.checkpoint(pin);
                    assertEquals(Duration.ZERO, result.held());
                    return !result.consistent();
                },
                () -> "every checkpoint found rest");
    }
}
