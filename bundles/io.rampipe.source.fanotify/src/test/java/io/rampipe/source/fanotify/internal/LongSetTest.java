package io.rampipe.source.fanotify.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class LongSetTest {
    @Test
    void holdsWhatWasAddedAndNothingElse() {
        LongSet set = new LongSet(65536);
        Set<Long> model = new HashSet<>();
        SplittableRandom random = new SplittableRandom(5);
        for (int i = 0; i < 60_000; i++) {
            long each = random.nextLong() | 1;
            set.add(each);
            set.add(each);
            model.add(each);
        }
        assertEquals(model.size(), set.size());
        assertTrue(model.stream().allMatch(set::contains));
        assertFalse(set.contains(2));
    }

    @Test
    void forgetsEverythingWhenFull() {
        LongSet set = new LongSet(1024);
        for (long i = 1; i <= 1025; i++) {
            set.add(i);
        }
        assertEquals(1, set.size());
        assertTrue(set.contains(1025));
        assertFalse(set.contains(1));
    }

    @Test
    void clearedOnesAreEmpty() {
        LongSet set = new LongSet(1024);
        set.add(9);
        set.clear();
        assertFalse(set.contains(9));
        assertEquals(0, set.size());
    }
}
