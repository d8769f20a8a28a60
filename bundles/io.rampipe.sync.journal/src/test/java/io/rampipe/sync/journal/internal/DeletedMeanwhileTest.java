package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Pin;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.tree.Snapshot;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * A new file is deleted while a checkpoint that holds it is on its way to disk. Where nothing is
 * below, overlayfs leaves no whiteout: what is put there afterwards would come into sight.
 */
@NeedsMounts
class DeletedMeanwhileTest {
    private final List<String> reports = new ArrayList<>();
    private ScratchDisk disk;
    private PinnedTree tree;
    private Snapshot atCheckpoint;

    @BeforeEach
    void prepare() throws IOException {
        disk = ScratchDisk.ext4(64);
        tree = new PinnedTree(disk);
        Command.shell("cd " + tree.target + "; echo old > database; mkdir d");
    }

    @AfterEach
    void clean() throws IOException {
        try {
            tree.close();
        } finally {
            disk.close();
        }
        assertEquals(List.of(), reports);
    }

    /** Runs a script once, when the log has been committed, before anything of it is applied. */
    private JournalSyncBack sync(String script) {
        boolean[] done = {false};
        return new JournalSyncBack(
                step -> {
                    if (step.startsWith("rename a ") && !done[0]) {
                        done[0] = true;
                        try {
                            Command.shell("cd " + tree.target + "; " + script);
                        } catch (IOException e) {
                            throw new UncheckedIOException(e);
                        }
                    }
                },
                reports::add);
    }

    private JournalSyncBack checkpoint(Pin pin, String before, String meanwhile)
            throws IOException {
        Command.shell("cd " + tree.target + "; " + before);
        atCheckpoint = tree.snapshot();
        JournalSyncBack sync = sync(meanwhile);
        assertTrue(sync.checkpoint(pin).consistent());
        return sync;
    }

    private void assertGone(String name) {
        assertFalse(
                Files.exists(tree.path(name), LinkOption.NOFOLLOW_LINKS), name + " is back again");
    }

    @Test
    void aDeletedFileDoesNotComeBack() throws Exception {
        Pin pin = tree.pin();
        // The first to be placed; the other is looked at afterwards.
        checkpoint(pin, "echo 1 > a; echo 2 > database-journal; echo new > database", "rm -f *l a");
        assertGone("database-journal");
        assertGone("a");
    }

    @Test
    void aDeletedDirectoryDoesNotComeBack() throws Exception {
        Pin pin = tree.pin();
        checkpoint(pin, "mkdir e d/f; echo 1 > e/a; echo 1 > d/f/a", "rm -r e d/f");
        assertGone("e");
        assertGone("d/f");
    }

    @Test
    void theDiskHoldsTheCheckpointAllTheSame() throws Exception {
        Pin pin = tree.pin();
        checkpoint(pin, "echo 1 > a; echo 2 > b; mkdir e; echo 3 > e/c", "rm -r a b e");
        assertEquals(List.of(), atCheckpoint.differences(tree.afterPowerCut(reports::add)));
    }

    @Test
    void theNextCheckpointHasItNoMore() throws Exception {
        Pin pin = tree.pin();
        JournalSyncBack sync = checkpoint(pin, "echo 1 > a; echo 2 > b; mkdir e", "rm -r a b e");
        assertTrue(sync.checkpoint(pin).consistent());
        Snapshot now = tree.snapshot();
        assertEquals(List.of(), now.differences(tree.afterPowerCut(reports::add)));
        assertGone("a");
        assertGone("b");
        assertGone("e");
    }

    /** Who is listing the directory may have found the name gone, and not yet hidden. */
    @Test
    void whatHasBeenDeletedIsNotPutOnDisk() throws Exception {
        Pin pin = tree.pin();
        checkpoint(pin, "echo 1 > a; echo 2 > b; echo 3 > d/c", "rm -f a b d/c; echo 4 > e");
        String behind = disk.aside("behind").toString();
        Command.run("mount", "--bind", disk.root().toString(), behind);
        try {
            // One of them was on its way.
            Path target = Path.of(behind).resolve(disk.root().relativize(tree.path("")));
            long there =
                    Stream.of("a", "b", "d/c").filter(n -> Files.exists(target.resolve(n))).count();
            assertEquals(1, there);
        } finally {
            Command.run("umount", behind);
        }
    }
}
