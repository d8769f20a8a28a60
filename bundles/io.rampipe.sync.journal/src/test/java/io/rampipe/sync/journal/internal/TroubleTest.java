package io.rampipe.sync.journal.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.DiskFullException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack;
import io.rampipe.linux.At;
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
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Full disks, hostile owners, damaged and planted logs. */
@NeedsMounts
class TroubleTest {
    private final List<String> reports = new ArrayList<>();

    private static Snapshot snapshot(Path directory) throws IOException {
        try (Fd fd = At.open(FilePath.of(directory.toString()), At.O_RDONLY | At.O_DIRECTORY)) {
            return Snapshot.of(fd);
        }
    }

    private void full(String change) throws Exception {
        try (ScratchDisk disk = ScratchDisk.ext4(32);
                PinnedTree tree = new PinnedTree(disk)) {
            try (Fd root = tree.openTarget()) {
                new RandomTree(new Random(5), root).build();
            }
            Command.shell("head -c 100000 /dev/urandom > " + tree.path("db"));
            Snapshot before = tree.snapshot();
            Pin pin = tree.pin();
            Command.shell("cd " + tree.target + "; " + change);
            Snapshot after = tree.snapshot();
            Command.shell("dd if=/dev/zero of=" + disk.root() + "/filler bs=64k 2>&1 || true");
            Command.shell("truncate -s -1M " + disk.root() + "/filler; sync");
            JournalSyncBack sync = new JournalSyncBack(Steps.NONE, reports::add);
            DiskFullException e = assertThrows(DiskFullException.class, () -> sync.checkpoint(pin));
            assertTrue(e.getMessage().contains(tree.target.toString()), e.getMessage());
            assertTrue(e.getMessage().contains("make room"), e.getMessage());
            assertTrue(
                    figure(e, "needed") > figure(e, "free"),
                    "more is free than needed: " + e.getMessage());
            assertEquals(List.of(), tree.leftovers());
            assertThrows(DiskFullException.class, () -> sync.begin(pin));
            assertEquals(List.of(), tree.leftovers());
            tree.uncover();
            assertEquals(List.of(), before.differences(tree.snapshot()), "the disk");
            tree.cover();
            assertEquals(List.of(), after.differences(tree.snapshot()), "RAM");
            tree.uncover();
            tree.remountDisk();
            assertEquals(List.of(), before.differences(tree.snapshot()), "the disk");
            Files.delete(disk.root().resolve("filler"));
            try (SyncBack.Last last = sync.begin(tree.describe(pin.target()))) {
                assertTrue(last.finish().consistent());
            }
            tree.remountDisk();
            assertEquals(List.of(), after.differences(tree.snapshot()));
            assertEquals(List.of(), tree.leftovers());
        }
    }

    /** Mebibytes that a message speaks of: "… 3.1 MiB are needed …". */
    private static double figure(Exception e, String which) {
        Matcher m = Pattern.compile("([0-9.]+) ([KM]?)(iB|B) are " + which).matcher(e.getMessage());
        assertTrue(m.find(), e.getMessage());
        double unit = m.group(2).equals("M") ? 1 : m.group(2).equals("K") ? 1 / 1024.0 : 0;
        return Double.parseDouble(m.group(1)) * unit;
    }

    @Test
    void aDiskThatFillsAfterTheUnmountHasRoomForTheLastSyncback() throws Exception {
        try (ScratchDisk disk = ScratchDisk.ext4(64);
                PinnedTree tree = new PinnedTree(disk)) {
            Command.shell("head -c 4000000 /dev/urandom > " + tree.path("db"));
            Pin pin = tree.pin();
            Command.shell(
                    "cd "
                            + tree.target
                            + "; head -c 3000000 /dev/urandom > new; mkdir d; cp new d/;"
                            + " head -c 2000000 /dev/urandom | dd of=db conv=notrunc 2>&1;"
                            + " head -c 1000000 /dev/urandom >> db; mkdir -p e/f; echo g > e/f/g");
            Snapshot after = tree.snapshot();
            JournalSyncBack sync = new JournalSyncBack(Steps.NONE, reports::add);
            try (SyncBack.Last last = sync.begin(pin)) {
                tree.uncover();
                Command.shell("dd if=/dev/zero of=" + disk.root() + "/filler bs=4k 2>&1 || true");
                assertTrue(last.finish().consistent());
            }
            tree.remountDisk();
            assertEquals(List.of(), after.differences(tree.snapshot()));
            assertEquals(List.of(), tree.leftovers());
        }
    }

    @Test
    void aReadOnlyDiskKeepsItsStateAndSaysWhatToDo() throws Exception {
        try (ScratchDisk disk = ScratchDisk.ext4(32);
                PinnedTree tree = new PinnedTree(disk)) {
            try (Fd root = tree.openTarget()) {
                new RandomTree(new Random(6), root).build();
            }
            Snapshot before = tree.snapshot();
            Pin pin = tree.pin();
            Command.shell("cd " + tree.target + "; echo new > new; rm -rf a; mkdir moved");
            Snapshot after = tree.snapshot();
            Command.shell("mount -o remount,ro " + disk.root());
            JournalSyncBack sync = new JournalSyncBack(Steps.NONE, reports::add);
            for (Executable call :
                    List.<Executable>of(() -> sync.checkpoint(pin), () -> sync.begin(pin))) {
                IOException e = assertThrows(IOException.class, call);
                for (String part :
                        List.of(
                                tree.target.toString(),
                                "read-only",
                                "mount -o remount,rw " + disk.root())) {
                    assertTrue(e.getMessage().contains(part), e.getMessage());
                }
            }
            assertEquals(List.of(), after.differences(tree.snapshot()), "RAM");
            Command.shell("mount -o remount,rw " + disk.root());
            tree.uncover();
            assertEquals(List.of(), before.differences(tree.snapshot()), "the disk");
            try (SyncBack.Last last = sync.begin(pin)) {
                assertTrue(last.finish().consistent());
            }
            tree.remountDisk();
            assertEquals(List.of(), after.differences(tree.snapshot()));
            assertEquals(List.of(), tree.leftovers());
        }
    }

    @Test
    void aFullDiskKeepsItsStateWhenFilesAreNew() throws Exception {
        full("head -c 3000000 /dev/urandom > new; mkdir x; mv b x/; rm a");
    }

    @Test
    void aFullDiskKeepsItsStateWhenFilesGrow() throws Exception {
        full("head -c 2000000 /dev/urandom >> db; echo >> c");
    }

    @Test
    void swappedFilesAndDirectoriesLeadNowhere() throws Exception {
        try (ScratchDisk disk = ScratchDisk.ext4(32);
                PinnedTree tree = new PinnedTree(disk)) {
            Path outside = Files.createDirectories(disk.root().resolve("outside"));
            Command.shell("cd " + outside + "; echo secret > f; mkdir sub; echo more > sub/g");
            Command.shell(
                    "cd "
                            + tree.target
                            + "; head -c 20000 /dev/urandom > f; head -c 20000 /dev/urandom > h;"
                            + " mkdir sub gone; head -c 9000 /dev/urandom > sub/g; echo i > sub/i;"
                            + " echo j > gone/j; echo k > k");
            Pin pin = tree.pin();
            Command.shell(
                    "cd "
                            + tree.target
                            + "; printf changed | dd of=f conv=notrunc 2>&1;"
                            + " printf changed | dd of=sub/g conv=notrunc 2>&1;"
                            + " chmod 777 f h sub sub/i; echo new > sub/new; rm -r gone;"
                            + " echo other > sub/i; rm k; echo fresh > fresh");
            tree.uncover();
            String merged = Files.readString(tree.upperPath().resolve("sub/new"));
            Snapshot before = snapshot(outside);
            Steps swap =
                    what -> {
                        if (what.endsWith(": commit")) {
                            try {
                                Command.shell(
                                        "cd "
                                                + tree.target
                                                + "; mv f f.mine; ln -s "
                                                + outside
                                                + "/f f; rm h; ln "
                                                + outside
                                                + "/f h; mv sub sub.mine; ln -s "
                                                + outside
                                                + "/sub sub; rm -r gone; ln -s "
                                                + outside
                                                + " gone; ln -s "
                                                + outside
                                                + "/f fresh; ln -sf "
                                                + outside
                                                + "/f k");
                            } catch (IOException e) {
                                throw new UncheckedIOException(e);
                            }
                        }
                    };
            JournalSyncBack sync = new JournalSyncBack(swap, reports::add);
            try (SyncBack.Last last = sync.begin(pin)) {
                assertTrue(last.finish().consistent());
            }
            List<String> differences = new ArrayList<>(before.differences(snapshot(outside)));
            differences.removeIf(d -> d.startsWith("f is") && d.contains("linked"));
            assertEquals(List.of(), differences);
            assertEquals(
                    List.of(),
                    snapshot(outside).oddlyLinked().stream()
                            .filter(n -> !n.equals(FilePath.of("f")))
                            .toList());
            assertFalse(reports.isEmpty());
            String names = Command.shell("cd " + tree.target + "; ls");
            for (String kept : List.of("f", "fresh", "g", "new")) {
                assertTrue(
                        names.contains(kept + ".rampipe-conflict-test1"),
                        kept + " is not kept among " + names + reports);
            }
            assertEquals(merged, Files.readString(tree.path("new.rampipe-conflict-test1")), names);
            assertTrue(
                    Files.readString(
                                    tree.path("f.rampipe-conflict-test1"),
                                    java.nio.charset.StandardCharsets.ISO_8859_1)
                            .startsWith("changed"));
            assertTrue(Files.isSymbolicLink(tree.path("f")));
            assertTrue(Files.isSymbolicLink(tree.path("gone")));
        }
    }

    @Test
    void aDamagedLogIsSetAsideAndNotApplied() throws Exception {
        try (ScratchDisk disk = ScratchDisk.ext4(32);
                PinnedTree tree = new PinnedTree(disk)) {
            Command.shell("head -c 50000 /dev/urandom > " + tree.path("f"));
            Snapshot before = tree.snapshot();
            Pin pin = tree.pin();
            Command.shell("echo changed | dd conv=notrunc of=" + tree.path("f") + " 2>&1");
            Command.shell("mv " + tree.path("f") + " " + tree.path("g"));
            // Until after the commit.
            Steps stop =
                    what -> {
                        if (what.startsWith("fsync of the log")) {
                            throw new AssertionError(what);
                        }
                    };
            assertThrows(
                    AssertionError.class,
                    () -> new JournalSyncBack(stop, reports::add).checkpoint(pin));
            tree.uncover();
            Path log = disk.root().resolve(".rampipe/test1.redo");
            Command.shell("printf x | dd bs=1 seek=200 conv=notrunc of=" + log + " 2>&1");
            List<String> lines =
                    new JournalSyncBack(Steps.NONE, reports::add)
                            .recover(List.of(tree.target), List.of());
            assertTrue(lines.toString().contains("damaged"), lines.toString());
            assertEquals(List.of(), before.differences(tree.snapshot()));
            assertTrue(Files.exists(log.resolveSibling("test1.redo.damaged-1")));
            assertFalse(Files.exists(log));
        }
    }

    @Test
    void aPlantedDirectoryIsRefused() throws Exception {
        for (String plant :
                List.of(
                        "mkdir -m 755 .rampipe",
                        "mkdir -m 700 .rampipe; chown 1000:1000 .rampipe",
                        "mkdir -m 700 real; ln -s real .rampipe",
                        "mkdir -m 700 .rampipe; mount -t tmpfs -o mode=755 none .rampipe;"
                                + " chmod 755 .rampipe; umount .rampipe; chmod 711 .rampipe")) {
            try (ScratchDisk disk = ScratchDisk.ext4(16);
                    PinnedTree tree = new PinnedTree(disk)) {
                Command.shell("cd " + disk.root() + "; " + plant);
                Pin pin = tree.pin();
                Command.shell("echo x > " + tree.path("f"));
                IOException e =
                        assertThrows(
                                IOException.class,
                                () ->
                                        new JournalSyncBack(Steps.NONE, reports::add)
                                                .checkpoint(pin));
                assertTrue(e.getMessage().contains("is not RamPipe's"), e.getMessage());
            }
        }
    }
}
