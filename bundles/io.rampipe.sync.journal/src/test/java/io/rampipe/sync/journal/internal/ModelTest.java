package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack;
import io.rampipe.linux.Fd;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.tree.RandomTree;
import io.rampipe.testkit.tree.Snapshot;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/**
 * Whatever programs do to a pinned tree of every kind of file is on disk afterwards: byte by byte
 * and attribute by attribute.
 */
@NeedsMounts
class ModelTest {
    private static final int ROUNDS = Integer.getInteger("rampipe.test.rounds", 100);

    @Test
    void theDiskEqualsTheMergedTreeAfterRandomOperations() throws Exception {
        long seed = Long.getLong("rampipe.test.seed", System.nanoTime());
        System.out.println("ModelTest: -Drampipe.test.seed=" + seed);
        Random random = new Random(seed);
        List<String> reports = new ArrayList<>();
        try (ScratchDisk disk = ScratchDisk.ext4(256);
                PinnedTree tree = new PinnedTree(disk)) {
            try (Fd root = tree.openTarget()) {
                new RandomTree(random, root).build();
            }
            for (int round = 0; round < ROUNDS; round++) {
                String where = "seed " + seed + ", round " + round + ": ";
                JournalSyncBack sync = new JournalSyncBack(Steps.NONE, reports::add);
                Pin pin = tree.pin();
                for (int part = random.nextInt(3); part >= 0; part--) {
                    try (Fd root = tree.openTarget()) {
                        new RandomTree(random, root)
                                .change(random.nextInt(random.nextInt(4) == 0 ? 400 : 60));
                    }
                    if (part > 0) {
                        Snapshot before = tree.snapshot();
                        assertTrue(sync.checkpoint(pin).consistent(), where + "checkpoint");
                        assertEquals(
                                List.of(),
                                before.differences(tree.snapshot()),
                                where + "a checkpoint shows");
                        if (random.nextInt(4) == 0) {
                            sync = new JournalSyncBack(Steps.NONE, reports::add);
                        }
                    }
                }
                Snapshot model = tree.snapshot();
                try (SyncBack.Last last = sync.begin(pin)) {
                    tree.uncover();
                    assertTrue(last.finish().consistent(), where + "finish");
                }
                if (round % 5 == 0) {
                    tree.remountDisk();
                }
                Snapshot found = tree.snapshot();
                assertEquals(List.of(), model.differences(found), where + "the disk differs");
                assertEquals(List.of(), found.oddlyLinked(), where + "links");
                assertTrue(
                        found.data() <= model.data() + model.entries().size() * 4096L,
                        where + "holes were filled");
                assertEquals(List.of(), reports, where + "reports");
                assertEquals(List.of(), tree.leftovers(), where + "something is left");
            }
        }
    }
}
