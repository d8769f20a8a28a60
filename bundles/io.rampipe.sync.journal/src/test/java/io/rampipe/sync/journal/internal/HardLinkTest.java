package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Pin;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.tree.Snapshot;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * overlayfs keeps the number of links of a file in its index as a difference to the file on disk:
 * names that come and go there under its feet would make it count wrong, give up the file too
 * early, and fail with EIO.
 */
@NeedsMounts
class HardLinkTest {
    private final List<String> reports = new ArrayList<>();
    private ScratchDisk disk;
    private PinnedTree tree;

    @BeforeEach
    void prepare() throws IOException {
        disk = ScratchDisk.ext4(64);
        tree = new PinnedTree(disk);
        Command.shell("cd " + tree.target + "; echo one > a; ln a b; ln a c; mkdir d; ln a d/e");
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

    private void in(String script) throws IOException {
        Command.shell("cd " + tree.target + "; " + script);
    }

    /** The kernel forgets what it knows of files that nobody uses, and counts anew. */
    private static void forget() throws IOException {
        Files.writeString(Path.of("/proc/sys/vm/drop_caches"), "2");
    }

    @Test
    void namesRemovedInRamDoNotTakeOthersAlong() throws Exception {
        Pin pin = tree.pin();
        JournalSyncBack sync = new JournalSyncBack(Steps.NONE, reports::add);
        in("echo two >> a; rm b; echo three >> c");
        assertTrue(sync.checkpoint(pin).consistent());
        forget();
        in("rm a");
        forget();
        in("echo four >> c; cat d/e");
        assertTrue(sync.checkpoint(pin).consistent());
        forget();
        in("rm c; cat d/e; echo five >> d/e");
        Snapshot model = tree.snapshot();
        assertTrue(sync.checkpoint(pin).consistent());
        assertEquals(List.of(), model.differences(tree.afterPowerCut(reports::add)));
        assertEquals("one\ntwo\nthree\nfour\nfive\n", Files.readString(tree.path("d/e")));
    }

    @Test
    void namesAddedInRamAreNotMissed() throws Exception {
        Pin pin = tree.pin();
        JournalSyncBack sync = new JournalSyncBack(Steps.NONE, reports::add);
        in("ln a f; echo two >> b");
        assertTrue(sync.checkpoint(pin).consistent());
        forget();
        in("rm f; echo three >> c");
        assertTrue(sync.checkpoint(pin).consistent());
        forget();
        in("rm a; rm b");
        forget();
        in("cat c; rm c; cat d/e; ln d/e g; rm d/e; cat g");
        Snapshot model = tree.snapshot();
        assertTrue(sync.checkpoint(pin).consistent());
        assertEquals(List.of(), model.differences(tree.afterPowerCut(reports::add)));
        assertEquals("one\ntwo\nthree\n", Files.readString(tree.path("g")));
    }

    /**
     * What was opened under a name that is gone by now, so that upper has none, and the disk one.
     */
    @Test
    void theLastNameIsNotMissed() throws Exception {
        Pin pin = tree.pin();
        JournalSyncBack sync = new JournalSyncBack(Steps.NONE, reports::add);
        try (OutputStream open = Files.newOutputStream(tree.path("a"), StandardOpenOption.APPEND)) {
            open.write("two\n".getBytes(StandardCharsets.US_ASCII));
            in("rm a b c");
            assertTrue(sync.checkpoint(pin).consistent());
            open.write("three\n".getBytes(StandardCharsets.US_ASCII));
        }
        Snapshot model = tree.snapshot();
        assertTrue(sync.checkpoint(pin).consistent());
        assertEquals(List.of(), model.differences(tree.afterPowerCut(reports::add)));
        assertEquals("one\ntwo\nthree\n", Files.readString(tree.path("d/e")));
    }
}
