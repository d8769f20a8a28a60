package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack;
import io.rampipe.api.UnfinishedException;
import io.rampipe.linux.Errno;
import io.rampipe.linux.LinuxException;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.tree.Snapshot;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The disk fails at one step, and works again afterwards. */
@NeedsMounts
class FailedStepTest {
    private final List<String> reports = new ArrayList<>();
    private ScratchDisk disk;
    private PinnedTree tree;
    private Snapshot before;
    private Snapshot after;
    private Pin pin;
    private String failing = "";

    private final JournalSyncBack sync =
            new JournalSyncBack(
                    step -> {
                        if (step.equals(failing)) {
                            throw new IllegalStateException(step);
                        }
                    },
                    reports::add);

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(32);
        tree = new PinnedTree(disk);
        Command.shell(
                "cd "
                        + tree.target
                        + "; head -c 50000 /dev/urandom > f; mkdir -p d/sub; echo a > d/a;"
                        + " echo b > d/sub/b; mkdir e; echo c > e/c");
        before = tree.snapshot();
        pin = tree.pin();
    }

    @AfterEach
    void tearDown() throws Exception {
        tree.close();
        disk.close();
    }

    private void change(String script) throws Exception {
        Command.shell("cd " + tree.target + "; " + script);
        after = tree.snapshot();
    }

    private void renames() throws Exception {
        change(
                "echo x | dd of=f conv=notrunc 2>&1; echo new > new; mv d moved; mv e moved/sub/e;"
                        + " echo more > moved/more");
    }

    private void finish() throws Exception {
        failing = "";
        try (SyncBack.Last last = sync.begin(pin)) {
            tree.uncover();
            assertTrue(last.finish().consistent());
        }
        tree.remountDisk();
        assertEquals(List.of(), after.differences(tree.snapshot()));
        assertEquals(List.of(), tree.leftovers());
        assertEquals(List.of(), reports);
    }

    /** Whether the log's name reached the disk is not known then: its staged files must stay. */
    @Test
    void aCommitThatMayNotBeOnDiskIsNotAppliedAndStaysWhole() throws Exception {
        change("echo x | dd of=f conv=notrunc 2>&1; echo new > new; rm -r e");
        failing = "fsync of the log's directory";
        assertThrows(IllegalStateException.class, () -> sync.checkpoint(pin));
        assertEquals(List.of(), after.differences(tree.snapshot()), "RAM");
        tree.uncover();
        assertEquals(List.of(), before.differences(tree.snapshot()), "the disk");
        new JournalSyncBack(Steps.NONE, reports::add).recover(List.of(tree.target), List.of());
        tree.remountDisk();
        assertEquals(List.of(), after.differences(tree.snapshot()), "the recovered disk");
    }

    @Test
    void aCommitThatMayNotBeOnDiskIsMadeAgain() throws Exception {
        change("echo x | dd of=f conv=notrunc 2>&1; echo new > new; rm -r e");
        failing = "fsync of the log's directory";
        assertThrows(IllegalStateException.class, () -> sync.checkpoint(pin));
        change("echo newer > new");
        failing = "";
        assertTrue(sync.checkpoint(pin).consistent());
        assertEquals(List.of(), after.differences(tree.snapshot()), "RAM");
        finish();
    }

    @Test
    void whatADiskHasFailedToTakeIsWrittenAgain() throws Exception {
        for (String step :
                List.of("write", "fsync a file", "rename a new file in", "fsync a directory")) {
            change("echo x" + step + " | dd of=f conv=notrunc 2>&1; echo new > 'new " + step + "'");
            failing = step;
            assertThrows(IllegalStateException.class, () -> sync.checkpoint(pin), step);
            assertEquals(List.of(), after.differences(tree.snapshot()), "RAM after " + step);
            failing = "";
            assertTrue(sync.checkpoint(pin).consistent());
        }
        finish();
    }

    @Test
    void theMountMayBePutBackAsLongAsNoRenamedDirectoryHasMoved() throws Exception {
        renames();
        for (String step : List.of("rename the log: commit", "write", "fsync a file")) {
            failing = step;
            try (SyncBack.Last last = sync.begin(pin)) {
                tree.uncover();
                Exception e = assertThrows(Exception.class, last::finish);
                assertFalse(e instanceof UnfinishedException, step);
            }
            tree.cover();
            assertEquals(List.of(), after.differences(tree.snapshot()), "RAM after " + step);
            failing = "";
            assertTrue(sync.checkpoint(pin).consistent());
            assertEquals(List.of(), after.differences(tree.snapshot()), "RAM");
            change(
                    "echo "
                            + step.length()
                            + " > moved/sub/e/c; echo 1 | dd of=f conv=notrunc 2>&1");
        }
        finish();
    }

    /** Each of them is found out to be better written as a whole. */
    @Test
    void manyFilesThatWereReplacedBySparseOnesAreWrittenInOneCheckpoint() throws Exception {
        tree.uncover();
        Command.shell(
                "cd " + tree.target + "; for i in $(seq 20); do echo $i > old$i; done; sync -f .");
        pin = tree.pin();
        change(
                "for i in $(seq 20); do rm old$i; head -c 9000 /dev/urandom > old$i;"
                        + " truncate -s 200K old$i; done");
        SyncBack.Allowance allowance = new SyncBack.Allowance(Duration.ofMillis(250), 1 << 30);
        assertTrue(sync.checkpoint(pin, allowance).consistent());
        finish();
    }

    /** The same where there is no room for changing them in place. */
    @Test
    void manyFilesForWhichThereIsNoRoomInPlaceAreWrittenInOneCheckpoint() throws Exception {
        tree.uncover();
        Command.shell(
                "cd "
                        + tree.target
                        + "; for i in $(seq 20); do head -c 5000 /dev/urandom > old$i; done;"
                        + " fallocate -l 16M ../filler; sync -f .");
        pin = tree.pin();
        change("for i in $(seq 20); do head -c 90000 /dev/urandom >> old$i; done");
        SyncBack.Allowance allowance = new SyncBack.Allowance(Duration.ofMillis(250), 1 << 30);
        assertTrue(sync.checkpoint(pin, allowance).consistent());
        finish();
    }

    @Test
    void onceARenamedDirectoryHasMovedItIsToBeFinished() throws Exception {
        renames();
        try (SyncBack.Last last = sync.begin(pin)) {
            tree.uncover();
            for (String step :
                    List.of("rename a directory in", "rename a new file in", "unlink the log")) {
                failing = step;
                assertThrows(UnfinishedException.class, last::finish, step);
            }
        }
        finish();
    }

    /** All of it is written then, of which only what differs had been copied. */
    @Test
    void aFileThatCannotHaveAnotherNameOnDiskIsUnpinned() throws Exception {
        change("echo x | dd of=f conv=notrunc 2>&1; mv f g");
        JournalSyncBack linkless =
                new JournalSyncBack(
                        step -> {
                            if (step.equals("link a file to the staging directory")) {
                                throw new LinuxException(step, "f", Errno.EMLINK);
                            }
                        },
                        reports::add);
        try (SyncBack.Last last = linkless.begin(pin)) {
            tree.uncover();
            assertTrue(last.finish().consistent());
        }
        tree.remountDisk();
        assertEquals(List.of(), after.differences(tree.snapshot()));
        assertEquals(List.of(), tree.leftovers());
        assertEquals(List.of(), reports);
    }
}
