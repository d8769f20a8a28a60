package io.rampipe.itests;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.locks.LockSupport;

/** Programs that append to files all the time, and a model of what they have written. */
final class Load implements AutoCloseable {
    private static final long PAUSE_NANOS = 10_000_000L;

    private final Map<Path, StringBuffer> model = new ConcurrentHashMap<>();
    private final List<Path> files = new CopyOnWriteArrayList<>();
    private final Thread writer = new Thread(this::write, "load");
    private volatile boolean stopped;
    private volatile IOException failure;

    Load() {
        writer.setDaemon(true);
        writer.start();
    }

    /** From now on this file is written to. */
    void add(Path file) throws IOException {
        Files.createDirectories(file.getParent());
        files.add(file);
    }

    /** This file is left alone from now on; what was written to it counts. */
    void remove(Path file) {
        files.remove(file);
    }

    private void write() {
        try {
            for (int n = 0; !stopped; n++) {
                for (Path file : files) {
                    String line = "line " + n + "\n";
                    // Opened each time, as most programs do that are worth a pin.
                    Files.write(
                            file,
                            line.getBytes(StandardCharsets.US_ASCII),
                            StandardOpenOption.CREATE,
                            StandardOpenOption.APPEND);
                    model.computeIfAbsent(file, f -> new StringBuffer()).append(line);
                }
                LockSupport.parkNanos(PAUSE_NANOS);
            }
        } catch (IOException e) {
            failure = e;
        }
    }

    /** Fails if a program got an error. */
    void check() {
        if (failure != null) {
            throw new AssertionError("a program got an error", failure);
        }
    }

    /** Ends the programs. */
    void end() throws InterruptedException {
        stopped = true;
        LockSupport.unpark(writer);
        writer.join();
        check();
    }

    /** Paths whose content is not what was written, each with a word why. */
    List<String> differences() throws IOException {
        List<String> all = new CopyOnWriteArrayList<>();
        for (Map.Entry<Path, StringBuffer> e : model.entrySet()) {
            String there =
                    Files.exists(e.getKey())
                            ? Files.readString(e.getKey(), StandardCharsets.US_ASCII)
                            : "";
            String expected = e.getValue().toString();
            if (!there.equals(expected)) {
                all.add(
                        e.getKey()
                                + " has "
                                + there.length()
                                + " of "
                                + expected.length()
                                + " bytes");
            }
        }
        return all;
    }

    @Override
    public void close() {
        stopped = true;
    }
}
