package io.rampipe.engine.internal;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.api.Refusal;
import org.junit.jupiter.api.Test;

class RefusalsTest {
    private static final long SECOND = 1_000_000_000L;
    private static final FilePath PATH = FilePath.of("/x");

    private final Refusals refusals = new Refusals();

    @Test
    void aCauseIsNewsOnceUntilThePathIsPinned() {
        assertTrue(refusals.add(PATH, new Refusal(Refusal.Cause.IN_USE, "open"), 0));
        assertFalse(
                refusals.add(PATH, new Refusal(Refusal.Cause.IN_USE, "open by another"), SECOND));
        assertTrue(refusals.add(PATH, new Refusal(Refusal.Cause.CHANGED, "changed"), 2 * SECOND));
        assertFalse(refusals.add(PATH, new Refusal(Refusal.Cause.IN_USE, "open"), 3 * SECOND));
        refusals.clear(PATH);
        assertTrue(refusals.add(PATH, new Refusal(Refusal.Cause.IN_USE, "open"), 4 * SECOND));
    }

    @Test
    void whatMayPassSoonIsTriedOftenAtFirstAndSeldomLater() {
        refusals.add(PATH, new Refusal(Refusal.Cause.IN_USE, "open"), 0);
        assertFalse(refusals.mayTry(PATH, SECOND / 20));
        assertTrue(refusals.mayTry(PATH, SECOND / 5));
        for (int i = 0; i < 200; i++) {
            refusals.add(PATH, new Refusal(Refusal.Cause.IN_USE, "open"), 0);
        }
        assertFalse(refusals.mayTry(PATH, 10 * SECOND));
        assertTrue(refusals.mayTry(PATH, 61 * SECOND));
    }

    @Test
    void whatLastsIsSeldomTried() {
        refusals.add(PATH, new Refusal(Refusal.Cause.FILE_SYSTEM, "nfs"), 0);
        assertFalse(refusals.mayTry(PATH, 60 * SECOND));
        assertTrue(refusals.mayTry(FilePath.of("/y"), 0));
    }
}
