package io.rampipe.pin.dmsnapshot.internal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.BusyException;
import io.rampipe.api.Pin;
import io.rampipe.api.Refusal;
import io.rampipe.api.RefusedException;
import io.rampipe.api.SyncBack;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.lab.InLab;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A disk image, pinned as the block device that its users take it for. */
@InLab(disk = 1024)
class BlockDeviceTest {
    /** Not a whole number of blocks. */
    private static final int SIZE = (32 << 20) + 3 * 512;

    private Bench bench;
    private Path image;
    private Path mount;

    @BeforeEach
    void make() throws Exception {
        bench = new Bench(0, 8 << 20, "*.img");
        image = Files.createTempDirectory(bench.disk, "d").resolve("disk.img");
        mount = Files.createTempDirectory("rampipe-image");
    }

    @AfterEach
    void close() throws Exception {
        Command.shell("! mountpoint -q " + mount + " || umount " + mount);
        assertEquals(List.of(), bench.leftInKernel());
        bench.close();
        Files.delete(mount);
    }

    private byte[] random() throws IOException {
        byte[] model = new byte[SIZE];
        new Random(3).nextBytes(model);
        Files.write(image, model);
        return model;
    }

    /** Some writes, as a program does them that treats it as a disk. */
    private void write(byte[] model, long seed) throws IOException {
        Random random = new Random(seed);
        try (FileChannel device = FileChannel.open(image, StandardOpenOption.WRITE)) {
            for (int i = 0; i < 50; i++) {
                byte[] data = new byte[1 + random.nextInt(20_000)];
                random.nextBytes(data);
                int at = random.nextInt(SIZE - data.length + 1);
                device.write(ByteBuffer.wrap(data), at);
                System.arraycopy(data, 0, model, at, data.length);
            }
            byte[] end = new byte[700];
            random.nextBytes(end);
            device.write(ByteBuffer.wrap(end), SIZE - end.length);
            System.arraycopy(end, 0, model, SIZE - end.length, end.length);
            device.force(true);
        }
    }

    private byte[] seen() throws IOException {
        byte[] all = new byte[SIZE];
        try (RandomAccessFile f = new RandomAccessFile(image.toFile(), "r")) {
            f.readFully(all);
            assertEquals(-1, f.read());
        }
        return all;
    }

    @Test
    void whatIsWrittenToTheDeviceReachesTheFile() throws Exception {
        byte[] model = random();
        Files.setPosixFilePermissions(image, PosixFilePermissions.fromString("rw-r-----"));
        Files.setAttribute(image, "unix:uid", 1234);
        Files.setLastModifiedTime(image, FileTime.fromMillis(1_000_000_000_000L));
        Pin pin = bench.pin(image);
        assertEquals(
                "block special file", Command.run("stat", "-c", "%F", image.toString()).strip());
        assertEquals("640 1234", Command.run("stat", "-c", "%a %u", image.toString()).strip());
        assertArrayEquals(model, seen());
        assertTrue(bench.checkpoint(pin).consistent());
        assertEquals(0, bench.sync.dirty(pin).files());
        byte[] before = model.clone();
        for (int round = 0; round < 4; round++) {
            write(model, round);
            assertArrayEquals(before, Bench.onDisk(image), "only in RAM");
            assertEquals(1, bench.sync.dirty(pin).files());
            assertTrue(bench.checkpoint(pin).consistent());
            assertArrayEquals(model, Bench.onDisk(image), "round " + round);
            assertEquals(0, bench.sync.dirty(pin).files());
            before = model.clone();
        }
        write(model, 9);
        // A daemon that knows nothing of what an earlier one did.
        bench.sync = bench.syncBack();
        bench.unpin(pin);
        assertArrayEquals(model, Files.readAllBytes(image));
        assertEquals("640 1234", Command.run("stat", "-c", "%a %u", image.toString()).strip());
        assertTrue(Files.getLastModifiedTime(image).toMillis() > 1_000_000_000_000L);
    }

    private String status(Pin pin) throws IOException {
        try (DeviceMapper dm = DeviceMapper.open()) {
            DeviceMapper.Part part = dm.status(pin.attribute(Pin.SNAPSHOT_ORIGIN)).get(0);
            return part.type() + " " + part.parameters();
        }
    }

    @Test
    void theKernelMergesAndWhoeverHasItOpenGoesOn() throws Exception {
        byte[] model = random();
        Pin pin = bench.pin(image);
        write(model, 1);
        assertTrue(bench.checkpoint(pin).consistent());
        write(model, 2);
        FileTime before = Files.getLastModifiedTime(image);
        assertTrue(!status(pin).matches("snapshot (\\d+)/\\d+ \\1"), status(pin));
        Path loop;
        try (SyncBack.Last last = bench.sync.begin(pin)) {
            assertArrayEquals(model, Bench.onDisk(image), "merged before " + last);
            assertTrue(status(pin).matches("snapshot (\\d+)/\\d+ \\1"), status(pin));
            assertEquals(List.of(), logs(), "the redo log has gone");
            // In that moment somebody opens it.
            loop = Path.of(Command.run("losetup", "--find", "--show", image.toString()).strip());
            assertThrows(BusyException.class, () -> bench.strategy.unmount(pin));
        }
        assertTrue(before.toMillis() > 0 && bench.strategy.mounted(pin));
        byte[] merged = model.clone();
        byte[] data = new byte[100_000];
        new Random(5).nextBytes(data);
        try (FileChannel device = FileChannel.open(loop, StandardOpenOption.WRITE)) {
            device.write(ByteBuffer.wrap(data), 7_000_000);
            device.force(true);
        }
        System.arraycopy(data, 0, model, 7_000_000, data.length);
        assertArrayEquals(merged, Bench.onDisk(image), "only in RAM again");
        Command.run("losetup", "--detach", loop.toString());
        bench.unpin(pin);
        assertArrayEquals(model, Files.readAllBytes(image));
        assertEquals(List.of(), bench.told);
    }

    private List<String> logs() throws IOException {
        try (var names = Files.list(bench.disk.resolve(".rampipe"))) {
            return names.map(p -> p.getFileName().toString()).toList();
        }
    }

    @Test
    void aFileSystemInItIsSoundAtEachCheckpoint() throws Exception {
        Command.run("truncate", "-s", "" + SIZE, image.toString());
        Command.run("mkfs.ext4", "-q", "-F", image.toString());
        Pin pin = bench.pin(image);
        Command.run("mount", "-o", "loop", image.toString(), mount.toString());
        Path copy = bench.disk.resolve("copy");
        for (int i = 0; i < 3; i++) {
            Files.write(mount.resolve("f" + i), new byte[1 << 20]);
            Command.run("sync", "-f", mount.toString());
            Process writer =
                    new ProcessBuilder(
                                    "sh",
                                    "-c",
                                    "while dd if=/dev/urandom of=g bs=64k count=8 conv=fsync 2>/dev/null; do mv g h; done")
                            .directory(mount.toFile())
                            .start();
            try {
                assertTrue(bench.checkpoint(pin).consistent());
            } finally {
                Command.run("kill", "" + writer.pid());
                writer.waitFor();
            }
            Files.write(copy, Bench.onDisk(image));
            // Replays the journal, as after a power cut; then nothing may be wrong.
            Command.shell("e2fsck -p " + copy + " || test $? = 1");
            Command.run("e2fsck", "-fn", copy.toString());
            assertTrue(
                    Command.run("debugfs", "-R", "ls -p /", copy.toString())
                            .contains("/f" + i + "/"));
        }
        BusyException e = assertThrows(BusyException.class, () -> bench.strategy.unmount(pin));
        assertTrue(e.getMessage().contains("losetup"), e.getMessage());
        Command.run("umount", mount.toString());
        bench.unpin(pin);
        Command.run("e2fsck", "-fn", image.toString());
        Command.run("mount", "-o", "loop", image.toString(), mount.toString());
        assertEquals(1 << 20, Files.size(mount.resolve("f2")));
    }

    @Test
    void aDeviceThatADeadDaemonHasHeldGoesOn() throws Exception {
        byte[] model = random();
        Pin pin = bench.pin(image);
        write(model, 1);
        try (DeviceMapper dm = DeviceMapper.open()) {
            dm.suspend(pin.attribute(Pin.SNAPSHOT_DEVICE), false);
        }
        bench.sync = bench.syncBack();
        assertTrue(bench.checkpoint(pin).consistent());
        write(model, 2);
        bench.unpin(pin);
        assertArrayEquals(model, Files.readAllBytes(image));
    }

    @Test
    void whatOthersChangeOnDiskStaysAndTheOtherVersionIsKeptBeside() throws Exception {
        byte[] model = random();
        Pin pin = bench.pin(image);
        byte[] disk = model.clone();
        write(model, 1);
        byte[] first = new byte[5000];
        Arrays.fill(first, (byte) 7);
        try (FileChannel device = FileChannel.open(image, StandardOpenOption.WRITE)) {
            device.write(ByteBuffer.wrap(first), 0);
        }
        System.arraycopy(first, 0, model, 0, first.length);
        // In a view of the disk past the mount.
        try (var tree = Bench.below(image.getParent());
                FileChannel below =
                        FileChannel.open(
                                Path.of("/proc/self/fd/" + tree.number(), "disk.img"),
                                StandardOpenOption.WRITE)) {
            below.write(ByteBuffer.wrap(new byte[] {42}), 0);
            disk[0] = 42;
        }
        bench.unpin(pin);
        assertArrayEquals(disk, Files.readAllBytes(image));
        Path kept = image.resolveSibling("disk.img.rampipe-conflict-" + pin.id());
        assertArrayEquals(model, Files.readAllBytes(kept));
    }

    @Test
    void whatIsNoDiskImageIsRefused() throws Exception {
        Files.write(image, "a text\n".repeat(512).getBytes());
        assertRefused(Refusal.Cause.UNSUPPORTED, "begins as a text");
        Files.write(image, new byte[1000]);
        assertRefused(Refusal.Cause.UNSUPPORTED, "no multiple of 512");
        Files.delete(image);
        Command.run("sqlite3", image.toString(), "CREATE TABLE t (x); VACUUM");
        assertRefused(Refusal.Cause.NOT_ALONE, "SQLite");
        random();
        try (RandomAccessFile open = new RandomAccessFile(image.toFile(), "rw")) {
            assertEquals(0, open.getFilePointer());
            assertRefused(Refusal.Cause.IN_USE, "in use");
        }
        String loop = Command.run("losetup", "--find", "--show", image.toString()).strip();
        assertRefused(Refusal.Cause.IN_USE, "in use");
        Command.run("losetup", "--detach", loop);
        bench.unpin(bench.pin(image));
    }

    private void assertRefused(Refusal.Cause cause, String why) {
        RefusedException e = assertThrows(RefusedException.class, () -> bench.pin(image));
        assertTrue(e.getMessage().contains(why), e.getMessage());
        assertEquals(cause, e.refusal().cause());
    }
}
