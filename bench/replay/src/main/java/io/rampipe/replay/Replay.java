package io.rampipe.replay;

import io.rampipe.api.Access;
import io.rampipe.api.RateEstimator;
import io.rampipe.api.Units;
import io.rampipe.tck.Defaults;
import java.io.IOException;
import java.lang.reflect.Constructor;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Supplier;
import java.util.stream.Stream;

/** Replays traces to the rate estimators, and prints how each does, as tables in Markdown. */
public final class Replay {
    private static final String USAGE =
            """
            Usage: bench/replay/run [--settings] [TRACE]...

            Replays each trace (those in bench/replay/traces, if none is named) to every rate
            estimator with every RAM budget, and prints tables:
              CAPTURED  share of the writes that went to RAM; BOUND: what nobody can exceed
              PINS      pinned + unpinned, while the trace ran
              DELAY     median of seconds from the first access to the pin
            and for each estimator its memory, and nanoseconds for each access that it counts.

              --settings  other half-lives, windows and thresholds than the defaults, too
            """;

    private static final long[] BUDGETS = {1L << 20, 8L << 20, 64L << 20, 1L << 30};
    private static final long MEASURE_NANOS = 300_000_000L;

    private Replay() {}

    public static void main(String[] args) throws Exception {
        boolean settings = false;
        List<Path> files = new ArrayList<>();
        for (String arg : args) {
            switch (arg) {
                case "--help" -> {
                    System.out.print(USAGE);
                    return;
                }
                case "--settings" -> settings = true;
                default -> files.add(Path.of(arg));
            }
        }
        if (files.isEmpty()) {
            try (Stream<Path> all = Files.list(Path.of("bench/replay/traces"))) {
                all.filter(f -> f.toString().endsWith(".rptrace")).sorted().forEach(files::add);
            }
        }
        Map<String, Trace> traces = new LinkedHashMap<>();
        try {
            for (Path file : files) {
                traces.put(file.getFileName().toString().replace(".rptrace", ""), Trace.read(file));
            }
        } catch (IOException e) {
            System.err.println("replay: " + e.getMessage());
            System.exit(1);
        }
        Map<String, Supplier<RateEstimator>> estimators = new LinkedHashMap<>();
        for (String name : List.of("ema", "window", "sketch")) {
            estimators.put(name, () -> make(name, Map.of()));
        }
        traces(traces);
        captured(traces, estimators);
        costs(traces, estimators);
        if (settings) {
            settings(traces);
        }
    }

    /** An estimator as its bundle would make it. */
    static RateEstimator make(String name, Map<String, Object> config) {
        try {
            String type = Character.toUpperCase(name.charAt(0)) + name.substring(1);
            Class<?> component =
                    Class.forName(
                            "io.rampipe.rate." + name + ".internal." + type + "RateEstimator");
            Constructor<?> constructor = component.getConstructors()[0];
            return (RateEstimator)
                    constructor.newInstance(
                            Defaults.of(constructor.getParameterTypes()[0], config));
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("no estimator " + name, e);
        }
    }

    private static void traces(Map<String, Trace> traces) {
        print("| trace | seconds | events | writes | files | directories | bytes of files |");
        print("|---|---|---|---|---|---|---|");
        traces.forEach(
                (name, t) -> {
                    long writes = 0;
                    for (int i = 0; i < t.events; i++) {
                        writes += (t.eventKinds[i] & Access.WRITE) != 0 ? 1 : 0;
                    }
                    long[] size = new long[t.files];
                    long bytes = 0;
                    for (int i = 0; i < t.sizes; i++) {
                        bytes += Math.max(0, t.sizeBytes[i] - size[t.sizeFile[i]]);
                        size[t.sizeFile[i]] = Math.max(size[t.sizeFile[i]], t.sizeBytes[i]);
                    }
                    print(
                            "| %s | %d | %,d | %,d | %,d | %,d | %s |",
                            name,
                            t.millis / 1000,
                            t.events,
                            writes,
                            t.files,
                            t.directories,
                            Units.bytes(bytes));
                });
        print("");
    }

    private static void captured(
            Map<String, Trace> traces, Map<String, Supplier<RateEstimator>> estimators) {
        StringBuilder head = new StringBuilder("| trace | RAM | bound |");
        StringBuilder line = new StringBuilder("|---|---|---|");
        for (String name : estimators.keySet()) {
            head.append(" ").append(name).append(": captured | pins | delay |");
            line.append("---|---|---|");
        }
        print(head.toString());
        print(line.toString());
        traces.forEach(
                (name, trace) -> {
                    for (long budget : BUDGETS) {
                        StringBuilder row = new StringBuilder();
                        row.append(
                                String.format(
                                        Locale.ROOT,
                                        "| %s | %s | %.0f %% |",
                                        name,
                                        Units.bytes(budget),
                                        100 * Clairvoyant.captured(trace, budget)));
                        for (Supplier<RateEstimator> estimator : estimators.values()) {
                            Simulation.Result r =
                                    Simulation.run(trace, estimator.get(), Policy.DEFAULT, budget);
                            row.append(
                                    String.format(
                                            Locale.ROOT,
                                            " %.0f %% | %d + %d | %.0f s |",
                                            100 * r.captured(),
                                            r.pins(),
                                            r.unpins(),
                                            r.timeToPin()));
                        }
                        print(row.toString().replace("NaN s", "–"));
                    }
                });
        print("");
    }

    private static void costs(
            Map<String, Trace> traces, Map<String, Supplier<RateEstimator>> estimators) {
        print("| trace | " + String.join(" | ", estimators.keySet()) + " |");
        print("|---|" + "---|".repeat(estimators.size()));
        traces.forEach(
                (name, trace) -> {
                    StringBuilder row = new StringBuilder("| ").append(name).append(" |");
                    for (Supplier<RateEstimator> estimator : estimators.values()) {
                        RateEstimator each = estimator.get();
                        double nanos = nanos(trace, each);
                        row.append(
                                String.format(
                                        Locale.ROOT,
                                        " %.0f ns, %s |",
                                        nanos,
                                        Units.bytes(each.memory())));
                    }
                    print(row.toString());
                });
        print("");
    }

    /** The trace again and again; the fastest of three measurements, for each add. */
    private static double nanos(Trace trace, RateEstimator estimator) {
        double best = Double.MAX_VALUE;
        long time = System.nanoTime();
        for (int i = 0; i < 3; i++) {
            long adds = 0;
            long start = System.nanoTime();
            long spent;
            do {
                for (int t = 0; t < trace.ticks; t++) {
                    long now = time + trace.tickMillis[t] * 1_000_000;
                    for (int e = trace.tickEvents[t]; e < trace.tickEvents[t + 1]; e++) {
                        int file = trace.eventFile[e];
                        int directory = trace.directoryOf[file];
                        estimator.add(Simulation.directoryKey(directory), 1, now);
                        estimator.add(Simulation.fileKey(file), 1, now);
                        adds += 2;
                    }
                }
                time += (trace.millis + 1000) * 1_000_000;
                spent = System.nanoTime() - start;
            } while (spent < MEASURE_NANOS);
            best = Math.min(best, (double) spent / adds);
        }
        return best;
    }

    private static void settings(Map<String, Trace> traces) {
        List<Policy> policies = new ArrayList<>();
        for (double pin : new double[] {0.5, 1, 2, 4, 8}) {
            policies.add(new Policy(pin, Policy.DEFAULT.unpinRate(), Policy.DEFAULT.minTime()));
        }
        Map<String, Supplier<RateEstimator>> variants = new LinkedHashMap<>();
        for (String halfLife : List.of("10s", "30s", "60s", "120s")) {
            variants.put("ema " + halfLife, () -> make("ema", Map.of("rate_half__life", halfLife)));
        }
        for (String length : List.of("30s", "60s", "120s")) {
            variants.put("window " + length, () -> make("window", Map.of("window_length", length)));
        }
        print("| estimator | pin.rate | " + String.join(" | ", traces.keySet()) + " | mean |");
        print("|---|---|" + "---|".repeat(traces.size() + 1));
        variants.forEach(
                (name, make) -> {
                    for (Policy policy : policies) {
                        StringBuilder row =
                                new StringBuilder(
                                        String.format(
                                                Locale.ROOT,
                                                "| %s | %.1f |",
                                                name,
                                                policy.pinRate()));
                        double sum = 0;
                        int churn = 0;
                        for (Trace trace : traces.values()) {
                            Simulation.Result r =
                                    Simulation.run(trace, make.get(), policy, 64L << 20);
                            sum += r.captured();
                            churn += r.pins() + r.unpins();
                            row.append(
                                    String.format(
                                            Locale.ROOT,
                                            " %.0f %%, %d |",
                                            100 * r.captured(),
                                            r.pins() + r.unpins()));
                        }
                        row.append(
                                String.format(
                                        Locale.ROOT,
                                        " %.0f %%, %d |",
                                        100 * sum / traces.size(),
                                        churn));
                        print(row.toString());
                    }
                });
    }

    private static void print(String format, Object... args) {
        System.out.println(args.length == 0 ? format : String.format(Locale.ROOT, format, args));
    }
}
