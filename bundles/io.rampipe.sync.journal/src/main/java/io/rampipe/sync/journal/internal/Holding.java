package io.rampipe.sync.journal.internal;

import io.rampipe.api.SyncBack.Allowance;
import io.rampipe.api.SyncBack.Result;
import io.rampipe.linux.Freeze;
import java.io.IOException;
import java.time.Duration;
import java.util.List;

/**
 * A checkpoint of a target that never rests: the programs that write to it are held for the moment
 * in which what changed is copied in RAM. Holding them only makes rest likely; the copy counts only
 * if nothing changed meanwhile, as ever. One thread, once.
 */
final class Holding {
    /** Programs that open, write and close are not all caught at the first look. */
    private static final int[] PAUSES_IN_MS = {0, 30, 100};

    private final Writers writers;
    private final Allowance allowance;
    private final Duration coarseness;
    private Freeze freeze;
    private Duration held = Duration.ZERO;
    private Duration longest = Duration.ZERO;

    /**
     * @param coarseness of the change times of what is copied: that long nothing may have changed
     */
    Holding(Writers writers, Allowance allowance, Duration coarseness) {
        this.writers = writers;
        this.allowance = allowance;
        this.coarseness = coarseness;
    }

    /** A checkpoint that copies while it holds. */
    @FunctionalInterface
    interface Attempt {
        Result run(Sync.Hold hold) throws IOException;
    }

    Result checkpoint(Attempt attempt) throws IOException {
        String why = "";
        for (int pause : PAUSES_IN_MS) {
            JournalSyncBack.pause(pause);
            try {
                Result done = attempt.run(this::begin);
                ended();
                return done.held(held);
            } catch (MovingException e) {
                ended();
                why = why(e);
            }
        }
        return Result.NOT_AT_REST.held(held).because(why);
    }

    private Freeze begin() throws IOException {
        freeze = Freeze.of(writers.processes(), allowance.freeze());
        if (!coarseness.isZero()) {
            JournalSyncBack.pause((int) coarseness.toMillis() + 1);
        }
        return freeze;
    }

    private void ended() {
        if (freeze != null) {
            held = held.plus(freeze.duration());
            longest = freeze.duration().compareTo(longest) > 0 ? freeze.duration() : longest;
        }
    }

    private String why(MovingException e) {
        List<String> skipped = freeze == null ? List.of() : freeze.skipped();
        freeze = null;
        if (!skipped.isEmpty()) {
            return String.join("; ", skipped);
        }
        if (longest.compareTo(allowance.freeze()) >= 0) {
            return "copying what changed takes longer than checkpoint.freeze allows";
        }
        return e.getMessage() + " was changed by a program that could not be held";
    }
}
