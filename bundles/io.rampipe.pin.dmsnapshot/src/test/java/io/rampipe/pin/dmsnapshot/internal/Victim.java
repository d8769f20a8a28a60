package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.PathPatterns;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy.PinRequest;
import io.rampipe.api.RefusedException;
import io.rampipe.api.SyncBack;
import io.rampipe.api.SyncBack.Allowance;
import io.rampipe.api.Target;
import io.rampipe.sync.journal.internal.Cut;
import java.io.IOException;
import java.io.Reader;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;

/** A daemon that dies: a process that pins, checkpoints or unpins, and ends at some step. */
final class Victim {
    /** Exit status if it came to the end. */
    static final int DONE = 7;

    /** Exit status if it was not done, and all is as before. */
    static final int REFUSED = 8;

    private Victim() {}

    /**
     * @param arguments what to do, the file, the pin's directory in the pool, where the record is,
     *     the step to die at
     */
    public static void main(String[] arguments) throws Exception {
        try {
            run(arguments);
        } catch (RefusedException e) {
            System.out.println("refused: " + e.getMessage());
            System.out.flush();
            Runtime.getRuntime().halt(REFUSED);
        }
        Runtime.getRuntime().halt(DONE);
    }

    private static void run(String[] arguments) throws IOException {
        Path file = Path.of(arguments[1]);
        Path directory = Path.of(arguments[2]);
        Path record = Path.of(arguments[3]);
        int step = Integer.parseInt(arguments[4]);
        SnapshotStrategy strategy =
                new SnapshotStrategy(
                        new Eligibility(
                                0, 4 << 20, Long.MAX_VALUE, new PathPatterns(List.of("*.img"))),
                        Clock.systemUTC());
        AtomicInteger written = new AtomicInteger();
        switch (arguments[0]) {
            case "pin":
                strategy.pin(
                        new PinRequest(
                                directory.getFileName().toString(),
                                Target.file(FilePath.of(file.toString())),
                                List.of(),
                                FilePath.of(directory.toString()),
                                Long.MAX_VALUE),
                        pin -> {
                            save(pin, record);
                            if (written.incrementAndGet() == step) {
                                System.out.println("cut at " + pin.step());
                                System.out.flush();
                                Runtime.getRuntime().halt(9);
                            }
                        });
                break;
            case "checkpoint":
                Cut.at(step)
                        .checkpoint(load(record), new Allowance(Duration.ofSeconds(1), 64 << 20));
                break;
            default:
                unpin(strategy, Cut.at(step), load(record), record);
        }
    }

    private static void unpin(SnapshotStrategy strategy, SyncBack sync, Pin pin, Path record)
            throws IOException {
        try (SyncBack.Last last = sync.begin(pin)) {
            Pin next = pin.at(Pin.Step.UNMOUNTING);
            save(next, record);
            strategy.unmount(next);
            last.finish();
            save(next.at(Pin.Step.DISCARDING), record);
        }
        strategy.discard(pin.at(Pin.Step.DISCARDING));
    }

    static void save(Pin pin, Path record) throws IOException {
        Properties p = new Properties();
        p.setProperty("id", pin.id());
        p.setProperty("target", pin.target().path().raw());
        p.setProperty("strategy", pin.strategy());
        p.setProperty("sync", pin.sync());
        p.setProperty("format", pin.format());
        p.setProperty("step", pin.step().name());
        pin.attributes().forEach((k, v) -> p.setProperty("attribute " + k, v));
        Path fresh = record.resolveSibling(record.getFileName() + ".new");
        try (Writer out = Files.newBufferedWriter(fresh, StandardCharsets.ISO_8859_1)) {
            p.store(out, null);
        }
        Files.move(fresh, record, StandardCopyOption.ATOMIC_MOVE);
    }

    static Pin load(Path record) throws IOException {
        Properties p = new Properties();
        try (Reader in = Files.newBufferedReader(record, StandardCharsets.ISO_8859_1)) {
            p.load(in);
        }
        Map<String, String> attributes = new TreeMap<>();
        for (String key : p.stringPropertyNames()) {
            if (key.startsWith("attribute ")) {
                attributes.put(key.substring("attribute ".length()), p.getProperty(key));
            }
        }
        return new Pin(
                p.getProperty("id"),
                Target.file(FilePath.ofRaw(p.getProperty("target"))),
                p.getProperty("strategy"),
                p.getProperty("sync"),
                p.getProperty("format"),
                Pin.Step.valueOf(p.getProperty("step")),
                Instant.EPOCH,
                attributes);
    }
}
