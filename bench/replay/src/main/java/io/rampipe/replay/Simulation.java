package io.rampipe.replay;

import io.rampipe.api.Access;
import io.rampipe.api.RateEstimator;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/**
 * The engine's decisions over a trace: each access is added to its file and its directory, and once
 * a second directories are pinned and unpinned, as the engine does, as far as the budget goes. A
 * pinned directory takes as much RAM as the files in and below it that were used, with the sizes
 * that they have by then. A pin covers everything below it, and what happens there counts for it.
 */
final class Simulation {
    private static final long SECOND = Policy.SECOND;

    /** A directory that begins to be used again after that long begins anew. */
    private static final long REST = 60 * SECOND;

    /**
     * @param captured share of the writes that went to RAM
     * @param pins how often something was pinned
     * @param unpins how often something was unpinned
     * @param timeToPin median of the time from the first access to the pin, in seconds; NaN without
     *     pins
     * @param memory of the estimator at its largest, in bytes
     * @param most RAM that pins took, in bytes
     */
    record Result(
            double captured, int pins, int unpins, double timeToPin, long memory, long most) {}

    private final Trace trace;
    private final Policy policy;
    private final long budget;
    private final RateEstimator estimator;

    private final double[] rates;
    private final boolean[] warm;
    private final long[] pinnedAt;

    /** The pinned directory that a directory is in or is; -1 if there is none. */
    private final int[] cover;

    private final long[] activeSince;
    private final long[] lastUsed;
    private final long[] directoryBytes;
    private final long[] fileBytes;
    private final List<Integer> noticed = new ArrayList<>();
    private final List<Integer> pinned = new ArrayList<>();
    private final List<Double> delays = new ArrayList<>();

    private long used;
    private long most;
    private double writes;
    private double captured;
    private int pins;
    private int unpins;
    private long memory;

    private Simulation(Trace trace, RateEstimator estimator, Policy policy, long budget) {
        this.trace = trace;
        this.estimator = estimator;
        this.policy = policy;
        this.budget = budget;
        rates = new double[trace.directories];
        warm = new boolean[trace.directories];
        pinnedAt = new long[trace.directories];
        cover = new int[trace.directories];
        activeSince = new long[trace.directories];
        lastUsed = new long[trace.directories];
        directoryBytes = new long[trace.directories];
        fileBytes = new long[trace.files];
        Arrays.fill(pinnedAt, Long.MIN_VALUE);
        Arrays.setAll(cover, d -> -1);
        Arrays.fill(lastUsed, Long.MIN_VALUE / 2);
    }

    static Result run(Trace trace, RateEstimator estimator, Policy policy, long budget) {
        return new Simulation(trace, estimator, policy, budget).run();
    }

    private Result run() {
        long start = System.nanoTime();
        long nextSecond = SECOND;
        double notice = Math.max(policy.unpinRate(), policy.pinRate() / 10);
        for (int t = 0; t < trace.ticks; t++) {
            long now = trace.tickMillis[t] * 1_000_000;
            for (; nextSecond <= now; nextSecond += SECOND) {
                evaluate(start, nextSecond, notice);
            }
            for (int i = trace.tickEvents[t]; i < trace.tickEvents[t + 1]; i++) {
                event(i, start, now, notice);
            }
            for (int i = trace.tickSizes[t]; i < trace.tickSizes[t + 1]; i++) {
                size(i);
            }
        }
        double[] sorted = delays.stream().mapToDouble(Double::doubleValue).sorted().toArray();
        return new Result(
                writes == 0 ? 0 : captured / writes,
                pins,
                unpins,
                sorted.length == 0 ? Double.NaN : sorted[sorted.length / 2],
                memory,
                most);
    }

    private void event(int i, long start, long now, double notice) {
        int file = trace.eventFile[i];
        int in = trace.directoryOf[file];
        int directory = cover[in] < 0 ? in : cover[in];
        int kinds = trace.eventKinds[i];
        float scale = trace.eventScale[i];
        if ((kinds & Access.WRITE) != 0) {
            writes += scale;
            captured += cover[in] < 0 ? 0 : scale;
        }
        double weight = weight(kinds) * scale;
        if (weight == 0) {
            return;
        }
        if (now - lastUsed[directory] > REST) {
            activeSince[directory] = now;
        }
        lastUsed[directory] = now;
        double rate = estimator.add(directoryKey(directory), weight, start + now);
        if (rate >= notice && !warm[directory]) {
            warm[directory] = true;
            noticed.add(directory);
        }
        if ((kinds & Access.DIRECTORY) == 0) {
            estimator.add(fileKey(file), weight, start + now);
        }
    }

    /** The engine's default weights. */
    static double weight(int kinds) {
        return (kinds & (Access.WRITE | Access.APPEAR | Access.DISAPPEAR)) != 0 ? 1 : 0;
    }

    /** Numbers, mixed as a source's identities are. */
    static long directoryKey(int directory) {
        return mix(2L * directory + 1);
    }

    static long fileKey(int file) {
        return mix(2L * file + 2);
    }

    private static long mix(long k) {
        long z = k * 0x9e3779b97f4a7c15L;
        z = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        z = (z ^ z >>> 27) * 0x94d049bb133111ebL;
        z ^= z >>> 31;
        return z == 0 ? 1 : z;
    }

    private void size(int i) {
        int file = trace.sizeFile[i];
        int directory = trace.directoryOf[file];
        long more = trace.sizeBytes[i] - fileBytes[file];
        fileBytes[file] = trace.sizeBytes[i];
        for (int d = directory; d >= 0; d = trace.parentOf[d]) {
            directoryBytes[d] += more;
        }
        if (cover[directory] >= 0) {
            used += more;
            most = Math.max(most, used);
        }
    }

    private void evaluate(long start, long now, double notice) {
        memory = Math.max(memory, estimator.memory());
        for (int directory : noticed) {
            rates[directory] = estimator.rate(directoryKey(directory), start + now);
        }
        for (int directory : List.copyOf(pinned)) {
            if (rates[directory] <= policy.unpinRate()
                    && now - pinnedAt[directory] >= policy.minTime()) {
                unpin(directory);
            }
        }
        // What has grown too large makes room, the coldest first.
        pinned.sort(Comparator.comparingDouble(d -> rates[d]));
        while (used > budget && !pinned.isEmpty()) {
            unpin(pinned.get(0));
        }
        List<Integer> hot =
                new ArrayList<>(
                        noticed.stream()
                                .filter(d -> cover[d] < 0)
                                .filter(d -> rates[d] >= policy.pinRate())
                                .toList());
        // The outermost first, as the engine does: pinned, it covers the others.
        hot.sort(
                Comparator.comparingInt((Integer d) -> depth(d))
                        .thenComparingDouble(d -> -rates[d]));
        for (int directory : hot) {
            if (cover[directory] < 0 && !holdsPins(directory)) {
                makeRoom(directory, now);
                if (directoryBytes[directory] <= budget - used) {
                    pin(directory, now);
                }
            }
        }
        noticed.removeIf(
                d -> {
                    boolean cold = pinnedAt[d] == Long.MIN_VALUE && rates[d] < notice / 2;
                    warm[d] &= !cold;
                    return cold;
                });
    }

    private int depth(int directory) {
        int depth = 0;
        for (int d = trace.parentOf[directory]; d >= 0; d = trace.parentOf[d]) {
            depth++;
        }
        return depth;
    }

    private boolean isBelow(int directory, int other) {
        for (int d = directory; d >= 0; d = trace.parentOf[d]) {
            if (d == other) {
                return true;
            }
        }
        return false;
    }

    /** What has a mount in it is refused. */
    private boolean holdsPins(int directory) {
        return pinned.stream().anyMatch(d -> isBelow(d, directory));
    }

    private void cover(int directory, int by) {
        for (int d = 0; d < trace.directories; d++) {
            if (isBelow(d, directory)) {
                cover[d] = by;
            }
        }
    }

    /** Unpins what is less than half as hot, and has been there for a while. */
    private void makeRoom(int directory, long now) {
        for (int colder : List.copyOf(pinned)) {
            if (directoryBytes[directory] <= budget - used) {
                return;
            }
            if (now - pinnedAt[colder] >= policy.minTime()
                    && rates[colder] * 2 < rates[directory]) {
                unpin(colder);
            }
        }
    }

    private void pin(int directory, long now) {
        pinnedAt[directory] = now;
        used += directoryBytes[directory];
        most = Math.max(most, used);
        pinned.add(directory);
        cover(directory, directory);
        pins++;
        delays.add((now - activeSince[directory]) / 1e9);
    }

    private void unpin(int directory) {
        pinnedAt[directory] = Long.MIN_VALUE;
        used -= directoryBytes[directory];
        pinned.remove(Integer.valueOf(directory));
        cover(directory, -1);
        unpins++;
    }
}
