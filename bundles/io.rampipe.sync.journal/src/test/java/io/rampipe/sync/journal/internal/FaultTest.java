package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.tree.RandomTree;
import io.rampipe.testkit.tree.Snapshot;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/**
 * Each kind of system call that changes the disk fails once, with each error that it can fail with:
 * the syncback says so, nothing is lost, and once the cause is gone another attempt brings
 * everything to disk and leaves nothing behind.
 */
@NeedsMounts
class FaultTest {
    /** Errors a call; all of them and more occurrences with {@code -Drampipe.test.faults=20}. */
    private static final int FAULTS = Integer.getInteger("rampipe.test.faults", 1);

    private static final List<Integer> ANYWHERE =
            List.of(Errno.EIO, Errno.ENOMEM, Errno.EROFS, Errno.EACCES, Errno.EPERM, Errno.EBUSY);
    private static final List<Integer> ROOM = List.of(Errno.ENOSPC, Errno.EDQUOT);
    private static final List<Integer> OPENS = List.of(Errno.EMFILE, Errno.ENFILE, Errno.ESTALE);

    /** Counts, and fails once. */
    private static final class Faults implements Steps {
        final Map<String, Integer> seen = new LinkedHashMap<>();
        String call;
        int occurrence;
        int errno;
        boolean failed;

        @Override
        public void before(String what) throws IOException {
            int n = seen.merge(what, 1, Integer::sum);
            if (what.equals(call) && n == occurrence && !failed) {
                failed = true;
                throw new LinuxException(what, "(injected)", errno);
            }
        }
    }

    private static List<Integer> errors(String call) {
        List<Integer> errors = new ArrayList<>(ANYWHERE);
        if (!call.matches(".*(unlink|rmdir|punch|chmod|utimens).*")) {
            errors.addAll(ROOM);
        }
        if (call.matches(".*(create|open|mkdir|fsync|rename|mknod).*")) {
            errors.addAll(OPENS);
        }
        if (call.matches(".*link.*") && !call.contains("unlink")) {
            errors.add(Errno.EMLINK);
        }
        if (call.matches(".*(write|truncate).*")) {
            errors.add(Errno.EFBIG);
        }
        return errors;
    }

    @Test
    void aLastSyncbackThatFailsIsDoneAgain() throws Exception {
        failing(true);
    }

    @Test
    void aCheckpointThatFailsIsDoneAgain() throws Exception {
        failing(false);
    }

    private void failing(boolean last) throws Exception {
        long seed = Long.getLong("rampipe.test.seed", System.nanoTime());
        System.out.println("FaultTest: -Drampipe.test.seed=" + seed);
        Random random = new Random(seed);
        try (ScratchDisk disk = ScratchDisk.ext4(24);
                PinnedTree tree = new PinnedTree(disk)) {
            try (Fd root = tree.openTarget()) {
                new RandomTree(random, root).build();
            }
            Path saved = disk.aside("saved").resolve("disk.img");
            tree.save(saved);
            Snapshot before = tree.snapshot();
            Pin pin = tree.pin();
            try (Fd root = tree.openTarget()) {
                new RandomTree(random, root).change(60);
            }
            Snapshot after = tree.snapshot();
            tree.uncover();
            Faults dry = new Faults();
            attempt(tree, pin, new JournalSyncBack(dry, line -> {}), last);
            tree.uncover();
            if (last) {
                // A daemon that dies before it notes that this is done leaves it to the next one.
                attempt(tree, pin, new JournalSyncBack(Steps.NONE, line -> {}), true);
                assertEquals(
                        List.of(), after.differences(tree.snapshot()), "done twice, seed " + seed);
            }
            int faults = 0;
            int thrown = 0;
            List<String> failures = new ArrayList<>();
            for (Map.Entry<String, Integer> call : dry.seen.entrySet()) {
                List<Integer> errors = errors(call.getKey());
                Collections.shuffle(errors, random);
                for (int errno : errors.subList(0, Math.min(FAULTS, errors.size()))) {
                    Faults steps = new Faults();
                    steps.call = call.getKey();
                    steps.occurrence = 1 + random.nextInt(call.getValue());
                    steps.errno = errno;
                    String where =
                            String.format(
                                    "seed %d, %s (%d of %d): %s: ",
                                    seed,
                                    call.getKey(),
                                    steps.occurrence,
                                    call.getValue(),
                                    Errno.text(errno));
                    tree.restore(saved);
                    faults++;
                    try {
                        thrown += one(tree, pin, before, after, steps, last, where) ? 1 : 0;
                    } catch (AssertionError e) {
                        failures.add(e.getMessage());
                    }
                }
            }
            System.out.printf(
                    "FaultTest: %s: %d calls, %d faults, %d of them reported%n",
                    last ? "last syncback" : "checkpoint", dry.seen.size(), faults, thrown);
            assertEquals(List.of(), failures);
        }
    }

    private static boolean one(
            PinnedTree tree,
            Pin record,
            Snapshot before,
            Snapshot after,
            Faults steps,
            boolean last,
            String where)
            throws Exception {
        Pin pin = tree.describe(record.target());
        List<String> reports = new ArrayList<>();
        JournalSyncBack sync = new JournalSyncBack(steps, reports::add);
        IOException thrown = null;
        try {
            attempt(tree, pin, sync, last);
        } catch (IOException e) {
            thrown = e;
        } catch (RuntimeException | Error e) {
            throw new AssertionError(where, e);
        }
        boolean unfinished = thrown instanceof io.rampipe.api.UnfinishedException;
        if (thrown != null) {
            assertNotNull(thrown.getMessage(), where);
            Matcher name = Pattern.compile("\\((E[A-Z]+)\\)").matcher(Errno.text(steps.errno));
            assertTrue(
                    name.find() && thrown.getMessage().contains(name.group(1)),
                    where + "does not say why: " + thrown.getMessage());
        }
        if (!unfinished) {
            // What programs see is all there, whatever has come to disk.
            if (last) {
                tree.cover();
            }
            assertEquals(List.of(), after.differences(tree.snapshot()), where + "in RAM");
            tree.uncover();
        }
        if (!last && thrown != null) {
            attempt(tree, pin, sync, false);
            tree.uncover();
        }
        attempt(tree, pin, sync, true);
        tree.remountDisk();
        assertEquals(List.of(), after.differences(tree.snapshot()), where + "on disk " + reports);
        assertEquals(List.of(), tree.leftovers(), where + reports);
        return thrown != null;
    }

    private static void attempt(PinnedTree tree, Pin pin, JournalSyncBack sync, boolean last)
            throws IOException {
        if (last) {
            try (SyncBack.Last l = sync.begin(pin)) {
                assertTrue(l.finish().consistent());
            }
        } else {
            tree.cover();
            assertTrue(sync.checkpoint(pin).consistent());
        }
    }

    /** The same for recovery after a power cut right behind the commit. */
    @Test
    void aRecoveryThatFailsIsDoneAgain() throws Exception {
        long seed = Long.getLong("rampipe.test.seed", System.nanoTime());
        System.out.println("FaultTest: -Drampipe.test.seed=" + seed);
        Random random = new Random(seed);
        try (ScratchDisk disk = ScratchDisk.ext4(24);
                PinnedTree tree = new PinnedTree(disk)) {
            try (Fd root = tree.openTarget()) {
                new RandomTree(random, root).build();
            }
            Pin pin = tree.pin();
            try (Fd root = tree.openTarget()) {
                new RandomTree(random, root).change(60);
            }
            Snapshot after = tree.snapshot();
            tree.uncover();
            boolean[] committed = {false};
            Steps cut =
                    what -> {
                        if (committed[0]) {
                            throw new AssertionError("the power goes");
                        }
                        committed[0] = what.endsWith(": commit");
                    };
            try {
                attempt(tree, pin, new JournalSyncBack(cut, line -> {}), true);
            } catch (AssertionError e) {
                assertTrue(committed[0]);
            }
            Path saved = disk.aside("saved").resolve("disk.img");
            tree.save(saved);
            Faults dry = new Faults();
            recover(tree, dry);
            int faults = 0;
            for (Map.Entry<String, Integer> call : dry.seen.entrySet()) {
                List<Integer> errors = errors(call.getKey());
                Collections.shuffle(errors, random);
                for (int errno : errors.subList(0, Math.min(FAULTS, errors.size()))) {
                    Faults steps = new Faults();
                    steps.call = call.getKey();
                    steps.occurrence = 1 + random.nextInt(call.getValue());
                    steps.errno = errno;
                    String where =
                            "seed " + seed + ", " + call.getKey() + ": " + Errno.text(errno) + ": ";
                    tree.restore(saved);
                    faults++;
                    List<String> first = recover(tree, steps);
                    assertTrue(steps.failed, where);
                    List<String> second = recover(tree, Steps.NONE);
                    tree.remountDisk();
                    assertEquals(
                            List.of(),
                            after.differences(tree.snapshot()),
                            where + first + " " + second);
                    assertEquals(List.of(), tree.leftovers(), where + first + " " + second);
                }
            }
            System.out.printf(
                    "FaultTest: recovery: %d calls, %d faults%n", dry.seen.size(), faults);
        }
    }

    private static List<String> recover(PinnedTree tree, Steps steps) throws IOException {
        return new JournalSyncBack(steps, line -> {})
                .recover(List.of(FilePath.of(tree.disk.root().toString())), List.of());
    }
}
