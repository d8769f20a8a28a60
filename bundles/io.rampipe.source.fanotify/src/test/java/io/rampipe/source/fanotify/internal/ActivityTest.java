package io.rampipe.source.fanotify.internal;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class ActivityTest {
    private final Activity activity = new Activity();

    @Test
    void whatIsActiveInNearlyAllSlotsIsConstant() {
        int entry = -1;
        for (int slot = 0; slot < 20; slot++) {
            if (slot % 5 != 4) {
                entry = activity.touch(77, slot);
                activity.touch(77, slot);
            }
        }
        assertTrue(activity.constant(entry));
    }

    @Test
    void whatPausesIsNot() {
        for (int slot = 0; slot < 200; slot++) {
            if (slot % 5 < 2) {
                assertFalse(activity.constant(activity.touch(77, slot)), "slot " + slot);
            }
        }
    }

    @Test
    void aLongPauseIsForgotten() {
        for (int slot = 0; slot < 20; slot++) {
            activity.touch(77, slot);
        }
        assertFalse(activity.constant(activity.touch(77, 1_000_000)));
    }

    @Test
    void aHotFileIsFoundAmongManyOthers() {
        SplittableRandom random = new SplittableRandom(3);
        long file = random.nextLong();
        for (int slot = 0; slot < 40; slot++) {
            activity.touch(file, slot);
            for (int i = 0; i < 5000; i++) {
                activity.touch(random.nextLong(), slot);
            }
        }
        assertTrue(activity.constant(activity.touch(file, 40)));
    }

    @Test
    void aHeldEntryStaysUntilReleased() {
        int entry = activity.touch(77, 0);
        activity.hold(entry, new HotFile(null, null, null, entry));
        SplittableRandom random = new SplittableRandom(4);
        for (int slot = 1; slot < 30; slot++) {
            for (int i = 0; i < 5000; i++) {
                activity.touch(random.nextLong(), slot);
            }
        }
        assertTrue(activity.touch(77, 30) == entry && activity.hot(entry) != null);
        activity.release(entry);
        int again = activity.touch(77, 30);
        assertTrue(activity.hot(again) == null && !activity.constant(again));
    }

    @Test
    void equalEventsOfOneDrainAreRepeated() {
        int entry = activity.touch(77, 0);
        assertFalse(activity.repeated(entry, 1, 4));
        assertTrue(activity.repeated(entry, 1, 4));
        assertFalse(activity.repeated(entry, 1, 12));
        assertTrue(activity.repeated(entry, 1, 8));
        assertFalse(activity.repeated(entry, 2, 4));
    }
}
