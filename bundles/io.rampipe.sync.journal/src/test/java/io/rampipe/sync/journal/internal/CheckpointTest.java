package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack;
import io.rampipe.api.SyncBack.Result;
import io.rampipe.api.Target;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.tree.Snapshot;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Checkpoints of live targets, and the handover at the end. */
@NeedsMounts
class CheckpointTest {
    private final List<String> reports = new ArrayList<>();
    private ScratchDisk disk;
    private PinnedTree tree;

    @BeforeEach
    void prepare() throws IOException {
        disk = ScratchDisk.ext4(64);
        tree = new PinnedTree(disk);
        in("head -c 10000000 /dev/urandom > big; echo small > small; mkdir d; echo x > d/x");
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

    private JournalSyncBack sync(Steps steps) {
        return new JournalSyncBack(steps, reports::add);
    }

    /** A daemon that finds all of it on disk already, and the mount gone, writes nothing. */
    @Test
    void whatIsKeptForAMountGoesWithThePin() throws Exception {
        Pin pin = tree.pin();
        in("mv d renamed; rm -r renamed");
        assertTrue(sync(Steps.NONE).checkpoint(pin).consistent());
        assertNotEquals(List.of(), tree.leftovers(), "an emptied directory");
        tree.uncover();
        sync(Steps.NONE).forget(pin);
        assertEquals(List.of(), tree.leftovers());
    }

    /** What would be there after a power cut now. */
    @Test
    void onlyChangedBlocksAreWritten() throws Exception {
        Pin pin = tree.pin();
        JournalSyncBack sync = sync(Steps.NONE);
        in("echo start >> big");
        Result first = sync.checkpoint(pin);
        assertTrue(first.bytes() <= 8192, first.toString());
        in("printf changed | dd of=big bs=1 seek=5000000 conv=notrunc 2>&1");
        assertTrue(sync.dirty(pin).bytes() >= 10_000_000);
        Result second = sync.checkpoint(pin);
        assertEquals(4096, second.bytes());
        assertTrue(second.written() < 3 * 4096, second.toString());
        assertEquals(new SyncBack.Dirty(0, 0, 0), sync.dirty(pin));
        assertEquals(new Result(true, 0, 0, 0), sync.checkpoint(pin));
        Snapshot model = tree.snapshot();
        assertEquals(List.of(), model.differences(tree.afterPowerCut(reports::add)));
    }

    @Test
    void aFreshInstanceWritesNothingTwice() throws Exception {
        Pin pin = tree.pin();
        in("echo y > d/y; rm small; mkdir e; echo z > e/z; touch big");
        assertTrue(sync(Steps.NONE).checkpoint(pin).files() > 0);
        assertEquals(new Result(true, 0, 0, 0), sync(Steps.NONE).checkpoint(pin));
        Snapshot model = tree.snapshot();
        assertEquals(List.of(), model.differences(tree.afterPowerCut(reports::add)));
    }

    @Test
    void aRenamedDirectoryIsMovedOnDiskAtOnce() throws Exception {
        Pin pin = tree.pin();
        JournalSyncBack sync = sync(Steps.NONE);
        in("mv d renamed; echo more >> renamed/x; echo two > small");
        Snapshot before = tree.snapshot();
        assertTrue(sync.checkpoint(pin).consistent());
        assertEquals(List.of(), before.differences(tree.snapshot()));
        Path log = disk.root().resolve(".rampipe/test1.redo");
        assertFalse(Files.exists(log));
        assertEquals(new Result(true, 0, 0, 0), sync.checkpoint(pin));
        in("echo three > small");
        assertTrue(sync.checkpoint(pin).consistent());
        Snapshot model = tree.snapshot();
        assertEquals(List.of(), model.differences(tree.afterPowerCut(reports::add)));
    }

    @Test
    void renamedDirectoriesForWhichThereIsNoRoomInRamWait() throws Exception {
        in("for d in 1 2 3 4; do mkdir $d; head -c 3000000 /dev/urandom > $d/f; done; sync -f .");
        Pin pin = tree.pin();
        Path pool = tree.upperPath().getParent();
        Command.run("mount", "-o", "remount,size=12M", pool.toString());
        in("for d in 1 2 3 4; do mv $d moved$d; done");
        Snapshot model = tree.snapshot();
        assertTrue(sync(Steps.NONE).checkpoint(pin).consistent());
        assertEquals(List.of(), model.differences(tree.snapshot()));
        // Programs have more than any of them takes.
        assertTrue(pool.toFile().getUsableSpace() > 3_000_000, "RAM is full");
        assertTrue(Files.exists(disk.root().resolve(".rampipe/test1.redo")));
        assertEquals(List.of(), model.differences(tree.afterPowerCut(reports::add)));
    }

    @Test
    void aRenamedDirectoryWithARunningProgramWaits() throws Exception {
        in("mkdir e; echo x > e/a; cp /bin/sleep e/program; echo x > e/z; sync -f .");
        Pin pin = tree.pin();
        JournalSyncBack sync = sync(Steps.NONE);
        Process program = new ProcessBuilder(tree.path("e/program").toString(), "600").start();
        Path log = disk.root().resolve(".rampipe/test1.redo");
        try {
            Await.until(
                    Duration.ofSeconds(10),
                    () ->
                            Files.readSymbolicLink(Path.of("/proc/" + program.pid() + "/exe"))
                                    .endsWith("program"),
                    () -> "it does not run");
            in("mv e renamed");
            assertTrue(sync.checkpoint(pin).consistent());
            assertTrue(Files.exists(log));
        } finally {
            program.destroyForcibly().waitFor();
        }
        in("echo two > small");
        Snapshot model = tree.snapshot();
        assertTrue(sync.checkpoint(pin).consistent());
        assertFalse(Files.exists(log));
        assertEquals(List.of(), model.differences(tree.afterPowerCut(reports::add)));
    }

    @Test
    void aRenameTakenBackTakesBackTheLog() throws Exception {
        Pin pin = tree.pin();
        JournalSyncBack sync = sync(Steps.NONE);
        in("mv d renamed");
        assertTrue(sync.checkpoint(pin).consistent());
        in("mv renamed d");
        assertTrue(sync.checkpoint(pin).consistent());
        Snapshot model = tree.snapshot();
        assertEquals(List.of(), model.differences(tree.afterPowerCut(reports::add)));
    }

    @Test
    void whatChangesWhileTheLogIsWrittenIsNotInIt() throws Exception {
        Pin pin = tree.pin();
        in("echo changed > small; echo new > new; printf x | dd of=big conv=notrunc 2>&1");
        Snapshot before = tree.snapshot();
        Steps meddle =
                what -> {
                    try {
                        in(
                                "echo x >> d/x; if [ -e new ]; then mv new newer; fi; echo >> small; rm -f big");
                    } catch (IOException e) {
                        throw new UncheckedIOException(e);
                    }
                };
        assertTrue(sync(meddle).checkpoint(pin).consistent());
        assertEquals(List.of(), before.differences(tree.afterPowerCut(reports::add)));
    }

    @Test
    void writesThroughMappingsAreFound() throws Exception {
        Pin pin = tree.pin();
        JournalSyncBack sync = sync(Steps.NONE);
        try (FileChannel f =
                FileChannel.open(
                        tree.path("big"), StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MappedByteBuffer map = f.map(FileChannel.MapMode.READ_WRITE, 0, 1 << 20);
            for (int i = 1; i < 4; i++) {
                map.put(70_000, (byte) i);
                assertTrue(sync.checkpoint(pin).consistent());
                Snapshot model = tree.snapshot();
                try (Disk.Place place = Disk.find(Disk.Identity.of(pin), Steps.NONE)) {
                    assertEquals(
                            List.of(),
                            model.differences(Snapshot.of(place.directory())),
                            "write " + i);
                }
            }
            // Java has no way to end a mapping.
            tree.uncoverLazily();
        }
    }

    @Test
    void ofAFileTargetOnlyTheFileChanges() throws Exception {
        tree.pin();
        Snapshot before;
        in("printf changed | dd of=big conv=notrunc 2>&1; echo other >> small; chmod 700 .");
        Snapshot merged = tree.snapshot();
        tree.uncover();
        before = tree.snapshot();
        Pin pin = tree.describe(Target.file(tree.target.resolve("big")));
        try (SyncBack.Last last = sync(Steps.NONE).begin(pin)) {
            Result result = last.finish();
            assertEquals(4096, result.bytes());
        }
        Snapshot after = tree.snapshot();
        FilePath big = FilePath.of("big");
        assertEquals(merged.entries().get(big), after.entries().get(big));
        before.entries().remove(big);
        after.entries().remove(big);
        assertEquals(List.of(), before.differences(after));
    }

    @Test
    void openersWaitForTheLastSync() throws Exception {
        Pin pin = tree.pin();
        in("echo in RAM > small");
        Process reader;
        try (SyncBack.Last last = sync(Steps.NONE).begin(pin)) {
            tree.uncover();
            reader = new ProcessBuilder("cat", tree.path("small").toString()).start();
            // It waits in open(2), before it has the file: the lease is ours.
            String own = " " + ProcessHandle.current().pid() + " ";
            Await.until(
                    Duration.ofSeconds(10),
                    () ->
                            Files.readAllLines(Path.of("/proc/locks")).stream()
                                    .anyMatch(l -> l.contains("BREAKING") && l.contains(own)),
                    () -> "nobody waits for the lease");
            assertTrue(last.finish().consistent());
            assertTrue(reader.isAlive());
        }
        assertTrue(reader.waitFor(10, TimeUnit.SECONDS));
        assertEquals("in RAM\n", new String(reader.getInputStream().readAllBytes()));
    }

    @Test
    void whatChangedSinceTheBeginningIsFinishedToo() throws Exception {
        Pin pin = tree.pin();
        JournalSyncBack sync = sync(Steps.NONE);
        in("echo one > one");
        assertTrue(sync.checkpoint(pin).consistent());
        Snapshot model;
        try (SyncBack.Last last = sync.begin(pin)) {
            in("echo two > two; echo more >> one");
            model = tree.snapshot();
            tree.uncover();
            assertTrue(last.finish().consistent());
        }
        assertEquals(List.of(), model.differences(tree.snapshot()));
    }
}
