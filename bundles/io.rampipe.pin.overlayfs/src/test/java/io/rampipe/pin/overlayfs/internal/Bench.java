package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.Refusal;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
import io.rampipe.pin.FileSystems;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.ScratchDisk;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;

/** A disk, a thin pool, and a strategy to work on them; all gone when closed. */
final class Bench implements AutoCloseable {
    static final long ROOM = 16L << 20;
    private static final Duration LIMIT = Duration.ofSeconds(20);

    /** No two pins of this virtual machine have the same. */
    private static final AtomicInteger ID = new AtomicInteger();

    final ScratchDisk disk;
    final Path pool;
    final List<Pin> journal = new ArrayList<>();
    private final List<Process> helpers = new ArrayList<>();
    OverlayStrategy strategy = strategy(Config.DEFAULT_MAX_FILES);

    Bench() throws IOException {
        this("size=32m");
    }

    Bench(String poolOptions) throws IOException {
        disk = ScratchDisk.ext4(64);
        pool = disk.aside("pool");
        Command.run("mount", "-t", "tmpfs", "-o", poolOptions, "pool", pool.toString());
    }

    static OverlayStrategy strategy(int maxFiles) {
        return new OverlayStrategy(
                new Eligibility(new FileSystems(false, false), maxFiles), Clock.systemUTC());
    }

    /** A directory target with some files. */
    Path directory(String name) throws IOException {
        Path dir = Files.createDirectories(disk.root().resolve(name));
        Files.writeString(dir.resolve("a"), "alpha\n");
        Files.writeString(dir.resolve("b"), "beta\n");
        Files.createDirectories(dir.resolve("sub/deep"));
        Files.writeString(dir.resolve("sub/c"), "gamma\n");
        return dir;
    }

    static FilePath path(Path path) {
        return FilePath.of(path.toString());
    }

    Pin pin(Path directory, String... hot) throws IOException {
        return pin(Target.directory(path(directory)), hot);
    }

    Pin pinFile(Path file) throws IOException {
        return pin(Target.file(path(file)));
    }

    Pin pin(Target target, String... hot) throws IOException {
        return pin(target, ROOM, hot);
    }

    Pin pin(Target target, long room, String... hot) throws IOException {
        String id = ID.incrementAndGet() + "t";
        Path home = Files.createDirectory(pool.resolve(id));
        try {
            return strategy.pin(
                    new PinStrategy.PinRequest(
                            id,
                            target,
                            Arrays.stream(hot).map(FilePath::of).toList(),
                            path(home),
                            room),
                    journal::add);
        } catch (RefusedException e) {
            try (Stream<Path> left = Files.list(home)) {
                if (left.findAny().isPresent()) {
                    throw new AssertionError("refused, but the pool is not empty", e);
                }
            }
            throw e;
        }
    }

    /** Fails unless pinning is refused for that cause; returns the message. */
    String refused(Target target, Refusal.Cause cause, String... hot) throws IOException {
        try {
            Pin pin = pin(target, hot);
            throw new AssertionError("not refused: " + pin);
        } catch (RefusedException e) {
            if (e.refusal().cause() != cause) {
                throw new AssertionError("refused for another cause: " + e.refusal(), e);
            }
            if (cause != Refusal.Cause.IN_USE
                    && cause != Refusal.Cause.OCCUPIED
                    && cause != Refusal.Cause.NO_ROOM) {
                examineRefuses(target, e.getMessage());
            }
            return e.getMessage();
        }
    }

    /** What can be known by looking is told by looking. */
    private void examineRefuses(Target target, String message) throws IOException {
        try {
            strategy.examine(target, List.of());
            throw new AssertionError("examine does not refuse: " + message);
        } catch (RefusedException e) {
            if (!message.equals(e.getMessage())) {
                throw new AssertionError("examine refuses with " + e.getMessage(), e);
            }
        }
    }

    String refused(Path directory, Refusal.Cause cause) throws IOException {
        return refused(Target.directory(path(directory)), cause);
    }

    /** Starts a program and waits until it has printed {@code ready}. */
    Process helper(Path directory, String... command) throws Exception {
        Process process =
                new ProcessBuilder(command)
                        .directory(directory.toFile())
                        .redirectErrorStream(true)
                        .start();
        helpers.add(process);
        BufferedReader out = process.inputReader();
        StringBuilder said = new StringBuilder();
        Await.until(
                LIMIT,
                () -> {
                    while (out.ready()) {
                        said.append((char) out.read());
                    }
                    return said.toString().contains("ready");
                },
                () -> String.join(" ", command) + " says: " + said);
        return process;
    }

    /** A perl program that prints ready by itself and then waits. */
    Process perl(Path directory, String script, String... args) throws Exception {
        List<String> command =
                new ArrayList<>(
                        List.of("perl", "-e", "$|=1;" + script + ";print 'ready';sleep 60"));
        command.addAll(List.of(args));
        return helper(directory, command.toArray(new String[0]));
    }

    static void end(Process process) throws IOException {
        process.destroyForcibly();
        try {
            process.waitFor();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", e);
        }
    }

    /** What mountinfo has of this bench's pins. */
    static long mounts() throws IOException {
        try (Stream<String> lines =
                Files.lines(Path.of("/proc/self/mountinfo"), StandardCharsets.ISO_8859_1)) {
            return lines.filter(l -> l.contains(" rampipe:")).count();
        }
    }

    static int descriptors() {
        return new File("/proc/self/fd").list().length;
    }

    @Override
    public void close() throws IOException {
        for (Process helper : helpers) {
            end(helper);
        }
        disk.close();
    }
}
