package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.linux.Fd;
import io.rampipe.linux.MountInfo;
import io.rampipe.testkit.Command;
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
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The daemon is killed and does not come back: {@code rampipe-rescue} brings all of it to disk. */
@NeedsMounts
@Timeout(600)
class RescueIT {
    private static final int ROUNDS = Integer.getInteger("rampipe.test.rounds", 12);
    private static final int TARGETS = 4;

    /**
     * The power goes, seen by a copy of the disk as it is at that instant: redo logs of the daemon
     * are applied by the rescue, and those of the rescue by the next daemon.
     */
    @Test
    void eachAppliesTheRedoLogsOfTheOther() throws Exception {
        long seed = Long.getLong("rampipe.test.seed", System.nanoTime());
        System.out.println("RescueIT: -Drampipe.test.seed=" + seed);
        Random random = new Random(seed);
        int logs = 0;
        try (ScratchDisk disk = ScratchDisk.ext4(128);
                Daemon daemon = new Daemon(disk.aside("daemon"))) {
            configure(daemon, disk.root());
            List<Path> targets = targets(disk, random);
            for (int round = 0; round < (ROUNDS + 2) / 3; round++) {
                String where = "seed " + seed + ", round " + round + ": ";
                daemon.start();
                for (Path target : targets) {
                    pinAndChange(daemon, target, random);
                    daemon.command("sync", target.toString()).ok();
                }
                List<Snapshot> models = snapshots(targets);
                daemon.kill();
                Path cut = cut(disk);
                logs += logs(cut);
                Path none = Files.createDirectories(disk.aside("none"));
                Outcome outcome = rescue(daemon, none, "--apply", cut.toString());
                assertEquals(0, outcome.status, where + outcome.out + outcome.err);
                compare(models, on(cut, disk, targets), where + "the daemon's logs, ");
                umount(cut);

                List<Fd> users = new ArrayList<>();
                try {
                    for (Path target : targets) {
                        try (Fd root = Trees.open(target)) {
                            new RandomTree(random, root).change(40);
                        }
                        users.add(Trees.open(target));
                    }
                    models = snapshots(targets);
                    outcome = rescue(daemon, daemon.runtime(), "--apply", disk.root().toString());
                } finally {
                    users.forEach(Fd::close);
                }
                assertEquals(1, outcome.status, where + outcome.out + outcome.err);
                assertTrue(
                        outcome.out.contains("process " + ProcessHandle.current().pid() + " "),
                        where + outcome.out);
                compare(models, targets, where + "still mounted, ");
                copy(disk);
                rescued(daemon, disk, where);
                compare(models, targets, where);
                // Only now: a daemon leaves logs alone whose pins are mounted.
                cut = mountCopy(disk);
                logs += logs(cut);
                try (Daemon next = new Daemon(disk.aside("next" + round))) {
                    configure(next, cut);
                    next.start();
                    compare(models, on(cut, disk, targets), where + "the rescue's logs, ");
                    assertEquals(0, next.stop(), next::logText);
                }
                umount(cut);
            }
        }
        System.out.println("RescueIT: " + logs + " logs of the other");
    }

    /** The disk as a power cut now would leave it, mounted elsewhere. */
    private static Path cut(ScratchDisk disk) throws IOException {
        copy(disk);
        return mountCopy(disk);
    }

    private static void copy(ScratchDisk disk) throws IOException {
        Command.run(
                "cp",
                "--sparse=always",
                disk.root().resolveSibling("disk.img").toString(),
                disk.aside("copy").resolve("disk.img").toString());
    }

    private static Path mountCopy(ScratchDisk disk) throws IOException {
        Path at = disk.aside("cut");
        Command.run(
                "mount",
                "-o",
                "loop",
                disk.aside("copy").resolve("disk.img").toString(),
                at.toString());
        return at;
    }

    private static void umount(Path at) throws IOException {
        Command.run("umount", at.toString());
    }

    private static int logs(Path disk) throws IOException {
        try (var files = Files.list(disk.resolve(".rampipe"))) {
            return (int) files.filter(f -> f.toString().endsWith(".redo")).count();
        }
    }

    private static List<Path> on(Path other, ScratchDisk disk, List<Path> targets) {
        return targets.stream().map(t -> other.resolve(disk.root().relativize(t))).toList();
    }

    private static List<Snapshot> snapshots(List<Path> targets) throws IOException {
        List<Snapshot> all = new ArrayList<>();
        for (Path target : targets) {
            all.add(Trees.snapshot(target));
        }
        return all;
    }

    private static void compare(List<Snapshot> models, List<Path> targets, String where)
            throws IOException {
        for (int i = 0; i < models.size(); i++) {
            assertEquals(
                    List.of(),
                    models.get(i).differences(Trees.snapshot(targets.get(i))),
                    where + targets.get(i) + ": the disk differs");
        }
    }

    private static void configure(Daemon daemon, Path watched) {
        daemon.set("watch.directories", watched.toString())
                .set("pin.rate", "1000")
                .set("checkpoint.interval", "1h");
    }

    private static List<Path> targets(ScratchDisk disk, Random random) throws IOException {
        List<Path> targets = new ArrayList<>();
        for (int i = 0; i < TARGETS; i++) {
            targets.add(Files.createDirectories(disk.root().resolve("home/target" + i)));
            try (Fd root = Trees.open(targets.get(i))) {
                new RandomTree(random, root).build();
            }
        }
        return targets;
    }

    @Test
    void whateverAKilledDaemonHeldInRamIsOnDiskAfterwards() throws Exception {
        long seed = Long.getLong("rampipe.test.seed", System.nanoTime());
        System.out.println("RescueIT: -Drampipe.test.seed=" + seed);
        Random random = new Random(seed);
        int kills = 0;
        try (ScratchDisk disk = ScratchDisk.ext4(256);
                Daemon daemon = new Daemon(disk.aside("daemon"))) {
            configure(daemon, disk.root());
            List<Path> targets = targets(disk, random);
            for (int round = 0; round < ROUNDS; round++) {
                String where = "seed " + seed + ", round " + round + ": ";
                daemon.start();
                for (Path target : targets) {
                    pinAndChange(daemon, target, random);
                }
                daemon.kill();
                List<Snapshot> models = snapshots(targets);
                // Every other time the rescue itself is killed, and done again.
                kills += round % 2 == 0 ? 0 : killedRescues(daemon, disk, random);
                if (round % 4 == 3) {
                    // Or never gets to the end, and a daemon takes over.
                    busyRescue(daemon, disk, targets);
                    daemon.start();
                    assertEquals(0, daemon.stop(), daemon::logText);
                    assertTrue(
                            Files.notExists(disk.root().resolve(".rampipe/conflicts")),
                            where + "the rescue's changes were taken for those of others");
                } else {
                    rescued(daemon, disk, where);
                }
                compare(models, targets, where);
            }
        }
        System.out.println("RescueIT: " + ROUNDS + " rounds, " + kills + " rescues killed");
    }

    private static void pinAndChange(Daemon daemon, Path target, Random random) throws Exception {
        try (Fd root = Trees.open(target)) {
            Trees.removeMeetingPoints(root);
        }
        daemon.command("pin", target.toString()).ok();
        for (int part = random.nextInt(3); part >= 0; part--) {
            try (Fd root = Trees.open(target)) {
                new RandomTree(random, root).change(random.nextInt(60));
            }
            if (part > 0) {
                daemon.command("sync", target.toString()).ok();
            }
        }
    }

    /** Starts rescues that are killed after a random while; returns how many were. */
    private static int killedRescues(Daemon daemon, ScratchDisk disk, Random random)
            throws Exception {
        int killed = 0;
        for (int i = 0; i < 12; i++) {
            Process p =
                    new ProcessBuilder(
                                    Daemon.RESCUE,
                                    "--apply",
                                    "--runtime",
                                    daemon.runtime().toString(),
                                    disk.root().toString())
                            .redirectErrorStream(true)
                            .redirectOutput(daemon.runtime().resolveSibling("killed").toFile())
                            .start();
            p.waitFor(50 + random.nextInt(400), TimeUnit.MILLISECONDS);
            p.destroyForcibly();
            if (p.waitFor() == 0) {
                break;
            }
            killed++;
        }
        return killed;
    }

    private static void busyRescue(Daemon daemon, ScratchDisk disk, List<Path> targets)
            throws Exception {
        List<Fd> users = new ArrayList<>();
        try {
            for (Path target : targets) {
                users.add(Trees.open(target));
            }
            rescue(daemon, daemon.runtime(), "--apply", disk.root().toString());
        } finally {
            users.forEach(Fd::close);
        }
    }

    /** Both versions are there afterwards, and the next daemon tells of them. */
    @Test
    void whatOthersChangedOnDiskIsKeptBesideWhatWasInRam() throws Exception {
        try (ScratchDisk disk = ScratchDisk.ext4(96);
                Daemon daemon = new Daemon(disk.aside("daemon"))) {
            configure(daemon, disk.root());
            Path target = Files.createDirectories(disk.root().resolve("home/target"));
            Command.shell(
                    "cd "
                            + target
                            + "; for f in written replaced removed gone others mine; do echo disk >"
                            + " $f; done; mkdir dir new; echo disk > dir/x; ln others linked;"
                            + " mkdir moved; echo disk > moved/y");
            Path single = Files.writeString(disk.root().resolve("home/single"), "disk");
            daemon.start();
            daemon.command("pin", target.toString()).ok();
            daemon.command("pin", single.toString()).ok();
            Files.writeString(single, "in RAM");
            Command.shell(
                    "cd "
                            + target
                            + "; for f in written replaced gone mine created; do echo in RAM > $f;"
                            + " done; rm removed; rm -r dir; mv moved new; echo in RAM >"
                            + " new/moved/y");
            daemon.kill();
            Command.run(
                    "unshare",
                    "-m",
                    "--propagation",
                    "private",
                    "sh",
                    "-ec",
                    "umount "
                            + single
                            + "; echo others >> "
                            + single
                            + "; umount "
                            + target
                            + "; cd "
                            + target
                            + "; echo others > written; echo others > t; mv t replaced; echo others"
                            + " > removed; rm gone; echo others > others; echo others > created;"
                            + " echo others > dir/z; echo others > moved/y");
            String id = null;
            Outcome outcome;
            try (Fd user = Trees.open(target)) {
                outcome = rescue(daemon, daemon.runtime(), "--apply", disk.root().toString());
                assertEquals(1, outcome.status, user + outcome.out + outcome.err);
            }
            Command.shell("echo later in RAM > " + target.resolve("created"));
            outcome = rescue(daemon, daemon.runtime(), "--apply", disk.root().toString());
            assertEquals(0, outcome.status, outcome.out + outcome.err);
            try (var names = Files.list(target)) {
                for (Path name : names.toList()) {
                    String text = name.getFileName().toString();
                    if (text.startsWith("written.rampipe-conflict-")) {
                        id = text.substring("written".length());
                    }
                }
            }
            String state =
                    Command.run(
                            "sh",
                            "-ec",
                            "cd " + target + "; find . -type f | sort | xargs grep -H ''");
            String expected =
                    "./created.ID:later in RAM\n"
                            + "./created:others\n"
                            + "./dir/x:disk\n"
                            + "./dir/z:others\n"
                            + "./gone:in RAM\n"
                            + "./linked:others\n"
                            + "./mine:in RAM\n"
                            + "./new/moved/y.ID:in RAM\n"
                            + "./new/moved/y:others\n"
                            + "./others:others\n"
                            + "./removed:others\n"
                            + "./replaced.ID:in RAM\n"
                            + "./replaced:others\n"
                            + "./written.ID:in RAM\n"
                            + "./written:others\n";
            assertEquals(
                    expected.replace(".ID", String.valueOf(id)).lines().sorted().toList(),
                    state.lines().sorted().toList(),
                    outcome.err);
            assertEquals("diskothers\n", Files.readString(single));
            try (var names = Files.list(single.getParent())) {
                List<Path> copies =
                        names.filter(n -> n.toString().startsWith(single + ".rampipe-conflict-"))
                                .toList();
                assertEquals(1, copies.size(), copies::toString);
                assertEquals("in RAM", Files.readString(copies.get(0)));
            }
            assertTrue(
                    outcome.err.contains(
                            "rampipe-rescue: conflict: "
                                    + target.resolve("written")
                                    + " was changed on disk by others; the version in RAM is kept"
                                    + " as "
                                    + target.resolve("written" + id)),
                    outcome.err);
            daemon.start();
            assertEquals(
                    8,
                    daemon.command("conflicts", "--json")
                            .ok()
                            .json()
                            .getAsJsonArray("conflicts")
                            .size(),
                    () -> read(disk.root().resolve(".rampipe/conflicts")));
            assertEquals(0, daemon.stop(), daemon::logText);
        }
    }

    /**
     * Overlayfs leaves no whiteout of what was new, and so not there, when it was looked up: the
     * checkpoint has put it on disk since.
     */
    @Test
    void whatWasDeletedAfterACheckpointIsGoneOnDisk() throws Exception {
        for (boolean mounted : List.of(true, false)) {
            try (ScratchDisk disk = ScratchDisk.ext4(96);
                    Daemon daemon = new Daemon(disk.aside("daemon"))) {
                configure(daemon, disk.root());
                Path target = Files.createDirectories(disk.root().resolve("home/target"));
                Command.shell("cd " + target + "; mkdir old; echo disk > old/stays");
                daemon.start();
                daemon.command("pin", target.toString()).ok();
                Command.shell(
                        "cd "
                                + target
                                + "; echo 1 > fresh; mkdir new; echo 2 > new/file; echo 3 >"
                                + " old/fresh; echo 4 > kept");
                daemon.command("sync", target.toString()).ok();
                daemon.kill();
                Command.shell(
                        "cd "
                                + target
                                + "; rm -r fresh new old/fresh; mv old moved; echo 5 >> kept");
                Snapshot model = Trees.snapshot(target);
                Path cut = cut(disk);
                Path onDisk = cut.resolve("home/target");
                for (String name : List.of("fresh", "new/file", "old/fresh")) {
                    assertTrue(Files.exists(onDisk.resolve(name)), name + " was never on disk");
                }
                umount(cut);
                if (!mounted) {
                    // As when the machine stops.
                    umount(target);
                }
                String where = mounted ? "mounted: " : "unmounted: ";
                rescued(daemon, disk, where);
                compare(List.of(model), List.of(target), where);
            }
        }
    }

    /**
     * Checkpoints have moved renamed directories on disk while programs used them. Then they are
     * renamed again, changed, removed and made again; and only the rescue comes.
     */
    @Test
    void directoriesThatTheDaemonHasMovedOnDiskAreStillTheSame() throws Exception {
        for (boolean mounted : List.of(true, false)) {
            String where = mounted ? "mounted: " : "unmounted: ";
            try (ScratchDisk disk = ScratchDisk.ext4(96);
                    Daemon daemon = new Daemon(disk.aside("daemon"))) {
                configure(daemon, disk.root());
                Path target = Files.createDirectories(disk.root().resolve("home/target"));
                Command.shell(
                        "cd "
                                + target
                                + "; mkdir -p a/b/c e f g/h; for d in a a/b a/b/c e f g g/h; do echo"
                                + " $d > $d/name; ln $d/name $d/twin; done; sync -f .");
                Map<String, String> inodes = new TreeMap<>();
                for (String d : List.of("a", "a/b", "a/b/c", "e", "g/h")) {
                    inodes.put(d, inode(target.resolve(d)));
                }
                daemon.start();
                daemon.command("pin", target.toString()).ok();
                List<String> parts =
                        List.of(
                                "mv a renamed; mv renamed/b inner; mv e f",
                                "mv renamed a2; mv inner a2/b2; rm -r g/h; echo more > a2/new;"
                                        + " mkdir g/h; echo fresh > g/h/name; mv f a",
                                "mv a2/b2/c c2; rm a2/new; mv a/e e2; echo 1 > e2/new");
                for (String part : parts) {
                    Command.shell("cd " + target + "; " + part);
                    Snapshot model = Trees.snapshot(target);
                    daemon.command("sync", target.toString()).ok();
                    compare(List.of(model), List.of(target), where + part + ": seen, ");
                    Path cut = cut(disk);
                    Path onDisk = cut.resolve("home/target");
                    compare(List.of(model), List.of(onDisk), where + part + ": on disk, ");
                    umount(cut);
                }
                daemon.kill();
                Command.shell(
                        "cd "
                                + target
                                + "; mv a2 a3; mv c2 a3/b2/c; echo more >> a3/b2/name; mv e2 e; rm"
                                + " e/new; rm -r a; mkdir a; echo fresh > a/name; mv g g2; rm -r g2/h");
                Snapshot model = Trees.snapshot(target);
                if (mounted) {
                    try (Fd user = Trees.open(target)) {
                        Outcome outcome =
                                rescue(daemon, daemon.runtime(), "--apply", disk.root().toString());
                        assertEquals(1, outcome.status, user + outcome.out + outcome.err);
                    }
                    compare(List.of(model), List.of(target), where + "still mounted, ");
                    Command.shell("cd " + target + "; mv a3 a4; rm -r e; echo last > a4/b2/last");
                    model = Trees.snapshot(target);
                } else {
                    // As when the machine stops.
                    umount(target);
                }
                rescued(daemon, disk, where);
                compare(List.of(model), List.of(target), where);
                Path top = target.resolve(mounted ? "a4" : "a3");
                assertEquals(inodes.get("a"), inode(top), where);
                assertEquals(inodes.get("a/b"), inode(top.resolve("b2")), where);
                assertEquals(inodes.get("a/b/c"), inode(top.resolve("b2/c")), where);
                if (!mounted) {
                    assertEquals(inodes.get("e"), inode(target.resolve("e")), where);
                }
            }
        }
    }

    private static String inode(Path path) throws IOException {
        return Files.getAttribute(path, "unix:ino").toString();
    }

    private static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            return e.toString();
        }
    }

    private static void rescued(Daemon daemon, ScratchDisk disk, String where) throws Exception {
        Outcome outcome = rescue(daemon, daemon.runtime(), "--apply", disk.root().toString());
        assertEquals(0, outcome.status, where + outcome.out + outcome.err);
        assertEquals("", outcome.err, where);
        assertTrue(
                MountInfo.all().stream()
                        .map(m -> m.path().raw())
                        .noneMatch(
                                m ->
                                        m.startsWith(disk.root() + "/")
                                                || m.startsWith(daemon.runtime().toString())),
                where + "something is still mounted");
        try (var left = Files.list(disk.root().resolve(".rampipe"))) {
            assertEquals(List.of(), left.toList(), where + "left on disk");
        }
    }

    private static Outcome rescue(Daemon daemon, Path runtime, String... arguments)
            throws Exception {
        List<String> command =
                new ArrayList<>(List.of(Daemon.RESCUE, "--runtime", runtime.toString()));
        command.addAll(List.of(arguments));
        return run(daemon, command);
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
}
