package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * What an upper directory looked like at one time: identity, size and times of everything in it. No
 * data are read.
 */
final class Scan {
    /**
     * Two changes within one tick of the kernel's clock have the same time stamp, so what changed
     * less than this before it was looked at may have changed again since without a sign (a jiffy
     * is at most 10 ms).
     */
    private static final long GRANULARITY_NANOS = 20_000_000L;

    private final Map<FilePath, Stat> entries = new HashMap<>();

    /** Time stamps from here on do not prove anything; nanoseconds since the epoch. */
    private final long trusted;

    private Scan() {
        Instant now = Instant.now();
        trusted = now.getEpochSecond() * 1_000_000_000L + now.getNano() - GRANULARITY_NANOS;
    }

    static Scan of(Fd upper, Target target) throws LinuxException {
        Scan scan = new Scan();
        FilePath top = FilePath.of("");
        if (target.kind() == Target.Kind.FILE) {
            scan.add(upper, target.path().name(), top);
        } else {
            scan.entries.put(top, Stat.of(upper));
            scan.below(upper, top);
        }
        return scan;
    }

    private void below(Fd directory, FilePath path) throws LinuxException {
        for (FilePath name : At.list(directory)) {
            add(directory, name, path);
        }
    }

    private void add(Fd directory, FilePath name, FilePath path) throws LinuxException {
        try {
            Stat stat = Stat.at(directory, name);
            entries.put(path.resolve(name), stat);
            if (stat.isDirectory()) {
                try (Fd below = At.openDirectory(directory, name)) {
                    below(below, path.resolve(name));
                }
            }
        } catch (LinuxException e) {
            // Gone meanwhile: another scan will differ.
            if (!e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                throw e;
            }
        }
    }

    /** True if nothing shows a change between the two. */
    boolean same(Scan other) {
        return entries.size() == other.entries.size()
                && entries.entrySet().stream()
                        .allMatch(
                                e -> {
                                    Stat s = other.entries.get(e.getKey());
                                    return s != null && e.getValue().unchangedSince(s);
                                });
    }

    /** True if the same names lead to the same files; their data may differ. */
    boolean sameNames(Scan other) {
        return entries.size() == other.entries.size()
                && entries.entrySet().stream()
                        .allMatch(
                                e -> {
                                    Stat s = other.entries.get(e.getKey());
                                    return s != null
                                            && e.getValue().sameFile(s)
                                            && e.getValue().type() == s.type();
                                });
    }

    /** Whether the file at that path is as it was in this scan, for certain. */
    boolean certainlyUnchanged(FilePath path, Stat now) {
        Stat then = entries.get(path);
        return then != null && now.unchangedSince(then) && nanos(then) < trusted;
    }

    /** True if nothing can have changed since this scan was made. */
    boolean certainlySame(Scan now) {
        return same(now) && entries.values().stream().allMatch(s -> nanos(s) < trusted);
    }

    private static long nanos(Stat s) {
        return s.changeSeconds() * 1_000_000_000L + s.changeNanos();
    }

    Map<FilePath, Stat> entries() {
        return entries;
    }

    /** Paths of this scan that the other lacks or has otherwise. */
    List<Map.Entry<FilePath, Stat>> differencesFrom(Scan other) {
        return entries.entrySet().stream()
                .filter(e -> other == null || !other.certainlyUnchanged(e.getKey(), e.getValue()))
                .toList();
    }
}
