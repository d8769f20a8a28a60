package io.rampipe.pin.dmsnapshot.internal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.lab.InLab;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32C;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The daemon dies and none comes back: {@code rampipe-rescue} does what is left to do. */
@InLab(seconds = 900, memory = 1536, disk = 1024)
class SnapshotRescueTest {
    private static final int SIZE = 600_001;
    private static final int IMAGE = 600_064;
    private static final int MOST_STEPS = 80;
    private static final int SECONDS = 60;

    /** Each step takes a few seconds. */
    private static final int STRIDE = Boolean.getBoolean("rampipe.test.long") ? 1 : 25;

    private static final Path RESCUE =
            Path.of("../../distribution/src/bin/rampipe-rescue").toAbsolutePath().normalize();

    private Bench bench;
    private Path runtime;
    private Path record;
    private Path file;
    private byte[] before;
    private byte[] model;
    private int count;

    private record Outcome(int status, String text) {}

    @BeforeEach
    void make() throws Exception {
        bench = new Bench(0, 4 << 20, "*.img");
        runtime = Files.createTempDirectory("rampipe-runtime");
        Files.createDirectory(runtime.resolve("pins"));
        record = Files.createTempFile("record", "");
        Files.writeString(Path.of("/proc/sys/fs/lease-break-time"), "1");
        Files.createDirectories(bench.disk.resolve("d"));
    }

    @AfterEach
    void close() throws Exception {
        assertEquals(List.of(), bench.leftInKernel());
        bench.close();
        Files.delete(record);
        Command.run("rm", "-r", runtime.toString());
    }

    private void file(String name, int size) throws IOException {
        file = bench.disk.resolve("d").resolve(name);
        before = new byte[size];
        new Random(1).nextBytes(before);
        restore();
    }

    private void restore() throws IOException {
        model = before.clone();
        Files.write(file, before);
    }

    /** The record as the engine writes it. */
    private void recorded(Pin pin) throws IOException {
        Map<String, String> p = new TreeMap<>();
        p.put("version", "1");
        p.put("id", pin.id());
        p.put("target", pin.target().path().raw());
        p.put("kind", pin.target().kind().name());
        p.put("strategy", pin.strategy());
        p.put("sync", pin.sync());
        p.put("format", pin.format());
        p.put("step", pin.step().name());
        pin.attributes().forEach((k, v) -> p.put("attribute." + k, v));
        CRC32C crc = new CRC32C();
        StringBuilder text = new StringBuilder();
        p.forEach(
                (k, v) -> {
                    crc.update((k + "=" + v + "\0").getBytes(StandardCharsets.ISO_8859_1));
                    text.append(k).append('=').append(v.replace(":", "\\:")).append('\n');
                });
        text.append("checksum=").append(Long.toHexString(crc.getValue())).append('\n');
        Files.writeString(runtime.resolve("pins").resolve(pin.id() + ".pin"), text);
    }

    private Outcome rescue(String... options) throws Exception {
        Path out = runtime.resolve("out");
        List<String> command = new ArrayList<>(List.of(RESCUE.toString()));
        command.addAll(List.of(options));
        command.addAll(List.of("--runtime", runtime.toString()));
        Process p =
                new ProcessBuilder(command)
                        .redirectErrorStream(true)
                        .redirectOutput(out.toFile())
                        .start();
        if (!p.waitFor(SECONDS, TimeUnit.SECONDS)) {
            p.destroyForcibly();
            throw new AssertionError("rampipe-rescue hangs: " + Files.readString(out));
        }
        return new Outcome(p.exitValue(), Files.readString(out));
    }

    private Outcome apply() throws Exception {
        return rescue("--apply");
    }

    /** All of it: on disk, and nothing left. */
    private void rescued(String where) throws Exception {
        Outcome done = apply();
        assertEquals(0, done.status, where + done.text);
        assertEquals(List.of(), bench.leftInKernel(), where + done.text);
        assertArrayEquals(model, Files.readAllBytes(file), where + done.text);
        try (var left = Files.list(runtime.resolve("pins"))) {
            assertEquals(List.of(), left.toList(), where + done.text);
        }
        try (var left = Files.list(bench.pool)) {
            assertEquals(List.of(), left.toList(), where + done.text);
        }
        assertEquals(List.of(), leftOnDisk(), where + done.text);
    }

    private List<String> leftOnDisk() throws IOException {
        Path home = bench.disk.resolve(".rampipe");
        if (Files.notExists(home)) {
            return List.of();
        }
        try (var names = Files.list(home)) {
            return names.map(p -> p.getFileName().toString())
                    .filter(n -> !n.equals("conflicts"))
                    .toList();
        }
    }

    private void write(int at, int length, int seed) throws IOException {
        byte[] data = new byte[length];
        new Random(seed).nextBytes(data);
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            f.seek(at);
            f.write(data);
            f.getFD().sync();
        }
        System.arraycopy(data, 0, model, at, length);
    }

    /** In several ways where it is a file. */
    private Pin changed() throws IOException {
        Pin pin = bench.pin(file);
        write(100_000, 50_000, ++count);
        write(500_000, 50_000, ++count);
        if (pin.format().equals(Pin.SNAPSHOT)) {
            try (Fd fd = At.open(FilePath.of(file.toString()), At.O_RDWR)) {
                Io.punchHole(fd, 40_960, 8192);
                Io.collapse(fd, 409_600, 8192);
            }
            Arrays.fill(model, 40_960, 49_152, (byte) 0);
            byte[] next = Arrays.copyOf(model, SIZE - 8192);
            System.arraycopy(model, 409_600 + 8192, next, 409_600, next.length - 409_600);
            model = next;
        }
        Victim.save(pin, record);
        return pin;
    }

    private int victim(String what, String id, int step) throws Exception {
        Process p =
                new ProcessBuilder(
                                Path.of(System.getProperty("java.home"), "bin/java").toString(),
                                "-cp",
                                System.getProperty("java.class.path"),
                                "-XX:TieredStopAtLevel=1",
                                "-Xshare:auto",
                                Victim.class.getName(),
                                what,
                                file.toString(),
                                bench.pool.resolve(id).toString(),
                                record.toString(),
                                Integer.toString(step))
                        .inheritIO()
                        .start();
        if (!p.waitFor(SECONDS, TimeUnit.SECONDS)) {
            p.destroyForcibly();
            throw new AssertionError(what + " hangs at step " + step);
        }
        assertTrue(p.exitValue() == 9 || p.exitValue() == Victim.DONE, "status " + p.exitValue());
        return p.exitValue();
    }

    private void killedWhilePinning(String name, int size) throws Exception {
        file(name, size);
        int step = 1;
        for (int status = 0; status != Victim.DONE; step++) {
            String id = "p" + step;
            Files.createDirectory(bench.pool.resolve(id));
            status = victim("pin", id, step);
            recorded(Victim.load(record));
            rescued(name + ", step " + step + ": ");
        }
        assertTrue(step > 4, "steps " + step);
    }

    @Test
    void killedAtEachStepOfPinning() throws Exception {
        killedWhilePinning("file", SIZE);
        killedWhilePinning("disk.img", IMAGE);
    }

    private void killedWhile(String what, String name, int size) throws Exception {
        file(name, size);
        int step = 1;
        for (int status = 0; status != Victim.DONE; step += STRIDE) {
            Pin pin = changed();
            status = victim(what, pin.id(), step);
            if (status == Victim.DONE && what.equals("unpin")) {
                Files.delete(bench.pool.resolve(pin.id()));
            } else {
                recorded(Victim.load(record));
                rescued(what + " " + name + ", step " + step + ": ");
            }
            assertArrayEquals(model, Files.readAllBytes(file));
            restore();
            assertTrue(step < MOST_STEPS, "endless");
        }
        System.out.println(what + " of " + name + ": " + step + " steps");
    }

    @Test
    void killedAtStepsOfUnpinning() throws Exception {
        killedWhile("unpin", "file", SIZE);
        killedWhile("unpin", "disk.img", IMAGE);
    }

    @Test
    void killedAtStepsOfACheckpoint() throws Exception {
        killedWhile("checkpoint", "file", SIZE);
        killedWhile("checkpoint", "disk.img", IMAGE);
    }

    private void usedMeanwhile(String name, int size) throws Exception {
        file(name, size);
        Pin pin = changed();
        recorded(pin);
        Outcome dry = rescue();
        assertEquals(2, dry.status, dry.text);
        assertTrue(dry.text.contains("not in use"), dry.text);
        assertTrue(dry.text.contains("would bring it to disk, unmount it"), dry.text);
        assertArrayEquals(before, Bench.onDisk(file), "a dry run changes nothing");
        assertTrue(bench.strategy.mounted(pin));
        try (RandomAccessFile user = new RandomAccessFile(file.toFile(), "rw")) {
            dry = rescue();
            String me = "process " + ProcessHandle.current().pid() + " ";
            assertTrue(dry.text.contains("in use by " + me), dry.text);
            Outcome busy = apply();
            assertEquals(1, busy.status, busy.text);
            assertTrue(busy.text.contains(me), busy.text);
            assertTrue(busy.text.contains("stays mounted"), busy.text);
            assertArrayEquals(model, Bench.onDisk(file), busy.text);
            user.seek(200_000);
            user.write(new byte[5000]);
            Arrays.fill(model, 200_000, 205_000, (byte) 0);
        }
        assertArrayEquals(model, Files.readAllBytes(file), "programs go on");
        rescued(name + ": ");
    }

    @Test
    void whatIsInUseIsWrittenAndStaysMounted() throws Exception {
        usedMeanwhile("file", SIZE);
        usedMeanwhile("disk.img", IMAGE);
    }

    @Test
    void aDiskThatIsALoopDeviceStays() throws Exception {
        file("disk.img", IMAGE);
        recorded(changed());
        String loop = Command.run("losetup", "--find", "--show", file.toString()).strip();
        Outcome busy = apply();
        assertEquals(1, busy.status, busy.text);
        assertTrue(busy.text.contains(loop), busy.text);
        assertArrayEquals(model, Bench.onDisk(file), busy.text);
        Command.run("losetup", "--detach", loop);
        rescued("");
    }

    @Test
    void whatADeadDaemonHasHeldGoesOn() throws Exception {
        file("file", SIZE);
        recorded(changed());
        freeze();
        rescued("frozen: ");
        file("disk.img", IMAGE);
        Pin pin = changed();
        recorded(pin);
        try (DeviceMapper dm = DeviceMapper.open()) {
            dm.suspend(pin.attribute(Pin.SNAPSHOT_DEVICE), false);
        }
        rescued("suspended: ");
        pin = changed();
        recorded(pin);
        bench.mergeAndDie(pin);
        Outcome dry = rescue();
        assertTrue(dry.text.contains("would end what was begun: a merge"), dry.text);
        rescued("merging: ");
        restore();
        pin = changed();
        recorded(pin);
        bench.mergeAndDie(pin);
        String loop = Command.run("losetup", "--find", "--show", file.toString()).strip();
        assertEquals(1, apply().status);
        write(300_000, 50_000, ++count);
        assertArrayEquals(model, Files.readAllBytes(file), "goes on");
        Command.run("losetup", "--detach", loop);
        rescued("merging, in use: ");
    }

    /** As a daemon leaves it that had no process to thaw it. */
    private void freeze() throws Exception {
        Path at = Files.createDirectories(runtime.resolve("seen"));
        Command.run("mount", Victim.load(record).attribute(Pin.SNAPSHOT_NODE), at.toString());
        Command.run("fsfreeze", "--freeze", at.toString());
        Command.run("umount", at.toString());
    }

    @Test
    void whatOthersChangedOnDiskStaysAndTheOtherVersionIsKeptBeside() throws Exception {
        for (String name : List.of("file", "disk.img")) {
            file(name, name.equals("file") ? SIZE : IMAGE);
            Pin pin = bench.pin(file);
            byte[] disk = before.clone();
            write(0, 50_000, 1);
            try (Fd tree = Bench.below(file.getParent());
                    RandomAccessFile below =
                            new RandomAccessFile(
                                    "/proc/self/fd/" + tree.number() + "/" + name, "rw")) {
                below.write(42);
                disk[0] = 42;
            }
            recorded(pin);
            byte[] ram = model;
            model = disk;
            rescued(name + ": ");
            Path kept = file.resolveSibling(name + ".rampipe-conflict-" + pin.id());
            assertArrayEquals(ram, Files.readAllBytes(kept));
        }
    }

    @Test
    void aBrokenSnapshotIsToldAndTheDiskHasItsLastCheckpoint() throws Exception {
        file("disk.img", IMAGE);
        Pin pin = changed();
        assertTrue(bench.checkpoint(pin).consistent());
        byte[] checkpoint = model.clone();
        Path store = Path.of(pin.attribute(Pin.SNAPSHOT_STORE));
        // As if there were no memory for it.
        Files.setPosixFilePermissions(
                store, java.nio.file.attribute.PosixFilePermissions.fromString("rw-------"));
        Command.shell("printf '\\0\\0\\0\\0' | dd of=" + store + " bs=1 seek=4 conv=notrunc");
        recorded(pin);
        Outcome done = apply();
        assertEquals(0, done.status, done.text);
        assertTrue(done.text.contains("is lost; the disk has that checkpoint"), done.text);
        assertArrayEquals(checkpoint, Files.readAllBytes(file));
        assertEquals(List.of(), bench.leftInKernel());
    }

    @Test
    void devicesThatAreNotRamPipesAreLeftAlone() throws Exception {
        file("file", SIZE);
        Pin pin = changed();
        recorded(pin);
        rescued("");
        recorded(pin.at(Pin.Step.PREPARING));
        Files.createDirectory(bench.pool.resolve(pin.id()));
        String name = pin.attribute(Pin.SNAPSHOT_DEVICE);
        Command.shell("echo '0 8 zero' | dmsetup create --noudevsync " + name);
        try {
            Outcome left = apply();
            assertEquals(1, left.status, left.text);
            assertTrue(left.text.contains("is not RamPipe's"), left.text);
            assertTrue(Command.run("dmsetup", "ls").contains(name));
        } finally {
            Command.run("dmsetup", "remove", "--noudevsync", name);
        }
        rescued("");
    }
}
