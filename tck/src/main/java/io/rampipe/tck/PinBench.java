package io.rampipe.tck;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.PinStrategy.PinRequest;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.ScratchDisk;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;

/**
 * A disk with a target on it, a thin pool, and a journal: what the engine gives to a pin strategy.
 * The target is a directory with a few files, or one of these files; programs use {@link #file} in
 * either case. Gone when closed, with all that is mounted.
 */
public final class PinBench implements AutoCloseable {
    /** Bytes of {@link #file} at first: a whole number of pages, and a bit. */
    public static final int SIZE = 300_001;

    private static final long ROOM = 64L << 20;
    private static final Duration LIMIT = Duration.ofSeconds(30);

    /** No two pins of this virtual machine have the same. */
    private static final AtomicInteger ID = new AtomicInteger();

    private final ScratchDisk disk;
    private final Path pool;
    private final Target target;
    private final Path file;
    private final List<Pin> journal = new ArrayList<>();

    /**
     * @param kind of target
     */
    public PinBench(Target.Kind kind) throws IOException {
        disk = ScratchDisk.ext4(96);
        pool = disk.aside("pool");
        Command.run("mount", "-t", "tmpfs", "-o", "size=128m,mode=0700", "pool", pool.toString());
        Path directory = Files.createDirectories(disk.root().resolve("home/target"));
        file = directory.resolve("data");
        Files.write(file, content(0));
        if (kind == Target.Kind.DIRECTORY) {
            Files.writeString(directory.resolve("other"), "other\n");
            Files.createDirectories(directory.resolve("sub"));
            Files.writeString(directory.resolve("sub/more"), "more\n");
        }
        target =
                kind == Target.Kind.DIRECTORY
                        ? Target.directory(FilePath.of(directory.toString()))
                        : Target.file(FilePath.of(file.toString()));
    }

    private static byte[] content(int n) {
        byte[] all = new byte[SIZE];
        byte[] line = ("version " + n + "\n").getBytes(StandardCharsets.US_ASCII);
        for (int i = 0; i < all.length; i++) {
            all[i] = line[i % line.length];
        }
        return all;
    }

    public Target target() {
        return target;
    }

    /** A file that programs use; its path leads to the pin once there is one. */
    public Path file() {
        return file;
    }

    /** Whether the file on disk, past whatever is pinned, has what {@link #write} wrote. */
    public boolean onDisk(int n) throws IOException {
        // A bind mount shows what is below the mounts. Only for now: what can be reached by another
        // way is not pinned.
        Path below = disk.aside("below");
        Command.run("mount", "--bind", disk.root().toString(), below.toString());
        try {
            return has(below.resolve(disk.root().relativize(file)), n);
        } finally {
            Command.run("umount", below.toString());
        }
    }

    /** The records written, in their order. */
    public List<Pin> journal() {
        return journal;
    }

    public FilePath pool() {
        return FilePath.of(pool.toString());
    }

    /** Directories that a syncback recovers. */
    public List<FilePath> watched() {
        return List.of(FilePath.of(disk.root().toString()));
    }

    /** A request with a fresh part of the pool. */
    public PinRequest request() throws IOException {
        String id = "tck" + ID.incrementAndGet();
        Path part = Files.createDirectory(pool.resolve(id));
        List<FilePath> hot =
                target.kind() == Target.Kind.DIRECTORY ? List.of(FilePath.of("data")) : List.of();
        return new PinRequest(id, target, hot, FilePath.of(part.toString()), ROOM);
    }

    /** Pins the target, as the engine does. */
    public Pin pin(PinStrategy strategy) throws IOException {
        return pin(strategy, journal::add);
    }

    /** The same: again for a while, if it is refused for a cause that may pass any moment. */
    public Pin pin(PinStrategy strategy, PinStrategy.PinJournal records) throws IOException {
        long end = System.nanoTime() + LIMIT.toNanos();
        while (true) {
            journal.clear();
            try {
                return strategy.pin(request(), records);
            } catch (RefusedException e) {
                boolean passing =
                        switch (e.refusal().cause()) {
                            case IN_USE, OCCUPIED, CHANGED -> true;
                            default -> false;
                        };
                if (!passing || System.nanoTime() - end > 0) {
                    throw e;
                }
            }
        }
    }

    /** Whether nothing is left in a pin's part of the pool. */
    public boolean empty(Pin pin) throws IOException {
        try (Stream<Path> all = Files.list(pool.resolve(pin.id()))) {
            return all.findAny().isEmpty();
        }
    }

    /** Rewrites the whole file in place. */
    public void write(int n) throws IOException {
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            f.write(content(n));
        }
    }

    /** Whether a file has what {@link #write} wrote; 0 is what it had at first. */
    public static boolean has(Path file, int n) throws IOException {
        return java.util.Arrays.equals(content(n), Files.readAllBytes(file));
    }

    /** A program that has the file open for writing until it is closed. */
    public User user() throws Exception {
        Process program =
                new ProcessBuilder(
                                "/bin/sh",
                                "-c",
                                "exec 3>>\"$0\"; echo ready; exec cat",
                                file.toString())
                        .redirectErrorStream(true)
                        .start();
        StringBuilder said = new StringBuilder();
        Await.until(
                LIMIT,
                () -> {
                    while (program.inputReader().ready()) {
                        said.append((char) program.inputReader().read());
                    }
                    return said.toString().contains("ready");
                },
                () -> "the program says: " + said);
        return new User(program);
    }

    /** A program at work. */
    public static final class User implements AutoCloseable {
        private final Process program;

        private User(Process program) {
            this.program = program;
        }

        public boolean alive() {
            return program.isAlive();
        }

        @Override
        public void close() throws IOException {
            program.getOutputStream().close();
            try {
                program.waitFor();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IOException("interrupted", e);
            }
        }
    }

    /** What is mounted at the target or in the pool: lines of mountinfo. */
    public List<String> mounts() throws IOException {
        return Files.readAllLines(Path.of("/proc/self/mountinfo"), StandardCharsets.ISO_8859_1)
                .stream()
                .filter(
                        line -> {
                            String point = line.split(" ")[4];
                            return point.startsWith(target.path().toString())
                                    || point.startsWith(pool + "/");
                        })
                .toList();
    }

    @Override
    public void close() {
        disk.close();
    }
}
