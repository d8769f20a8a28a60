package io.rampipe.pin.overlayfs.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.Target;
import io.rampipe.pin.SingleFile;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What is not pinned, and why. Each time the pool must be empty again and nothing mounted. */
@NeedsMounts
class RefusalsTest {
    private Bench bench;
    private Path dir;

    @BeforeEach
    void open() throws IOException {
        bench = new Bench();
        dir = bench.directory("d");
    }

    @AfterEach
    void close() throws IOException {
        long left = Bench.mounts();
        bench.close();
        assertEquals(0, left);
    }

    /** Refused while the program runs, naming it, and pinned after it has ended. */
    private void refusedWhile(Process process, Cause cause) throws IOException {
        String message = bench.refused(dir, cause);
        assertTrue(message.contains("process " + process.pid() + " ("), message);
        Bench.end(process);
        Pin pin = bench.pin(dir, "a");
        bench.strategy.unmount(pin);
        bench.strategy.discard(pin);
    }

    @Test
    void openForWriting() throws Exception {
        refusedWhile(
                bench.perl(bench.pool, "open(F,'>>',$ARGV[0])||die", dir + "/a"), Cause.IN_USE);
    }

    @Test
    void openForReading() throws Exception {
        refusedWhile(
                bench.perl(bench.pool, "open(F,'<',$ARGV[0])||die", dir + "/sub/c"), Cause.IN_USE);
    }

    @Test
    void mappedAfterClose() throws Exception {
        refusedWhile(bench.helper(bench.pool, Mapper.command(dir.resolve("a"))), Cause.IN_USE);
    }

    @Test
    void runningProgram() throws Exception {
        Command.run("cp", "/bin/sleep", dir + "/prog");
        Process process =
                bench.helper(bench.pool, "sh", "-c", "echo ready; exec \"$0\" 60", dir + "/prog");
        Await.until(
                Duration.ofSeconds(10),
                () ->
                        Files.readSymbolicLink(Path.of("/proc/" + process.pid() + "/exe"))
                                .equals(dir.resolve("prog")),
                () -> "not started");
        refusedWhile(process, Cause.IN_USE);
    }

    @Test
    void workingDirectory() throws Exception {
        refusedWhile(bench.helper(dir, "sh", "-c", "echo ready; read x"), Cause.OCCUPIED);
        refusedWhile(
                bench.helper(dir.resolve("sub/deep"), "sh", "-c", "echo ready; read x"),
                Cause.OCCUPIED);
    }

    @Test
    void workingDirectoryThatWasRemoved() throws Exception {
        Path gone = Files.createDirectory(dir.resolve("gone"));
        Process process = bench.helper(gone, "sh", "-c", "echo ready; read x");
        Files.delete(gone);
        refusedWhile(process, Cause.OCCUPIED);
    }

    @Test
    void rootDirectory() throws Exception {
        refusedWhile(bench.perl(bench.pool, "chroot($ARGV[0])||die", dir + "/sub"), Cause.OCCUPIED);
    }

    @Test
    void heldDirectory() throws Exception {
        refusedWhile(
                bench.perl(bench.pool, "opendir(D,$ARGV[0])||die", dir + "/sub"), Cause.OCCUPIED);
    }

    @Test
    void heldByPathDescriptor() throws Exception {
        // O_PATH: no lease sees it, and through /proc it leads past the mount.
        refusedWhile(
                bench.perl(
                        bench.pool, "use Fcntl;sysopen(F,$ARGV[0],010000000)||die", dir + "/sub/c"),
                Cause.OCCUPIED);
    }

    @Test
    void socket() throws Exception {
        bench.perl(
                bench.pool,
                "use Socket;socket(S,AF_UNIX,SOCK_STREAM,0)||die;chdir($ARGV[0]);"
                        + "bind(S,sockaddr_un('sock'))||die;chdir('/')",
                dir.toString());
        assertTrue(bench.refused(dir, Cause.SPECIAL_FILE).contains("/d/sock is a socket"));
    }

    @Test
    void fifo() throws Exception {
        Command.run("mkfifo", dir + "/sub/pipe");
        assertTrue(bench.refused(dir, Cause.SPECIAL_FILE).contains("/d/sub/pipe is a FIFO"));
    }

    @Test
    void mountInside() throws Exception {
        Command.run("mount", "-t", "tmpfs", "x", dir + "/sub/deep");
        assertTrue(bench.refused(dir, Cause.MOUNT_POINT).contains(dir + "/sub/deep"));
        bench.refused(dir.resolve("sub/deep"), Cause.MOUNT_POINT);
    }

    @Test
    void pinInsideAndTwice() throws Exception {
        Pin inner = bench.pin(dir.resolve("sub"));
        bench.refused(dir, Cause.MOUNT_POINT);
        assertTrue(bench.refused(dir.resolve("sub"), Cause.MOUNT_POINT).contains("is pinned"));
        assertTrue(bench.refused(dir.resolve("sub/deep"), Cause.MOUNT_POINT).contains("pinned"));
        bench.strategy.unmount(inner);
    }

    @Test
    void symbolicLinks() throws Exception {
        Path link = Files.createSymbolicLink(bench.disk.root().resolve("link"), dir);
        bench.refused(link, Cause.NOT_A_TARGET);
        bench.refused(link.resolve("sub"), Cause.NOT_A_TARGET);
        bench.refused(Target.file(Bench.path(link.resolve("a"))), Cause.NOT_A_TARGET);
        Path toFile = Files.createSymbolicLink(bench.disk.root().resolve("f"), dir.resolve("a"));
        bench.refused(Target.file(Bench.path(toFile)), Cause.NOT_A_TARGET);
    }

    @Test
    void notATarget() throws Exception {
        bench.refused(dir.resolve("gone"), Cause.NOT_A_TARGET);
        bench.refused(dir.resolve("a"), Cause.NOT_A_TARGET);
        bench.refused(dir.resolve("a/b"), Cause.NOT_A_TARGET);
        bench.refused(Target.file(Bench.path(dir)), Cause.NOT_A_TARGET);
        bench.refused(Target.directory(FilePath.of("d")), Cause.NOT_A_TARGET);
        bench.refused(Target.directory(FilePath.of("/")), Cause.NOT_A_TARGET);
        bench.refused(Target.directory(Bench.path(dir).resolve("..")), Cause.NOT_A_TARGET);
        bench.refused(Target.directory(FilePath.of(dir + "/sub/../sub")), Cause.NOT_A_TARGET);
    }

    @Test
    void fileSystems() throws Exception {
        bench.refused(Path.of("/proc/sys/kernel"), Cause.FILE_SYSTEM);
        bench.refused(bench.disk.aside("ram"), Cause.FILE_SYSTEM);
        bench.disk.unmount();
        bench.disk.mount("ro");
        bench.refused(dir, Cause.FILE_SYSTEM);
        bench.disk.unmount();
        bench.disk.mount();
        Path over = bench.disk.aside("over");
        Path up = bench.disk.aside("up");
        Command.shell(
                "mount -t tmpfs x "
                        + up
                        + "; mkdir "
                        + up
                        + "/u "
                        + up
                        + "/w; mount -t overlay -o "
                        + "lowerdir="
                        + dir
                        + ",upperdir="
                        + up
                        + "/u,workdir="
                        + up
                        + "/w x "
                        + over);
        bench.refused(over.resolve("sub"), Cause.UNSUPPORTED);
    }

    @Test
    void otherDiskFileSystems() throws Exception {
        for (String kind : List.of("xfs:400:-q", "btrfs:200:-q")) {
            String[] how = kind.split(":");
            if (Command.shell("command -v mkfs." + how[0] + " || true").isBlank()) {
                continue;
            }
            try (ScratchDisk other =
                    ScratchDisk.make(Integer.parseInt(how[1]), "mkfs." + how[0], how[2])) {
                Path target = Files.createDirectory(other.root().resolve("t"));
                Files.writeString(target.resolve("x"), "x\n");
                Pin pin = bench.pin(target, "x");
                Files.writeString(target.resolve("x"), "ram\n");
                bench.strategy.unmount(pin);
                assertEquals("x\n", Files.readString(target.resolve("x")), how[0]);
                pin = bench.strategy.remount(pin);
                assertEquals("ram\n", Files.readString(target.resolve("x")), how[0]);
                bench.strategy.unmount(pin);
                bench.strategy.discard(pin);
                if (how[0].equals("btrfs")) {
                    Command.run("btrfs", "subvolume", "create", target + "/vol");
                    bench.refused(target, Cause.MOUNT_POINT);
                }
            }
        }
    }

    @Test
    void immutable() throws Exception {
        for (String flag : List.of("i", "a")) {
            for (String name : List.of("/b", "/sub", "")) {
                Command.run("chattr", "+" + flag, dir + name);
                try {
                    assertTrue(bench.refused(dir, Cause.IMMUTABLE).contains(dir + name + " is "));
                } finally {
                    Command.run("chattr", "-" + flag, dir + name);
                }
            }
        }
        Path alone = Files.writeString(bench.disk.root().resolve("alone"), "x");
        Command.run("chattr", "+i", alone.toString());
        bench.refused(Target.file(Bench.path(alone)), Cause.IMMUTABLE);
        Command.run("chattr", "-i", alone.toString());
    }

    @Test
    void hardLinkOutside() throws Exception {
        Files.createLink(dir.resolve("sub/a2"), dir.resolve("a"));
        Pin pin = bench.pin(dir, "a");
        Files.writeString(dir.resolve("a"), "both\n");
        assertEquals("both\n", Files.readString(dir.resolve("sub/a2")), "stays one file");
        bench.strategy.unmount(pin);
        bench.strategy.discard(pin);
        Files.createLink(bench.disk.root().resolve("outside"), dir.resolve("a"));
        assertTrue(bench.refused(dir, Cause.LINKED_OUTSIDE).contains("3 hard links"));
        bench.refused(
                Target.file(Bench.path(bench.disk.root().resolve("outside"))),
                Cause.LINKED_OUTSIDE);
    }

    @Test
    void swapFile() throws Exception {
        Path swap = dir.resolve("sub/swap file");
        Command.shell(
                "dd if=/dev/zero of='"
                        + swap
                        + "' bs=1M count=2 2>&1; chmod 600 '"
                        + swap
                        + "';"
                        + " mkswap '"
                        + swap
                        + "'");
        String said = Command.shell("swapon '" + swap + "' 2>&1 || echo failed");
        assumeTrue(!said.contains("failed"), "cannot swap here: " + said);
        try {
            bench.refused(dir, Cause.SWAP_FILE);
            bench.refused(Target.file(Bench.path(swap)), Cause.SWAP_FILE);
        } finally {
            Command.run("swapoff", swap.toString());
        }
    }

    @Test
    void tooManyOrTooDeep() throws Exception {
        bench.strategy = Bench.strategy(4);
        assertTrue(bench.refused(dir, Cause.TOO_LARGE).contains("overlayfs.max_files"));
        bench.strategy = Bench.strategy(5);
        Pin pin = bench.pin(dir);
        bench.strategy.unmount(pin);
        Command.run(
                "perl",
                "-e",
                "chdir($ARGV[0])||die; for(1..300){mkdir('x')||die;chdir('x')||die}",
                dir.toString());
        bench.strategy = Bench.strategy(1000);
        assertTrue(bench.refused(dir, Cause.TOO_LARGE).contains("levels"));
    }

    @Test
    void fileWithCompanions() throws Exception {
        Path db = Files.writeString(bench.disk.root().resolve("db"), "x");
        Path wal = Files.writeString(bench.disk.root().resolve("db-wal"), "y");
        bench.refused(Target.file(Bench.path(db)), Cause.NOT_ALONE);
        bench.refused(Target.file(Bench.path(wal)), Cause.NOT_ALONE);
        Files.delete(wal);
        Pin pin = bench.pinFile(db);
        bench.strategy.unmount(pin);
        Files.writeString(db, "SQLite format 3\0 and so on");
        assertTrue(bench.refused(Target.file(Bench.path(db)), Cause.NOT_ALONE).contains("SQLite"));
    }

    @Test
    void fileInUse() throws Exception {
        Path file = Files.writeString(bench.disk.root().resolve("log"), "x");
        Target target = Target.file(Bench.path(file));
        for (String mode : List.of("<", ">>")) {
            Process process =
                    bench.perl(bench.pool, "open(F,'" + mode + "',$ARGV[0])||die", file.toString());
            String message = bench.refused(target, Cause.IN_USE);
            assertTrue(message.contains("process " + process.pid() + " ("), message);
            Bench.end(process);
        }
        Process mapper = bench.helper(bench.pool, Mapper.command(file));
        bench.refused(target, Cause.IN_USE);
        Bench.end(mapper);
        Pin pin = bench.pinFile(file);
        bench.strategy.unmount(pin);
    }

    @Test
    void suffixes() {
        assertTrue(SingleFile.belongTogether("a.db", "a.db-wal"));
        assertTrue(SingleFile.belongTogether("a.db-wal", "a.db"));
        assertTrue(SingleFile.belongTogether("a", "ab"));
        assertTrue(!SingleFile.belongTogether("ab", "a"));
        assertTrue(!SingleFile.belongTogether("a", "a"));
        assertTrue(!SingleFile.belongTogether("a", "b"));
    }
}
