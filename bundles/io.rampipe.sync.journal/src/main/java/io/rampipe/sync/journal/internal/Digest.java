package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.Stat;

/**
 * A short form of the names and attributes of everything in an upper layer: equal before and after
 * only if nothing changed (all writes but those through shared mappings show in change times).
 * Independent of order.
 */
final class Digest {
    private long first;
    private long second;
    private long newest = Long.MIN_VALUE;
    private int count;

    void add(long parent, FilePath name, Stat s) {
        long h = mix(parent) + name.hashCode();
        h = mix(h ^ s.inode());
        h = mix(h ^ s.device());
        h = mix(h ^ s.size());
        h = mix(h ^ (long) s.mode() << 32 ^ s.links());
        h = mix(h ^ nanos(s.modifySeconds(), s.modifyNanos()));
        h = mix(h ^ change(s));
        // The name again, by its characters, so that equal hash codes do not hide a rename.
        long other = h;
        String raw = name.raw();
        for (int i = 0; i < raw.length(); i++) {
            other = (other ^ raw.charAt(i)) * 0x100000001b3L;
        }
        first += h;
        second += mix(other);
        newest = Math.max(newest, change(s));
        count++;
    }

    /** Change time in nanoseconds since the epoch. */
    static long change(Stat s) {
        return nanos(s.changeSeconds(), s.changeNanos());
    }

    private static long nanos(long seconds, int nanos) {
        return seconds * 1_000_000_000L + nanos;
    }

    private static long mix(long z) {
        long x = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        x = (x ^ x >>> 27) * 0x94d049bb133111ebL;
        return x ^ x >>> 31;
    }

    boolean sameAs(Digest other) {
        return first == other.first && second == other.second && count == other.count;
    }

    /** The same in every process. */
    String text() {
        return Long.toHexString(first) + '-' + Long.toHexString(second) + '-' + count;
    }

    /** Newest change time, nanoseconds since the epoch. */
    long newest() {
        return newest;
    }
}
