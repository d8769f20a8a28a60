package io.rampipe.shell.internal;

import io.rampipe.api.Printable;
import io.rampipe.api.RamPipe;
import io.rampipe.api.RamPipe.StrategyStatus;
import io.rampipe.api.Settings;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Puts a strategy into use: in the configuration file, and so in the engine. */
final class Use {
    /** The configuration's key for each kind. */
    static final Map<String, String> KEYS =
            Map.of(
                    "source", "source.use",
                    "rate", "rate.use",
                    "pin", "strategy.order",
                    "sync", "sync.order");

    private static final String AUTO = "auto";

    private static final long PATIENCE_NANOS = TimeUnit.SECONDS.toNanos(10);
    private static final long PAUSE_NANOS = TimeUnit.MILLISECONDS.toNanos(10);

    private final RamPipe engine;
    private final Settings settings;
    private final String kind;
    private final String name;

    Use(RamPipe engine, Settings settings, String kind, String name) {
        this.engine = engine;
        this.settings = settings;
        this.kind = kind;
        this.name = name;
    }

    /** Returns the key's value once it is in force. */
    String apply() throws IOException, CommandFailed {
        check();
        String value = value();
        settings.set(KEYS.get(kind), value);
        long end = System.nanoTime() + PATIENCE_NANOS;
        while (!inForce()) {
            if (System.nanoTime() - end >= 0) {
                throw new CommandFailed(
                        KEYS.get(kind)
                                + " = "
                                + value
                                + " is in the configuration file now, but the engine has not taken it"
                                + " over: see rampipe status and the log");
            }
            LockSupport.parkNanos(this, PAUSE_NANOS);
        }
        return value;
    }

    private void check() throws CommandFailed {
        if (kind.equals("source") && name.equals(AUTO)) {
            return;
        }
        List<StrategyStatus> all =
                engine.strategies().stream().filter(s -> s.kind().equals(kind)).toList();
        List<StrategyStatus> named = all.stream().filter(s -> s.name().equals(name)).toList();
        if (named.stream().anyMatch(s -> s.state().equals("active"))) {
            return;
        }
        if (named.isEmpty()) {
            throw new CommandFailed(
                    "there is no "
                            + kind
                            + " strategy "
                            + Printable.of(name)
                            + "; there are "
                            + all.stream()
                                    .map(StrategyStatus::name)
                                    .distinct()
                                    .collect(Collectors.joining(", ")));
        }
        StrategyStatus first = named.get(0);
        throw new CommandFailed(
                kind
                        + " strategy "
                        + name
                        + " is "
                        + first.state()
                        + (first.note().isEmpty() ? "" : ": " + Printable.of(first.note())));
    }

    /** Of a kind with an order it comes first, and the others stay as they are. */
    private String value() {
        if (kind.equals("source") || kind.equals("rate")) {
            return name;
        }
        return Stream.concat(Stream.of(name), order().filter(n -> !n.equals(name)))
                .collect(Collectors.joining(", "));
    }

    private Stream<String> order() {
        return settings.settings().stream()
                .filter(s -> s.key().equals(KEYS.get(kind)))
                .flatMap(s -> Arrays.stream(s.value().split(",")))
                .map(String::strip)
                .filter(n -> !n.isEmpty());
    }

    private boolean inForce() {
        // With nothing to watch it uses no source, whatever the configuration says.
        boolean idle = kind.equals("source") && engine.status().state().equals("idle");
        return idle
                || engine.strategies().stream()
                        .filter(s -> s.kind().equals(kind) && s.inUse())
                        .findFirst()
                        .filter(s -> s.name().equals(name) || name.equals(AUTO))
                        .isPresent();
    }

    String done() {
        return switch (kind) {
            case "pin" ->
                    name
                            + " is asked first from now on; each pin stays with the strategy that made"
                            + " it (rampipe migrate moves one).";
            case "sync" ->
                    name
                            + " writes what is pinned from now on, where it can; each pin stays with the"
                            + " syncback that it has.";
            default -> kind + " " + name + " is in use now.";
        };
    }
}
