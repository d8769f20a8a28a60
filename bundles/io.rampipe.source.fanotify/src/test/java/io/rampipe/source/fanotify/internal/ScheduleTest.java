package io.rampipe.source.fanotify.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class ScheduleTest {
    private static final long TICK = 50_000_000;

    private final Schedule schedule = new Schedule(new SplittableRandom(1));
    private long now = 1L << 62;

    @Test
    void aTenthOfTheTimeIsWatched() {
        schedule.start(now, TICK);
        long start = now;
        long watched = 0;
        for (int i = 0; i < 1000; i++) {
            long opened = step(0);
            assertTrue(schedule.isOpen());
            watched += step(0) - opened;
        }
        assertEquals(10, (now - start) / (double) watched, 0.1);
    }

    @Test
    void periodicAccessesAreCountedRight() {
        for (long period = TICK / 3; period < 40 * TICK; period = period * 3 / 2 + 7) {
            schedule.start(now, TICK);
            long start = now;
            double counted = 0;
            for (int i = 0; i < 4000; i++) {
                long opened = step(0);
                long closed = step(0);
                counted += schedule.scale() * (closed / period - opened / period);
            }
            double exact = (now - start) / (double) period;
            assertEquals(1, counted / exact, 0.25, "period " + period);
        }
    }

    @Test
    void lateStepsDoNotDistortTheScale() {
        schedule.start(now, TICK);
        long start = now;
        double counted = 0;
        SplittableRandom late = new SplittableRandom(2);
        for (int i = 0; i < 4000; i++) {
            long opened = step(late.nextLong(4 * TICK));
            long closed = step(late.nextLong(TICK));
            counted += schedule.scale() * (closed - opened);
        }
        assertEquals(1, counted / (now - start), 0.05);
    }

    @Test
    void aSuspendedMachineMakesNoGiantOfOneAccess() {
        schedule.start(now, TICK);
        step(3_600_000_000_000L);
        step(0);
        assertTrue(schedule.scale() <= 40);
    }

    @Test
    void aWindowIsRipeAfterHalfItsTime() {
        schedule.start(now, TICK);
        assertFalse(schedule.ripe(now));
        step(0);
        assertFalse(schedule.ripe(now + TICK / 2 - 1));
        assertTrue(schedule.ripe(now + TICK / 2));
    }

    /** Does what is due, so much too late; returns the time. */
    private long step(long late) {
        now += Math.max(0, schedule.remaining(now)) + late;
        if (schedule.isOpen()) {
            schedule.close(now);
        } else {
            schedule.open(now);
        }
        return now;
    }
}
