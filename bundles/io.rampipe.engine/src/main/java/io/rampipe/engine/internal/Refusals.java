package io.rampipe.engine.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Refusal;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Which targets were refused, why, and when to ask again. Bounded. Any thread. */
final class Refusals {
    private static final int MOST = 4_096;

    private static final long SECOND = 1_000_000_000L;

    /** Someone who opens a file now and then leaves gaps: they are looked for often at first. */
    private static final long EAGER_PAUSE = SECOND / 10;

    private static final int EAGER_TRIES = 60;
    private static final long LONGEST_PAUSE = 60 * SECOND;
    private static final long LASTING_PAUSE = 600 * SECOND;

    private final Map<FilePath, Entry> entries =
            new LinkedHashMap<>(64, 0.75f, true) {
                private static final long serialVersionUID = 1L;

                @Override
                protected boolean removeEldestEntry(Map.Entry<FilePath, Refusals.Entry> eldest) {
                    return size() > MOST;
                }
            };

    /**
     * @param tries in a row with this cause
     * @param told causes that are no news any more
     */
    record Entry(Refusal refusal, int tries, long nextTry, Set<Refusal.Cause> told) {}

    /**
     * Takes note; returns true if this cause is news for this path, which it is once until the path
     * is pinned: causes alternate many times a second while programs open and close a file.
     */
    synchronized boolean add(FilePath path, Refusal refusal, long now) {
        Entry old = entries.get(path);
        Set<Refusal.Cause> told =
                old == null ? EnumSet.noneOf(Refusal.Cause.class) : EnumSet.copyOf(old.told);
        boolean news = told.add(refusal.cause());
        // Passing causes alternate (open, then changed while looking): they are one row of tries.
        boolean inRow = old != null && old.refusal.cause().lasting() == refusal.cause().lasting();
        int tries = inRow ? old.tries + 1 : 1;
        entries.put(path, new Entry(refusal, tries, now + pause(refusal.cause(), tries), told));
        return news;
    }

    private static long pause(Refusal.Cause cause, int tries) {
        if (cause.lasting()) {
            return LASTING_PAUSE;
        }
        if (passing(cause)) {
            return tries <= EAGER_TRIES
                    ? EAGER_PAUSE
                    : Math.min(LONGEST_PAUSE, SECOND << Math.min(6, (tries - EAGER_TRIES) / 4));
        }
        return Math.min(LONGEST_PAUSE, SECOND << Math.min(6, tries));
    }

    /** Causes that go by themselves when a program closes a file. */
    static boolean passing(Refusal.Cause cause) {
        return cause == Refusal.Cause.IN_USE || cause == Refusal.Cause.CHANGED;
    }

    synchronized boolean mayTry(FilePath path, long now) {
        Entry entry = entries.get(path);
        return entry == null || now - entry.nextTry >= 0;
    }

    synchronized Optional<Entry> get(FilePath path) {
        return Optional.ofNullable(entries.get(path));
    }

    synchronized void clear(FilePath path) {
        entries.remove(path);
    }

    /** As after a change of configuration. */
    synchronized void clear() {
        entries.clear();
    }
}
