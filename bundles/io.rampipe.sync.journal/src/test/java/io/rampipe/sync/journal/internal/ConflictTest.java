package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Conflict;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack;
import io.rampipe.linux.Fd;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.tree.RandomTree;
import io.rampipe.testkit.tree.Snapshot;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Others change the disk behind a pin, through another mount of it. */
@NeedsMounts
class ConflictTest {
    private static final String COPY = ".rampipe-conflict-" + PinnedTree.ID;

    private final List<String> reports = new ArrayList<>();
    private ScratchDisk disk;
    private PinnedTree tree;
    private Path behind;

    @BeforeEach
    void prepare() throws IOException {
        disk = ScratchDisk.ext4(32);
        tree = new PinnedTree(disk);
        Command.shell(
                "cd "
                        + tree.target
                        + "; for f in a b c; do echo disk $f > $f; done; mkdir d e;"
                        + " echo disk x > d/x; echo disk y > d/y; echo disk z > e/z;"
                        + " head -c 300000 /dev/urandom > big; echo disk l > l1; ln l1 l2");
        behind = disk.aside("behind");
        Command.run("mount", "--bind", disk.root().toString(), behind.toString());
        Command.run("mount", "--make-private", behind.toString());
    }

    @AfterEach
    void clean() throws IOException {
        try {
            tree.close();
            Command.run("umount", behind.toString());
        } finally {
            disk.close();
        }
    }

    private void ram(String script) throws IOException {
        Command.shell("cd " + tree.target + "; " + script);
    }

    private void others(String script) throws IOException {
        Command.shell("cd " + behind + "/home/target; " + script);
    }

    /** A fresh instance each time: nothing may depend on what one remembers. */
    private JournalSyncBack sync() {
        return new JournalSyncBack(Steps.NONE, reports::add);
    }

    private void checkpoint(Pin pin) throws IOException {
        assertTrue(sync().checkpoint(pin).consistent());
    }

    private void unpin(Pin pin) throws IOException {
        try (SyncBack.Last last = sync().begin(pin)) {
            tree.uncover();
            assertTrue(last.finish().consistent());
        }
    }

    private String disk(String name) throws IOException {
        return Files.readString(behind.resolve("home/target").resolve(name));
    }

    private List<String> names(String directory) throws IOException {
        try (Stream<Path> names = Files.list(behind.resolve("home/target").resolve(directory))) {
            return names.map(p -> p.getFileName().toString()).sorted().toList();
        }
    }

    private List<Conflict> conflicts() throws IOException {
        return sync().conflicts(List.of(FilePath.of(disk.root().toString())), List.of());
    }

    /** Exactly one conflict, about that path, with that copy. */
    private void assertReported(String path, String copy) throws IOException {
        List<Conflict> all = conflicts();
        assertEquals(1, all.size(), all.toString());
        assertEquals(tree.target.resolve(path), all.get(0).path(), all.toString());
        assertEquals(
                copy.isEmpty() ? FilePath.of("") : tree.target.resolve(copy),
                all.get(0).copy(),
                all.toString());
        assertEquals(1, reports.size(), reports.toString());
        assertTrue(reports.get(0).contains(path), reports.toString());
    }

    /** They go on with what they find there, which is what was in RAM. */
    @Test
    void whatProgramsDoOnDiskRightAfterTheUnmountIsNoConflict() throws Exception {
        Pin pin = tree.pin();
        JournalSyncBack sync = sync();
        ram("echo ram > a; rm b; mkdir n; echo ram > n/f; echo ram > e/z");
        assertTrue(sync.checkpoint(pin).consistent());
        try (SyncBack.Last last = sync.begin(pin)) {
            tree.uncover();
            ram("echo disk > new; mv new a; rm -r n; mv c b; mv e/z d/x");
            assertEquals(0, last.finish().files());
        }
        assertEquals("disk\n", disk("a"));
        assertEquals("disk c\n", disk("b"));
        assertEquals("ram\n", disk("d/x"));
        assertEquals(List.of("a", "b", "big", "d", "e", "l1", "l2"), names("."));
        assertEquals(List.of(), names("e"));
        assertEquals(List.of(), conflicts());
        assertEquals(List.of(), reports);
        assertEquals(List.of(), tree.leftovers());
    }

    @Test
    void whatOthersChangeBetweenTheLastCheckpointAndTheUnmountIsNoticed() throws Exception {
        Pin pin = tree.pin();
        JournalSyncBack sync = sync();
        ram("echo ram > a");
        assertTrue(sync.checkpoint(pin).consistent());
        others("echo others > a");
        try (SyncBack.Last last = sync.begin(pin)) {
            tree.uncover();
            assertTrue(last.finish().consistent());
        }
        assertEquals("others\n", disk("a"));
        assertEquals("ram\n", disk("a" + COPY));
        assertReported("a", "a" + COPY);
    }

    @Test
    void aFileChangedInPlace() throws Exception {
        Pin pin = tree.pin();
        ram("echo ram >> a");
        others("echo others >> a");
        unpin(pin);
        assertEquals("disk a\nothers\n", disk("a"));
        assertEquals("disk a\nram\n", disk("a" + COPY));
        assertReported("a", "a" + COPY);
        Files.delete(tree.path("a" + COPY));
        assertEquals(List.of(), conflicts());
    }

    /** Overlayfs takes it for gone with its only name, and says EIO to whoever meets it. */
    @Test
    void aRemovedFileUnderAnotherName() throws Exception {
        Pin pin = tree.pin();
        ram("echo ram >> d/x; rm d/x; mv d moved");
        others("mv d/x d/w");
        String seen = Command.shell("stat " + tree.path("moved/w") + " 2>&1 || true");
        assertTrue(seen.contains("Input/output error"), seen);
        checkpoint(pin);
        ram("echo more > b");
        checkpoint(pin);
        unpin(pin);
        assertEquals("more\n", disk("b"));
        assertEquals("disk y\n", disk("moved/y"));
        assertEquals("disk x\n", disk("moved/w"));
    }

    @Test
    void aFileReplacedByRename() throws Exception {
        Pin pin = tree.pin();
        ram("echo ram > new; chmod 640 new; chown 7:8 new; mv new a");
        others("echo others > new; mv new a");
        unpin(pin);
        assertEquals("others\n", disk("a"));
        assertEquals("ram\n", disk("a" + COPY));
        assertEquals(
                "640 7 8", Command.shell("stat -c '%a %u %g' " + tree.path("a" + COPY)).strip());
        assertReported("a", "a" + COPY);
    }

    @Test
    void aChangeOfTheModeAlone() throws Exception {
        Pin pin = tree.pin();
        ram("echo ram >> a");
        others("chmod 600 a");
        unpin(pin);
        assertEquals("disk a\n", disk("a"));
        assertEquals("disk a\nram\n", disk("a" + COPY));
        assertReported("a", "a" + COPY);
    }

    @Test
    void aFileCreatedOnBothSides() throws Exception {
        Pin pin = tree.pin();
        ram("echo ram > n");
        others("echo others > n");
        unpin(pin);
        assertEquals("others\n", disk("n"));
        assertEquals("ram\n", disk("n" + COPY));
        assertReported("n", "n" + COPY);
    }

    @Test
    void aFileRemovedThatChangedInRam() throws Exception {
        Pin pin = tree.pin();
        ram("echo ram >> a");
        others("rm a");
        unpin(pin);
        assertEquals("disk a\nram\n", disk("a"));
        assertReported("a", "");
    }

    @Test
    void aFileRenamedThatChangedInRam() throws Exception {
        Pin pin = tree.pin();
        ram("echo ram >> a");
        others("mv a m");
        unpin(pin);
        assertEquals("disk a\nram\n", disk("a"));
        assertEquals("disk a\n", disk("m"));
        assertReported("a", "");
    }

    @Test
    void aFileChangedThatWasRemovedInRam() throws Exception {
        Pin pin = tree.pin();
        ram("rm a");
        others("echo others >> a");
        checkpoint(pin);
        ram("echo more > b");
        checkpoint(pin);
        unpin(pin);
        assertEquals("disk a\nothers\n", disk("a"));
        assertReported("a", "");
    }

    @Test
    void aFileChangedThatWasRenamedInRam() throws Exception {
        Pin pin = tree.pin();
        ram("echo ram >> a; mv a m");
        others("echo others >> a");
        unpin(pin);
        assertEquals("disk a\nothers\n", disk("a"));
        assertEquals("disk a\nram\n", disk("m"));
        assertReported("a", "");
    }

    @Test
    void aNewFileInADirectoryThatWasRemovedInRam() throws Exception {
        Pin pin = tree.pin();
        ram("rm -r d");
        others("echo others > d/new");
        unpin(pin);
        assertEquals("others\n", disk("d/new"));
        assertReported("d", "");
    }

    @Test
    void aDirectoryRenamedWhoseFilesChangedInRam() throws Exception {
        Pin pin = tree.pin();
        ram("echo ram >> d/x");
        others("mv d moved");
        unpin(pin);
        assertEquals("disk x\nram\n", disk("d/x"));
        assertEquals("disk x\n", disk("moved/x"));
        assertEquals("disk y\n", disk("moved/y"));
        assertReported("d", "");
    }

    @Test
    void aDirectoryReplacedWhoseFilesChangedInRam() throws Exception {
        Pin pin = tree.pin();
        ram("echo ram >> d/x");
        others("mv d moved; mkdir d; echo others > d/x");
        checkpoint(pin);
        ram("echo more >> d/x");
        unpin(pin);
        assertEquals("others\n", disk("d/x"));
        assertEquals("disk x\nram\nmore\n", disk("d" + COPY + "/x"));
        assertEquals("disk x\n", disk("moved/x"));
        assertReported("d", "d" + COPY);
    }

    @Test
    void aDirectoryCreatedOnBothSides() throws Exception {
        Pin pin = tree.pin();
        ram("mkdir n; echo ram > n/f");
        others("mkdir n; echo others > n/f");
        unpin(pin);
        assertEquals("others\n", disk("n/f"));
        assertEquals("ram\n", disk("n" + COPY + "/f"));
        assertReported("n", "n" + COPY);
    }

    @Test
    void aDirectoryRemovedWhoseFilesChangedInRam() throws Exception {
        Pin pin = tree.pin();
        ram("echo ram >> d/x");
        others("rm -r d");
        unpin(pin);
        assertEquals("disk x\nram\n", disk("d/x"));
        assertEquals(List.of("x"), names("d"));
        assertReported("d", "");
    }

    @Test
    void aDirectoryRenamedOnBothSides() throws Exception {
        Pin pin = tree.pin();
        ram("mv d ours; echo ram >> ours/x");
        others("mv d theirs");
        unpin(pin);
        assertEquals("disk x\nram\n", disk("ours/x"));
        assertEquals("disk x\n", disk("theirs/x"));
        assertEquals("disk y\n", disk("theirs/y"));
        assertReported("ours", "");
    }

    /** It is not the one that was renamed, though a redirect leads there. */
    @Test
    void aDirectoryRemovedByOthersWhoseNameIsTakenAgainInRam() throws Exception {
        Pin pin = tree.pin();
        ram("mv d first; echo ram > first/one");
        others("rm -r d");
        checkpoint(pin);
        assertReported("first", "");
        ram("mv e d");
        checkpoint(pin);
        ram("echo d > d/new; echo two > first/two");
        checkpoint(pin);
        ram("mv d third; echo three > third/three");
        checkpoint(pin);
        unpin(pin);
        assertEquals(List.of("one", "two"), names("first"));
        assertEquals(List.of("new", "three", "z"), names("third"));
        assertEquals("two\n", disk("first/two"));
        assertEquals("disk z\n", disk("third/z"));
        assertFalse(Files.exists(tree.path("d")));
    }

    /** As by a daemon that was killed when all was applied. */
    @Test
    void directoriesRenamedToTakenNamesAreWholeWhenDoneAgain() throws Exception {
        Pin pin = tree.pin();
        ram("mv d f; mkdir n; mv e n/e");
        others("echo others > f; echo others > n");
        unpin(pin);
        assertEquals(List.of("x", "y"), names("f" + COPY));
        try (SyncBack.Last last = sync().begin(pin)) {
            assertTrue(last.finish().consistent());
        }
        assertEquals(List.of("x", "y"), names("f" + COPY));
        assertEquals(List.of("z"), names("n" + COPY + "/e"));
        assertEquals("others\n", disk("f"));
        assertEquals("others\n", disk("n"));
        assertEquals(2, conflicts().size(), conflicts().toString());
    }

    @Test
    void theModeOfADirectory() throws Exception {
        Pin pin = tree.pin();
        ram("echo ram >> d/x; chmod 711 d");
        others("chmod 700 d");
        checkpoint(pin);
        ram("echo more >> d/x");
        unpin(pin);
        assertEquals("700", Command.shell("stat -c %a " + tree.path("d")).strip());
        assertEquals("disk x\nram\nmore\n", disk("d/x"));
        assertReported("d", "");
    }

    @Test
    void linksOfAFileInTheIndex() throws Exception {
        Pin pin = tree.pin();
        // Both names stay below; the data is in the index alone.
        ram("echo ram >> l1; ln l1 l3; rm l3; mv l1 l4; mv l4 l1");
        others("echo others >> l2");
        unpin(pin);
        assertEquals("disk l\nothers\n", disk("l2"));
        boolean kept = false;
        for (Conflict c : conflicts()) {
            if (!c.copy().isEmpty()) {
                kept |= disk(c.copy().name().toString()).equals("disk l\nram\n");
            }
        }
        assertTrue(kept, conflicts().toString());
    }

    @Test
    void oneCopyIsKeptUpToDate() throws Exception {
        Pin pin = tree.pin();
        ram("echo ram >> a; printf ram | dd of=big bs=1 seek=70000 conv=notrunc 2>&1");
        others("echo others >> a; echo others >> big");
        for (int i = 0; i < 4; i++) {
            ram(
                    "echo "
                            + i
                            + " >> a; printf "
                            + i
                            + " | dd of=big bs=1 seek=9000 conv=notrunc 2>&1");
            checkpoint(pin);
            assertEquals(Files.readString(tree.path("a")), disk("a" + COPY));
        }
        ram("echo save > t; mv t a");
        checkpoint(pin);
        assertEquals("save\n", disk("a" + COPY));
        byte[] inRam = Files.readAllBytes(tree.path("big"));
        unpin(pin);
        assertEquals("disk a\nothers\n", disk("a"));
        assertEquals(
                -1, java.util.Arrays.mismatch(inRam, Files.readAllBytes(tree.path("big" + COPY))));
        assertEquals(2, names(".").stream().filter(n -> n.contains("conflict")).count());
        assertEquals(2, reports.size(), reports.toString());
        assertEquals(2, conflicts().size());
    }

    @Test
    void aCopyThatOthersHaveTakenIsLeftToThem() throws Exception {
        Pin pin = tree.pin();
        ram("echo ram >> a");
        others("echo others >> a; echo mine > a" + COPY);
        checkpoint(pin);
        ram("echo more >> a");
        others("echo edited >> a" + COPY + "-2");
        unpin(pin);
        assertEquals("mine\n", disk("a" + COPY));
        assertEquals("disk a\nram\nedited\n", disk("a" + COPY + "-2"));
        assertEquals("disk a\nram\nmore\n", disk("a" + COPY + "-3"));
    }

    @Test
    void whatAgreesIsNoConflict() throws Exception {
        Pin pin = tree.pin();
        ram("echo same >> a; touch -d @1000000000 a; echo ram >> b; rm c; echo ram > n");
        others(
                "echo same >> a; touch -d @1000000000 a; ln b link; rm link; ln b link2; rm c;"
                        + " echo untouched > only");
        checkpoint(pin);
        ram("echo more >> a");
        unpin(pin);
        assertEquals("disk a\nsame\nmore\n", disk("a"));
        assertEquals("untouched\n", disk("only"));
        assertEquals(
                List.of(),
                conflicts().stream().filter(c -> !c.path().name().toString().equals("b")).toList());
    }

    /** And the daemon dies anywhere after that; the next one applies the same log. */
    @Test
    void aNameTakenBetweenCommitAndPlacementHasOneCopy() throws Exception {
        Pin pin = tree.pin();
        boolean died = true;
        for (int n = 0; died; n++) {
            String name = "t" + n + ".";
            ram("echo ram > " + name + "1; ln " + name + "1 " + name + 2);
            int[] left = {-1};
            Steps die =
                    what -> {
                        if (what.equals("link") && left[0] < 0) {
                            try {
                                others("echo others > " + name + 1);
                            } catch (IOException e) {
                                throw new UncheckedIOException(e);
                            }
                            left[0] = Integer.parseInt(name.substring(1, name.length() - 1));
                        } else if (left[0] >= 0 && left[0]-- == 0) {
                            left[0] = Integer.MAX_VALUE;
                            throw new AssertionError(what);
                        }
                    };
            died = false;
            try {
                assertTrue(new JournalSyncBack(die, reports::add).checkpoint(pin).consistent());
            } catch (AssertionError e) {
                died = true;
                checkpoint(pin);
            }
            String at = "died at step " + n + " after others had taken the names";
            assertEquals(
                    List.of(name + 1, name + 1 + COPY, name + 2),
                    names(".").stream().filter(f -> f.startsWith(name)).toList(),
                    at);
            Path dir = behind.resolve("home/target");
            assertTrue(Files.isSameFile(dir.resolve(name + 1 + COPY), dir.resolve(name + 2)), at);
            assertEquals("others\n", disk(name + 1), at);
            assertEquals("ram\n", disk(name + 2), at);
        }
    }

    /** The daemon dies anywhere in a checkpoint; the next one takes over. */
    @Test
    void ourOwnChangesAreNone() throws Exception {
        long seed = Long.getLong("rampipe.test.seed", System.nanoTime());
        System.out.println("ConflictTest: -Drampipe.test.seed=" + seed);
        Random random = new Random(seed);
        Pin pin = tree.pin();
        for (int round = 0; round < 60; round++) {
            try (Fd root = tree.openTarget()) {
                new RandomTree(random, root).change(15);
            }
            int[] left = {random.nextInt(90)};
            Steps die =
                    what -> {
                        if (left[0]-- == 0) {
                            throw new AssertionError(what);
                        }
                    };
            try {
                assertTrue(new JournalSyncBack(die, reports::add).checkpoint(pin).consistent());
            } catch (AssertionError e) {
                // Dead. The next one begins with what is left.
                checkpoint(pin);
            }
        }
        Snapshot model = tree.snapshot();
        unpin(pin);
        assertEquals(List.of(), reports, "seed " + seed);
        assertEquals(List.of(), conflicts());
        assertEquals(List.of(), model.differences(tree.snapshot()), "seed " + seed);
        assertFalse(names(".").toString().contains("conflict"));
    }
}
