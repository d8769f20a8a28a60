package io.rampipe.pin.overlayfs.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.BusyException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy.Estimate;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Baseline;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.Stat;
import io.rampipe.linux.Xattrs;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Pin, unmount, remount, discard. */
@NeedsMounts
class PinningTest {
    private Bench bench;

    @BeforeEach
    void open() throws IOException {
        bench = new Bench();
    }

    @AfterEach
    void close() throws Exception {
        bench.close();
    }

    @Test
    void worksHere() {
        assertEquals(Optional.empty(), bench.strategy.unusable());
    }

    @Test
    void writesToAPinnedDirectoryStayInRam() throws Exception {
        Path dir = bench.directory("d");
        Pin pin = bench.pin(dir, "a", "sub/c", "gone");
        assertTrue(bench.strategy.mounted(pin));
        assertEquals(Pin.Step.PINNED, pin.step());
        assertEquals(
                List.of(Pin.Step.PREPARING, Pin.Step.MOUNTING, Pin.Step.PINNED),
                bench.journal.stream().map(Pin::step).toList());
        assertEquals(pin, bench.journal.get(2));
        Path upper = Path.of(pin.path(Pin.UPPER).toString());
        assertTrue(Files.exists(upper.resolve("a")), "hot files are copied up");
        assertTrue(Files.exists(upper.resolve("sub/c")));
        assertFalse(Files.exists(upper.resolve("b")), "cold ones are not");
        Files.writeString(dir.resolve("a"), "changed\n");
        Files.writeString(dir.resolve("new"), "new\n");
        bench.strategy.unmount(pin);
        assertFalse(bench.strategy.mounted(pin));
        assertEquals("alpha\n", Files.readString(dir.resolve("a")));
        assertFalse(Files.exists(dir.resolve("new")));
        Pin again = bench.strategy.remount(pin);
        assertTrue(bench.strategy.mounted(again));
        assertEquals("changed\n", Files.readString(dir.resolve("a")));
        assertEquals("new\n", Files.readString(dir.resolve("new")));
        assertEquals(again, bench.strategy.remount(again), "idempotent");
        bench.strategy.unmount(again);
        bench.strategy.unmount(again);
        bench.strategy.discard(again);
        bench.strategy.discard(again);
        assertEquals(0, Bench.mounts());
        assertEquals(0, bench.pool.resolve(pin.id()).toFile().list().length);
    }

    /** Starts a program that goes on when the file system is thawed. */
    private static String held(String command) throws Exception {
        String pid = Command.shell(command + " >/dev/null 2>&1 & echo $!").strip();
        Path stat = Path.of("/proc", pid, "stat");
        Await.until(
                Duration.ofSeconds(20),
                () -> Files.readString(stat).contains(") D "),
                () -> command + " does not wait for the frozen file system");
        return pid;
    }

    /** It waits for no lease and has nothing open, and makes its directory on disk all the same. */
    @Test
    void whoFoundTheDirectoryOnDiskBeforeIsWaitedFor() throws Exception {
        Path dir = bench.directory("d");
        Path late = dir.resolve("late");
        Command.run("fsfreeze", "--freeze", bench.disk.root().toString());
        try {
            String pid = held("mkdir " + late);
            RefusedException e = assertThrows(RefusedException.class, () -> bench.pin(dir, "a"));
            assertEquals(Cause.IN_USE, e.refusal().cause());
            assertTrue(e.getMessage().contains("process " + pid + " (mkdir)"), e.getMessage());
        } finally {
            Command.run("fsfreeze", "--unfreeze", bench.disk.root().toString());
        }
        assertEquals(0, Bench.mounts());
        Await.until(Duration.ofSeconds(20), () -> Files.isDirectory(late), () -> "no directory");
        Pin pin = bench.pin(dir, "a");
        assertTrue(Files.isDirectory(late));
        bench.strategy.unmount(pin);
        bench.strategy.discard(pin);
    }

    /** So that the overlay cannot be taken away any more when it is noticed. */
    @Test
    void whatIsChangedOnDiskWhileProgramsAreInTheOverlayCameFirst() throws Exception {
        Path dir = bench.directory("d");
        CompletableFuture<Pin> pinning;
        Command.run("fsfreeze", "--freeze", bench.disk.root().toString());
        try {
            held("mv " + dir.resolve("b") + " " + dir.resolve("late"));
            pinning = CompletableFuture.supplyAsync(() -> pin(dir));
            Await.until(Duration.ofSeconds(20), () -> Bench.mounts() == 1, () -> "not mounted");
            Files.writeString(dir.resolve("new"), "new\n");
        } finally {
            Command.run("fsfreeze", "--unfreeze", bench.disk.root().toString());
        }
        Pin pin = pinning.get(20, TimeUnit.SECONDS);
        assertFalse(pin.attributes().containsKey(Pin.BYPASSED));
        assertEquals("new\n", Files.readString(dir.resolve("new")));
        assertTrue(Files.exists(dir.resolve("late")));
        assertFalse(Files.exists(dir.resolve("b")));
        Baseline baseline = Baseline.load(pin.path(Pin.BASELINE)).orElseThrow();
        bench.strategy.unmount(pin);
        try (Fd lower = At.open(FilePath.of(dir.toString()), At.O_RDONLY | At.O_DIRECTORY)) {
            FilePath late = FilePath.of("late");
            assertTrue(baseline.same(Stat.of(lower).inode(), late, Stat.at(lower, late)));
        }
        bench.strategy.discard(pin);
    }

    /** A daemon is killed when it has mounted and not looked again; the next one does. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "true  | mv b late; echo made > made | echo new > new; echo more >> made",
                "true  | echo made > made | mv made moved; rm b",
                "true  | rm b | echo mine > b",
                "true  | echo late > sub/late | mv sub moved; rm moved/late",
                "true  | echo late > sub/late | mv sub moved; mv moved sub; echo more >> sub/late",
                "true  | echo late > sub/late | mv sub moved; mkdir sub",
                "false | echo late > sub/late | rm -r sub; mkdir sub",
                "false | rm -r sub | echo new > new",
                "false | rm a | true",
                "false | sleep 0.05; echo theirs > a | true"
            })
    void aPinThatWasCutShortIsLookedAtAgain(boolean fine, String onDisk, String inOverlay)
            throws Exception {
        Path dir = bench.directory("d");
        Path behind = bench.disk.aside("behind");
        Pin pin = bench.pin(dir, "a");
        Command.run("mount", "--bind", bench.disk.root().toString(), behind.toString());
        try {
            Command.shell("cd " + behind.resolve("d") + "; " + onDisk + "; sleep 0.05");
            Command.shell("cd " + dir + "; " + inOverlay);
        } finally {
            Command.run("umount", behind.toString());
        }
        Pin adopted = bench.strategy.adopt(pin);
        assertEquals(!fine, adopted.attributes().containsKey(Pin.BYPASSED));
        bench.strategy.unmount(pin);
        bench.strategy.discard(pin);
    }

    private Pin pin(Path dir) {
        try {
            return bench.pin(dir, "a");
        } catch (Exception e) {
            throw new CompletionException(e);
        }
    }

    @Test
    void theRecordIdentifiesTheLowerDirectory() throws Exception {
        Path dir = bench.directory("d");
        long inode = (Long) Files.getAttribute(dir, "unix:ino");
        Pin pin = bench.pin(dir, "a");
        assertEquals(Long.toString(inode), pin.attribute(Pin.LOWER_INODE));
        assertTrue(FileHandle.parse(pin.attribute(Pin.LOWER_HANDLE)).bytes().length > 0);
        assertTrue(pin.attribute(Pin.LOWER_DEVICE).startsWith("7:"), "a loop device");
        String line =
                Files.readAllLines(Path.of("/proc/self/mountinfo")).stream()
                        .filter(l -> l.contains(" rampipe:" + pin.id() + " "))
                        .findFirst()
                        .orElseThrow();
        assertEquals(line.split(" ")[0], pin.attribute(Pin.MOUNT));
        assertTrue(line.contains("index=on") && line.contains("nfs_export=on"), line);
        assertTrue(line.contains("redirect_dir=on"), line);
        assertFalse(pin.attributes().containsKey(Pin.HIDDEN));
        assertFalse(pin.attributes().containsKey(Pin.BYPASSED));
    }

    @Test
    void theRootKeepsOwnerModeTimesAclAndAttributes() throws Exception {
        Path dir = bench.directory("d");
        Command.shell(
                "cd "
                        + dir
                        + "; chown 1234:4321 .; chmod 2751 .; touch -d '2001-02-03 04:05:06.789' .");
        try (Fd fd = At.open(Bench.path(dir), At.O_RDONLY)) {
            Xattrs.set(fd, "user.note", "x".getBytes());
            Xattrs.set(fd, "trusted.note", "y".getBytes());
            // version 2; user::rwx user:99:r-x group::r-x mask::r-x other::--x
            Xattrs.set(
                    fd,
                    "system.posix_acl_access",
                    HexFormat.of()
                            .parseHex(
                                    "02000000"
                                            + "01000700ffffffff"
                                            + "0200050063000000"
                                            + "04000500ffffffff"
                                            + "10000500ffffffff"
                                            + "20000100ffffffff"));
        }
        String stat = "stat -c '%a %u %g %Y %y %F' " + dir;
        String before = Command.shell(stat);
        String attributes = attributes(dir);
        Pin pin = bench.pin(dir, "a");
        assertEquals(before, Command.shell(stat));
        assertEquals(attributes, attributes(dir));
        bench.strategy.unmount(pin);
        assertEquals(before, Command.shell(stat));
    }

    private static String attributes(Path dir) throws IOException {
        StringBuilder all = new StringBuilder();
        try (Fd fd = At.open(Bench.path(dir), At.O_RDONLY)) {
            for (String name : Xattrs.list(fd).stream().sorted().toList()) {
                all.append(name)
                        .append('=')
                        .append(HexFormat.of().formatHex(Xattrs.get(fd, name).orElseThrow()))
                        .append('\n');
            }
        }
        return all.toString();
    }

    @Test
    void mountFlagsAreThoseOfTheDisk() throws Exception {
        bench.disk.unmount();
        bench.disk.mount("nosuid", "nodev", "noexec", "noatime");
        Path dir = bench.directory("d");
        bench.pin(dir, "a");
        String flags =
                Files.readAllLines(Path.of("/proc/self/mountinfo")).stream()
                        .filter(l -> l.contains(" rampipe:"))
                        .findFirst()
                        .orElseThrow()
                        .split(" ")[5];
        assertEquals("rw,nosuid,nodev,noexec,noatime", flags);
    }

    @Test
    void hostileNamesAreNoProblem() throws Exception {
        Command.shell(
                "cd "
                        + bench.disk.root()
                        + "; d=\"$(printf 'x,y:z\\\\\\n\\377 w')\"; mkdir \"$d\"; cd \"$d\";"
                        + " echo 1 > \"$(printf '\\n\\376,:')\"; mkdir ' '; echo 2 > ' /--'");
        FilePath name = FilePath.ofRaw("x,y:z\\\n\u00ff w");
        Target target = Target.directory(Bench.path(bench.disk.root()).resolve(name));
        Pin pin = bench.pin(target, " /--");
        assertTrue(bench.strategy.mounted(pin));
        Command.shell(
                "cd "
                        + bench.disk.root()
                        + "; for f in x*/' /--'; do echo 3 > \"$f\"; done; rm x*/*:");
        bench.strategy.unmount(pin);
        assertEquals("2\n", Command.shell("cat " + bench.disk.root() + "/x*/' /--'"));
        pin = bench.strategy.remount(pin);
        assertEquals("3\n", Command.shell("cat " + bench.disk.root() + "/x*/' /--'"));
        bench.strategy.unmount(pin);
        bench.strategy.discard(pin);
    }

    @Test
    void aRenamedParentIsFoundAgain() throws Exception {
        Path dir = bench.directory("one/d");
        Pin pin = bench.pin(dir, "a");
        Files.writeString(dir.resolve("a"), "ram\n");
        Path moved = bench.disk.root().resolve("two");
        Files.move(dir.getParent(), moved);
        Path decoy = bench.directory("one/d");
        assertTrue(bench.strategy.mounted(pin));
        bench.strategy.unmount(pin);
        assertEquals("alpha\n", Files.readString(moved.resolve("d/a")));
        assertEquals("alpha\n", Files.readString(decoy.resolve("a")));
        Pin again = bench.strategy.remount(pin);
        assertEquals("ram\n", Files.readString(moved.resolve("d/a")), "by handle");
        assertEquals("alpha\n", Files.readString(decoy.resolve("a")), "not by path");
        bench.strategy.unmount(again);
        bench.strategy.discard(again);
    }

    @Test
    void busyNamesTheProcess() throws Exception {
        Path dir = bench.directory("d");
        Pin pin = bench.pin(dir, "a");
        String[] holders = {
            "open(F,'<','a')||die",
            "chdir('sub')||die",
            "opendir(D,'sub')||die",
            "exec('sh','-c','exec 3>>b; echo ready; exec sleep 60')",
        };
        for (String holder : holders) {
            Process process =
                    bench.perl(
                            dir,
                            "chdir('/');chdir('"
                                    + dir
                                    + "');"
                                    + holder
                                    + (holder.startsWith("chdir") ? "" : ";chdir('/')"));
            BusyException e =
                    assertThrows(BusyException.class, () -> bench.strategy.unmount(pin), holder);
            assertTrue(e.getMessage().contains("process " + process.pid() + " ("), e.getMessage());
            assertTrue(bench.strategy.mounted(pin));
            Bench.end(process);
        }
        bench.strategy.unmount(pin);
    }

    @Test
    void aMappingAloneKeepsItBusy() throws Exception {
        Path dir = bench.directory("d");
        Pin pin = bench.pin(dir, "a");
        Process process = bench.helper(bench.pool, Mapper.command(dir.resolve("a")));
        BusyException e = assertThrows(BusyException.class, () -> bench.strategy.unmount(pin));
        assertTrue(e.getMessage().contains("process " + process.pid() + " ("), e.getMessage());
        Bench.end(process);
        bench.strategy.unmount(pin);
    }

    @Test
    void aCopyOfTheMountElsewhereKeepsItBusy() throws Exception {
        Path dir = bench.directory("d");
        Pin pin = bench.pin(dir, "a");
        Path elsewhere = bench.disk.aside("elsewhere");
        Command.run("mount", "--bind", dir.toString(), elsewhere.toString());
        BusyException e = assertThrows(BusyException.class, () -> bench.strategy.unmount(pin));
        assertTrue(e.getMessage().contains(elsewhere.toString()), e.getMessage());
        Command.run("umount", elsewhere.toString());
        Process process =
                bench.helper(
                        bench.pool,
                        "unshare",
                        "-m",
                        "--propagation",
                        "private",
                        "sh",
                        "-c",
                        "echo ready; exec sleep 60");
        e = assertThrows(BusyException.class, () -> bench.strategy.unmount(pin));
        assertTrue(e.getMessage().contains("process " + process.pid()), e.getMessage());
        Bench.end(process);
        bench.strategy.unmount(pin);
        bench.strategy.discard(pin);
    }

    @Test
    void propagatesToNamespacesThatReceive() throws Exception {
        bench.disk.unmount();
        bench.disk.mount();
        Command.run("mount", "--make-shared", bench.disk.root().toString());
        Path dir = bench.directory("d");
        Process process =
                bench.helper(
                        bench.pool,
                        "unshare",
                        "-m",
                        "--propagation",
                        "slave",
                        "sh",
                        "-c",
                        "echo ready; exec sleep 60");
        Pin pin = bench.pin(dir, "a");
        Files.writeString(dir.resolve("a"), "ram\n");
        String look = "nsenter -t " + process.pid() + " -m cat " + dir + "/a";
        assertEquals("ram\n", Command.shell(look));
        bench.strategy.unmount(pin);
        assertEquals("alpha\n", Command.shell(look));
        bench.strategy.discard(pin);
    }

    @Test
    void refusesWhatAnotherNamespaceWouldBypass() throws Exception {
        Path dir = bench.directory("d");
        Process process =
                bench.helper(
                        bench.pool,
                        "unshare",
                        "-m",
                        "--propagation",
                        "private",
                        "sh",
                        "-c",
                        "echo ready; exec sleep 60");
        String message = bench.refused(dir, Cause.MOUNT_POINT);
        assertTrue(message.contains("process " + process.pid()), message);
        Bench.end(process);
        Path elsewhere = bench.disk.aside("elsewhere");
        Command.run("mount", "--bind", dir.resolve("sub").toString(), elsewhere.toString());
        message = bench.refused(dir, Cause.MOUNT_POINT);
        assertTrue(message.contains(elsewhere.toString()), message);
        Command.run("umount", elsewhere.toString());
        bench.pin(dir);
    }

    @Test
    void aFileIsPinnedAlone() throws Exception {
        Path file = bench.disk.root().resolve("log");
        Files.writeString(file, "one\n");
        Files.writeString(bench.disk.root().resolve("other"), "o\n");
        Pin pin = bench.pinFile(file);
        assertTrue(bench.strategy.mounted(pin));
        Command.shell("echo two >> " + file);
        Files.writeString(bench.disk.root().resolve("other"), "disk\n");
        bench.strategy.unmount(pin);
        assertEquals(0, Bench.mounts(), "the hidden overlay is gone too");
        assertEquals("one\n", Files.readString(file));
        assertEquals("disk\n", Files.readString(bench.disk.root().resolve("other")));
        pin = bench.strategy.remount(pin);
        assertEquals("one\ntwo\n", Files.readString(file));
        Pin there = pin;
        Process process = bench.perl(bench.pool, "open(F,'>>',$ARGV[0])||die", file.toString());
        BusyException e = assertThrows(BusyException.class, () -> bench.strategy.unmount(there));
        assertTrue(e.getMessage().contains("process " + process.pid()), e.getMessage());
        assertTrue(bench.strategy.mounted(pin));
        Bench.end(process);
        bench.strategy.unmount(pin);
        bench.strategy.discard(pin);
        assertEquals(0, bench.pool.resolve(pin.id()).toFile().list().length);
    }

    @Test
    void aFileMountThatSomebodyDetachedIsNotMounted() throws Exception {
        Path file = bench.disk.root().resolve("log");
        Files.writeString(file, "one\n");
        Pin pin = bench.pinFile(file);
        Command.shell("echo two >> " + file);
        // In another mount namespace there is no mount to protect the name: rename succeeds there,
        // and takes ours away.
        Command.shell(
                "unshare -m --propagation private sh -ec 'umount "
                        + file
                        + "; echo new > "
                        + file
                        + ".new; mv "
                        + file
                        + ".new "
                        + file
                        + "'");
        assertFalse(bench.strategy.mounted(pin));
        assertEquals("new\n", Files.readString(file));
        bench.strategy.unmount(pin);
        assertEquals(0, Bench.mounts());
        assertEquals("one\ntwo\n", Files.readString(Path.of(pin.path(Pin.UPPER) + "/log")), "kept");
        bench.strategy.discard(pin);
    }

    @Test
    void discardIsNotStoppedByDepth() throws Exception {
        Path dir = bench.directory("d");
        Pin pin = bench.pin(dir, "a");
        Command.run(
                "perl",
                "-e",
                "chdir($ARGV[0])||die; for(1..3000){mkdir('x'x40)||die;chdir('x'x40)||die}"
                        + " open(F,'>','y')",
                dir.toString());
        assertThrows(BusyException.class, () -> bench.strategy.discard(pin), "still mounted");
        bench.strategy.unmount(pin);
        bench.strategy.discard(pin);
        assertEquals(0, bench.pool.resolve(pin.id()).toFile().list().length);
    }

    @Test
    void roomIsChecked() throws Exception {
        Path dir = bench.directory("d");
        Files.write(dir.resolve("big"), new byte[1 << 20]);
        Target target = Target.directory(Bench.path(dir));
        Estimate estimate = bench.strategy.examine(target, List.of(FilePath.of("big")));
        assertEquals(4, estimate.files());
        assertTrue(estimate.bytes() >= 1 << 20 && estimate.bytes() < 2 << 20, estimate.toString());
        assertTrue(estimate.most() >= estimate.bytes(), estimate.toString());
        try {
            bench.pin(target, 1 << 20, "big");
            throw new AssertionError("pinned without room");
        } catch (RefusedException e) {
            assertEquals(Cause.NO_ROOM, e.refusal().cause());
        }
    }

    @Test
    void aPoolThatIsTooSmallUndoesThePin() throws Exception {
        bench.close();
        bench = new Bench("size=1m");
        Path dir = bench.directory("d");
        Files.write(dir.resolve("big"), new byte[4 << 20]);
        bench.refused(Target.directory(Bench.path(dir)), Cause.NO_ROOM, "a", "big");
        assertEquals(0, Bench.mounts());
        Path file = bench.disk.root().resolve("single");
        Files.write(file, new byte[4 << 20]);
        bench.refused(Target.file(Bench.path(file)), Cause.NO_ROOM);
        assertEquals(0, Bench.mounts());
    }

    @Test
    void nothingLeaks() throws Exception {
        Path dir = bench.directory("d");
        Path file = bench.disk.root().resolve("log");
        Files.writeString(file, "one\n");
        int before = 0;
        for (int i = 0; i < 201; i++) {
            Pin pin = i % 4 == 3 ? bench.pinFile(file) : bench.pin(dir, "a");
            bench.strategy.unmount(pin);
            bench.strategy.discard(pin);
            if (i == 0) {
                before = Bench.descriptors();
            }
        }
        assertTrue(
                Bench.descriptors() <= before + 2,
                before + " descriptors became " + Bench.descriptors());
        assertEquals(0, Bench.mounts());
    }

    @Test
    void examineChangesNothing() throws Exception {
        Path dir = bench.directory("d");
        String stat = "cd " + dir + "; stat -c '%n %x %y %z %i' . a b sub sub/c sub/deep";
        Command.shell("cd " + dir + "; touch -a -d 2001-01-01 . a b sub sub/c sub/deep");
        String before = Command.shell(stat);
        bench.strategy.examine(Target.directory(Bench.path(dir)), List.of());
        bench.strategy.examine(Target.file(Bench.path(dir.resolve("a"))), List.of());
        assertEquals(before, Command.shell(stat));
        assertEquals(0, bench.pool.toFile().list().length);
    }
}
