package io.rampipe.engine.internal;

import io.rampipe.api.Access;
import io.rampipe.api.FilePath;
import io.rampipe.api.PathPatterns;
import io.rampipe.api.Units;
import java.util.Arrays;
import java.util.List;

/**
 * {@link EngineConfig} in numbers: immutable, one snapshot a decision. Times are in nanoseconds.
 *
 * @param observing the directories are watched, and nothing in them is pinned
 */
record Settings(
        List<FilePath> directories,
        boolean observing,
        PathPatterns include,
        PathPatterns exclude,
        long tick,
        double[] weights,
        double pinRate,
        double unpinRate,
        long minTime,
        boolean warmStart,
        long warmTime,
        long poolSize,
        double reserve,
        double highWater,
        long memoryReserve,
        double memoryPressure,
        Intervals checkpointIntervals,
        long checkpointFreeze,
        long stopTimeout,
        long strategyTimeout,
        String source,
        String rate,
        List<String> strategies,
        List<String> syncs) {

    private static final String AUTO = "auto";
    private static final long DEFAULT_POOL = 1L << 30;
    private static final long SMALLEST_POOL = 1L << 20;

    /**
     * @param memoryTotal of the machine, in bytes
     * @throws IllegalArgumentException naming key, value and what is allowed
     */
    static Settings of(EngineConfig c, long memoryTotal) {
        if (!(c.unpin_rate() < c.pin_rate())) {
            throw new IllegalArgumentException(
                    "unpin.rate = " + c.unpin_rate() + " must be below pin.rate = " + c.pin_rate());
        }
        long pool = size("pool.size", c.pool_size(), Math.min(DEFAULT_POOL, memoryTotal / 4));
        if (pool < SMALLEST_POOL || pool > memoryTotal) {
            throw new IllegalArgumentException(
                    "pool.size = "
                            + c.pool_size()
                            + " must be between 1M and the machine's memory of "
                            + Units.bytes(memoryTotal));
        }
        List<FilePath> watched = directories("watch.directories", c.watch_directories());
        List<FilePath> observed = directories("observe.directories", c.observe_directories());
        return new Settings(
                watched.isEmpty() ? observed : watched,
                watched.isEmpty(),
                new PathPatterns(texts(c.watch_include())),
                new PathPatterns(texts(c.watch_exclude())),
                time("watch.tick", c.watch_tick()),
                weights(c),
                c.pin_rate(),
                c.unpin_rate(),
                time("pin.min_time", c.pin_min__time()),
                c.warm_start(),
                time("warm.time", c.warm_time()),
                pool,
                c.pool_reserve() / 100.0,
                c.pool_high__water() / 100.0,
                size("memory.reserve", c.memory_reserve(), memoryTotal / 10),
                c.memory_pressure(),
                Intervals.of(
                        texts(c.checkpoint_intervals()),
                        time("checkpoint.interval", c.checkpoint_interval())),
                time("checkpoint.freeze", c.checkpoint_freeze()),
                time("stop.timeout", c.stop_timeout()),
                time("strategy.timeout", c.strategy_timeout()),
                c.source_use().strip(),
                c.rate_use().strip(),
                texts(c.strategy_order()),
                texts(c.sync_order()));
    }

    private static List<FilePath> directories(String key, String[] values) {
        List<FilePath> directories = texts(values).stream().map(FilePath::of).toList();
        for (FilePath d : directories) {
            if (!d.isAbsolute()) {
                throw new IllegalArgumentException(key + ": '" + d + "' must begin with /");
            }
        }
        return directories;
    }

    private static List<String> texts(String[] values) {
        return values == null
                ? List.of()
                : Arrays.stream(values).map(String::strip).filter(s -> !s.isEmpty()).toList();
    }

    private static long size(String key, String text, long auto) {
        if (text.strip().equalsIgnoreCase(AUTO)) {
            return auto;
        }
        try {
            return Units.bytes(text);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(key + ": " + e.getMessage(), e);
        }
    }

    private static long time(String key, String text) {
        try {
            return Units.duration(text).toNanos();
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(key + ": " + e.getMessage(), e);
        }
    }

    /**
     * Weight by the bits of {@link Access}: of several kinds merged into one event the heaviest
     * counts.
     */
    private static double[] weights(EngineConfig c) {
        double[] table = new double[Access.DIRECTORY];
        for (int kinds = 0; kinds < table.length; kinds++) {
            double w = 0;
            w = Math.max(w, (kinds & Access.OPEN) != 0 ? c.weight_open() : 0);
            w = Math.max(w, (kinds & Access.READ) != 0 ? c.weight_read() : 0);
            w = Math.max(w, (kinds & Access.WRITE) != 0 ? c.weight_write() : 0);
            w = Math.max(w, (kinds & Access.CLOSE_WRITE) != 0 ? c.weight_close() : 0);
            w =
                    Math.max(
                            w,
                            (kinds & (Access.APPEAR | Access.DISAPPEAR)) != 0
                                    ? c.weight_name()
                                    : 0);
            table[kinds] = w;
        }
        return table;
    }

    double weight(int kinds) {
        return weights[kinds & weights.length - 1];
    }

    /** Empty if the path may be pinned; else why not. */
    String unwatched(FilePath path) {
        if (directories.stream().noneMatch(d -> d.contains(path))) {
            return directories.isEmpty()
                    ? "no directories are watched: set watch.directories"
                    : "it is not below a watched directory";
        }
        if (!include.isEmpty() && !include.matches(path)) {
            return "no pattern of watch.include matches it";
        }
        return exclude.matches(path) ? "a pattern of watch.exclude matches it" : "";
    }

    /** The same with other directories. */
    Settings watching(List<FilePath> others) {
        return new Settings(
                others,
                observing,
                include,
                exclude,
                tick,
                weights,
                pinRate,
                unpinRate,
                minTime,
                warmStart,
                warmTime,
                poolSize,
                reserve,
                highWater,
                memoryReserve,
                memoryPressure,
                checkpointIntervals,
                checkpointFreeze,
                stopTimeout,
                strategyTimeout,
                source,
                rate,
                strategies,
                syncs);
    }

    /** Bytes of the pool that may be planned with. */
    long budget() {
        return (long) (poolSize * (1 - reserve));
    }
}
