package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack;
import io.rampipe.api.Target;
import io.rampipe.linux.Fd;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.tree.RandomTree;
import io.rampipe.testkit.tree.Snapshot;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/**
 * Stopped before any system call that changes the disk, a syncback leaves all that recovery needs
 * to make the whole state before or the whole state after.
 */
@NeedsMounts
class CutTest {
    private static final int MOST_STEPS = 5_000;

    /** The power goes. Nothing in the product catches it. */
    private static final class Cut extends Error {
        private static final long serialVersionUID = 1L;

        Cut(String before) {
            super(before);
        }
    }

    /** Counts, and cuts before one step. */
    private static final class Counter implements Steps {
        final int cutAt;
        final List<String> seen = new ArrayList<>();
        boolean committed;

        Counter(int cutAt) {
            this.cutAt = cutAt;
        }

        @Override
        public void before(String what) {
            // What was told of before has been done by now.
            committed |= !seen.isEmpty() && seen.get(seen.size() - 1).endsWith(": commit");
            if (seen.size() == cutAt) {
                throw new Cut(what);
            }
            seen.add(what);
        }
    }

    @Test
    void anInterruptedLastSyncIsAllOrNothing() throws Exception {
        interrupted(true, 1, Integer.getInteger("rampipe.test.cuts", 3));
    }

    @Test
    void anInterruptedCheckpointIsAllOrNothing() throws Exception {
        interrupted(false, 3, 11);
    }

    /**
     * Killed, not cut off from power: the pin's record and what is in RAM are still there, and the
     * next daemon does the last sync again, even if everything was on disk already.
     */
    @Test
    void aLastSyncCanBeDoneAgain() throws Exception {
        long seed = Long.getLong("rampipe.test.seed", System.nanoTime());
        System.out.println("CutTest: -Drampipe.test.seed=" + seed);
        Random random = new Random(seed);
        try (ScratchDisk disk = ScratchDisk.ext4(24);
                PinnedTree tree = new PinnedTree(disk)) {
            try (Fd root = tree.openTarget()) {
                new RandomTree(random, root).build();
            }
            for (int round = 0; round < 40; round++) {
                tree.pin();
                try (Fd root = tree.openTarget()) {
                    new RandomTree(random, root).change(80);
                }
                Snapshot after = tree.snapshot();
                tree.uncover();
                int cut = round == 0 ? MOST_STEPS : random.nextInt(1 << 1 + random.nextInt(10));
                String where = "seed " + seed + ", round " + round + ", cut before step " + cut;
                try {
                    sync(tree, tree.record(), new Counter(cut), true);
                } catch (Cut e) {
                    where += " (" + e.getMessage() + ")";
                }
                sync(tree, tree.record(), Steps.NONE, true);
                assertEquals(List.of(), after.differences(tree.snapshot()), where);
            }
        }
    }

    private void interrupted(boolean last, int stride, int recoveryStride) throws Exception {
        long seed = Long.getLong("rampipe.test.seed", System.nanoTime());
        System.out.println("CutTest: -Drampipe.test.seed=" + seed);
        Random random = new Random(seed);
        try (ScratchDisk disk = ScratchDisk.ext4(24);
                PinnedTree tree = new PinnedTree(disk)) {
            try (Fd root = tree.openTarget()) {
                new RandomTree(random, root).build();
            }
            Path saved = disk.aside("saved").resolve("disk.img");
            tree.save(saved);
            Snapshot before = tree.snapshot();
            tree.pin();
            try (Fd root = tree.openTarget()) {
                new RandomTree(random, root).change(50);
            }
            Snapshot after = tree.snapshot();
            tree.uncover();
            int total = MOST_STEPS;
            for (int cut = 0; cut < total; cut += stride) {
                String where = "seed " + seed + ", cut before step " + cut;
                tree.restore(saved);
                Pin pin = tree.describe(Target.directory(tree.target));
                Counter steps = new Counter(cut);
                try {
                    sync(tree, pin, steps, last);
                    total = 0;
                } catch (Cut e) {
                    where += " (" + e.getMessage() + ")";
                }
                tree.uncover();
                boolean done = steps.committed || total == 0;
                if (cut % recoveryStride == 0) {
                    try {
                        recover(tree, new Counter(random.nextInt(40)));
                    } catch (Cut e) {
                        where += ", recovery cut (" + e.getMessage() + ")";
                    }
                }
                List<String> lines = recover(tree, Steps.NONE);
                tree.remountDisk();
                Snapshot found = tree.snapshot();
                assertEquals(List.of(), (done ? after : before).differences(found), where + lines);
                assertEquals(List.of(), found.oddlyLinked(), where);
                if (steps.seen.size() > 1) {
                    assertEquals(List.of(), tree.leftovers(), where + lines);
                }
            }
            assertTrue(total == 0, "it never ends");
        }
    }

    private static void sync(PinnedTree tree, Pin pin, Steps steps, boolean last) throws Exception {
        JournalSyncBack sync = new JournalSyncBack(steps, line -> {});
        if (last) {
            try (SyncBack.Last l = sync.begin(pin)) {
                assertTrue(l.finish().consistent());
            }
        } else {
            tree.cover();
            assertTrue(sync.checkpoint(pin).consistent());
            // A checkpoint may leave a log that waits for the pin's end. The power goes then.
        }
    }

    private static List<String> recover(PinnedTree tree, Steps steps) throws Exception {
        return new JournalSyncBack(steps, line -> {})
                .recover(List.of(FilePath.of(tree.disk.root().toString())), List.of());
    }
}
