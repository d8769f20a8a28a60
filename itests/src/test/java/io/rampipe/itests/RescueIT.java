package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Stat;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.tree.RandomTree;
import io.rampipe.testkit.tree.Snapshot;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The daemon is killed and does not come back: {@code rampipe-rescue} brings all of it to disk. */
@NeedsMounts
@Timeout(600)
class RescueIT {
    private static final int ROUNDS = Integer.getInteger("rampipe.test.rounds", 12);
    private static final int TARGETS = 4;

    @Test
    void whateverAKilledDaemonHeldInRamIsOnDiskAfterwards() throws Exception {
        rounds(new String[0]);
    }

    @Test
    void aRescueThatIsKilledCanBeRepeated() throws Exception {
        rounds("strace", "-f", "-o", "/dev/null", "-e", "inject=%s:signal=KILL:when=%d");
    }

    /** System calls before which a rescue is killed: all by which it changes anything. */
    private static final List<String> STEPS =
            List.of(
                    "pwrite64",
                    "renameat2",
                    "unlinkat",
                    "mkdirat",
                    "linkat",
                    "symlinkat",
                    "mknodat",
                    "fsync",
                    "syncfs",
                    "ftruncate",
                    "fallocate",
                    "fchownat",
                    "fchmodat",
                    "utimensat",
                    "setxattr",
                    "removexattr",
                    "umount2",
                    "fcntl",
                    "openat");

    private static void rounds(String... killer) throws Exception {
        long seed = Long.getLong("rampipe.test.seed", System.nanoTime());
        System.out.println("RescueIT: -Drampipe.test.seed=" + seed);
        Random random = new Random(seed);
        int kills = 0;
        try (ScratchDisk disk = ScratchDisk.ext4(256);
                Daemon daemon = new Daemon(disk.aside("daemon"))) {
            daemon.set("watch.directories", disk.root().toString())
                    .set("pin.rate", "1000")
                    .set("checkpoint.interval", "1h");
            List<Path> targets = new ArrayList<>();
            for (int i = 0; i < TARGETS; i++) {
                targets.add(Files.createDirectories(disk.root().resolve("home/target" + i)));
                try (Fd root = open(targets.get(i))) {
                    new RandomTree(random, root).build();
                }
            }
            for (int round = 0; round < ROUNDS; round++) {
                String where = "seed " + seed + ", round " + round + ": ";
                daemon.start();
                for (Path target : targets) {
                    pinAndChange(daemon, target, random);
                }
                daemon.kill();
                List<Snapshot> models = new ArrayList<>();
                for (Path target : targets) {
                    models.add(snapshot(target));
                }
                kills += killer.length == 0 ? 0 : killedRescues(daemon, random, killer);
                rescued(daemon, disk, where);
                for (int i = 0; i < TARGETS; i++) {
                    assertEquals(
                            List.of(),
                            models.get(i).differences(snapshot(targets.get(i))),
                            where + targets.get(i) + ": the disk differs");
                }
            }
        }
        System.out.println("RescueIT: " + ROUNDS + " rounds, " + kills + " rescues killed");
    }

    private static void pinAndChange(Daemon daemon, Path target, Random random) throws Exception {
        try (Fd root = open(target)) {
            removeMeetingPoints(root);
        }
        daemon.command("pin", target.toString()).ok();
        for (int part = random.nextInt(3); part >= 0; part--) {
            try (Fd root = open(target)) {
                new RandomTree(random, root).change(random.nextInt(60));
            }
            if (part > 0) {
                daemon.command("sync", target.toString()).ok();
            }
        }
    }

    /** Starts rescues that are killed before some system call; returns how many were. */
    private static int killedRescues(Daemon daemon, Random random, String[] killer)
            throws Exception {
        int killed = 0;
        for (int i = 0; i < 12; i++) {
            String step = STEPS.get(random.nextInt(STEPS.size()));
            int when = 1 + random.nextInt(1 << random.nextInt(9));
            List<String> command = new ArrayList<>(List.of(killer));
            command.set(killer.length - 1, String.format(killer[killer.length - 1], step, when));
            command.addAll(
                    List.of(Daemon.RESCUE, "--apply", "--runtime", daemon.runtime().toString()));
            command.add(daemon.runtime().getParent().getParent().resolve("disk").toString());
            Outcome outcome = run(daemon, command);
            killed += outcome.status == 137 ? 1 : 0;
        }
        return killed;
    }

    private static void rescued(Daemon daemon, ScratchDisk disk, String where) throws Exception {
        Outcome outcome =
                run(
                        daemon,
                        List.of(
                                Daemon.RESCUE,
                                "--apply",
                                "--json",
                                "--runtime",
                                daemon.runtime().toString(),
                                disk.root().toString()));
        assertEquals(0, outcome.status, where + outcome.out + outcome.err);
        JsonObject report = JsonParser.parseString(outcome.out).getAsJsonObject();
        assertTrue(report.get("applied").getAsBoolean(), outcome.out);
        assertEquals("", outcome.err, where);
        assertTrue(
                MountInfo.all().stream()
                        .noneMatch(
                                m ->
                                        m.path().raw().startsWith(disk.root() + "/")
                                                || m.path()
                                                        .raw()
                                                        .startsWith(daemon.runtime().toString())),
                where + "something is still mounted");
        try (var left = Files.list(disk.root().resolve(".rampipe"))) {
            assertEquals(List.of(), left.toList(), where + "left on disk");
        }
    }

    record Outcome(int status, String out, String err) {}

    private static Outcome run(Daemon daemon, List<String> command) throws Exception {
        Path out = daemon.runtime().resolveSibling("rescue.out");
        Path err = daemon.runtime().resolveSibling("rescue.err");
        Process p =
                new ProcessBuilder(command)
                        .redirectOutput(out.toFile())
                        .redirectError(err.toFile())
                        .start();
        if (!p.waitFor(60, TimeUnit.SECONDS)) {
            p.destroyForcibly();
            throw new AssertionError(command + " hangs");
        }
        return new Outcome(
                p.exitValue(),
                Files.readString(out, StandardCharsets.ISO_8859_1),
                Files.readString(err, StandardCharsets.ISO_8859_1));
    }

    /** FIFOs and sockets make a directory ineligible. */
    private static void removeMeetingPoints(Fd directory) throws IOException {
        for (FilePath name : At.list(directory)) {
            Stat stat = Stat.at(directory, name);
            if (stat.isDirectory()) {
                try (Fd below = At.openDirectory(directory, name)) {
                    removeMeetingPoints(below);
                }
            } else if (stat.type() == Stat.FIFO || stat.type() == Stat.SOCKET) {
                At.unlink(directory, name);
            }
        }
    }

    private static Snapshot snapshot(Path target) throws IOException {
        try (Fd root = open(target)) {
            return Snapshot.of(root);
        }
    }

    private static Fd open(Path directory) throws IOException {
        return At.open(FilePath.of(directory.toString()), At.O_RDONLY | At.O_DIRECTORY);
    }
}
