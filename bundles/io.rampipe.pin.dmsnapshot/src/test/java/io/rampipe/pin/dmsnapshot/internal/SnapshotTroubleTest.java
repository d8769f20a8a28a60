package io.rampipe.pin.dmsnapshot.internal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.BusyException;
import io.rampipe.api.DiskFullException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.api.SyncBack;
import io.rampipe.api.SyncBack.Result;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.LoopDevice;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.lab.InLab;
import java.io.IOException;
import java.io.OutputStream;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/** What goes wrong leaves the data of before or after, and says what it was. */
@InLab(memory = 1536, disk = 1024)
class SnapshotTroubleTest {
    private static final int SIZE = 6_000_000;
    private static final int GROWTH = 4 << 20;

    private Bench bench;
    private Path file;
    private byte[] model;

    @BeforeEach
    void make() throws Exception {
        bench = new Bench(0, GROWTH);
        file = Files.createDirectories(bench.disk.resolve("d")).resolve("image");
        model = new byte[SIZE];
        new Random(1).nextBytes(model);
        Files.write(file, model);
    }

    @AfterEach
    void close() throws Exception {
        assertEquals(List.of(), bench.leftInKernel());
        bench.close();
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

    private void fill(Path where) throws IOException {
        try (OutputStream out = Files.newOutputStream(where)) {
            byte[] part = new byte[1 << 16];
            while (true) {
                out.write(part);
            }
        } catch (IOException e) {
            assertTrue(e.getMessage().contains("No space left"), e.getMessage());
        }
    }

    private Cause refused() {
        RefusedException e = assertThrows(RefusedException.class, () -> bench.pin(file));
        System.out.println(e.getMessage());
        return e.refusal().cause();
    }

    private void stillOnDisk() throws IOException {
        assertArrayEquals(model, Files.readAllBytes(file));
        assertEquals(List.of(), bench.leftInKernel());
    }

    /** What is set aside for it cannot be taken by others; here it is, by force. */
    @Test
    void storeFullLosesNothingThatWasSynced() throws Exception {
        Pin pin = bench.pin(file);
        write(0, 100_000, 2);
        assertTrue(bench.checkpoint(pin).consistent());
        byte[] synced = model.clone();
        fill(bench.pool.resolve(pin.id()).resolve("store/others"));
        assertThrows(
                IOException.class,
                () -> {
                    for (int at = 0; at + 1_000_000 < SIZE; at += 1_000_000) {
                        write(at, 1_000_000, at);
                    }
                });
        String message = assertThrows(IOException.class, () -> bench.checkpoint(pin)).getMessage();
        System.out.println(message);
        assertTrue(message.contains("is lost") && message.contains("umount " + file), message);
        assertThrows(IOException.class, () -> bench.sync.begin(pin));
        assertArrayEquals(synced, Bench.onDisk(file));
        Command.run("umount", file.toString());
        try (SyncBack.Last last = bench.sync.begin(pin)) {
            assertEquals(0, last.finish().bytes());
        }
        bench.discard(pin);
        assertArrayEquals(synced, Files.readAllBytes(file));
        assertTrue(bench.told.toString().contains("is lost"), bench.told.toString());
    }

    /** Others may fill the pool: what is set aside for a pin is not in it. */
    @Test
    void poolFullIsNoTroubleOnceItIsPinned() throws Exception {
        Pin pin = bench.pin(file);
        Path others = bench.pool.resolve("others");
        fill(others);
        for (int at = 0; at + 1_000_000 < SIZE; at += 1_000_000) {
            write(at, 1_000_000, at);
        }
        assertTrue(bench.checkpoint(pin).consistent());
        write(100, 1000, 8);
        bench.unpin(pin);
        assertArrayEquals(model, Files.readAllBytes(file));
        Files.delete(others);
        stillOnDisk();
    }

    @Test
    void growthFullIsADiskFullToPrograms() throws Exception {
        Pin pin = bench.pin(file);
        int length = 0;
        byte[] part = new byte[100_000];
        Arrays.fill(part, (byte) 7);
        try (OutputStream out =
                Files.newOutputStream(file, java.nio.file.StandardOpenOption.APPEND)) {
            while (length < 2 * GROWTH) {
                out.write(part);
                length += part.length;
            }
        } catch (IOException e) {
            assertTrue(e.getMessage().contains("No space left"), e.getMessage());
        }
        assertTrue(length >= GROWTH - part.length && length < 2 * GROWTH, "grew " + length);
        byte[] grown = Files.readAllBytes(file);
        assertArrayEquals(model, Arrays.copyOf(grown, SIZE));
        bench.unpin(pin);
        assertArrayEquals(grown, Files.readAllBytes(file));
    }

    @Test
    void holderKeepsItPinned() throws Exception {
        Pin pin = bench.pin(file);
        write(10, 10, 3);
        try (RandomAccessFile holder = new RandomAccessFile(file.toFile(), "rw")) {
            holder.seek(20);
            String busy =
                    assertThrows(BusyException.class, () -> bench.sync.begin(pin)).getMessage();
            assertTrue(busy.contains("in use"), busy);
            assertThrows(BusyException.class, () -> bench.strategy.unmount(pin));
            holder.write("still here".getBytes());
            System.arraycopy("still here".getBytes(), 0, model, 20, 10);
            assertTrue(bench.checkpoint(pin).consistent());
        }
        bench.unpin(pin);
        assertArrayEquals(model, Files.readAllBytes(file));
    }

    @Test
    void withoutLoopDevicesItIsRefused() throws Exception {
        Command.run("mount", "--bind", "/dev/null", "/dev/loop-control");
        try {
            assertEquals(Cause.ERROR, refused());
        } finally {
            Command.run("umount", "/dev/loop-control");
        }
        stillOnDisk();
    }

    /** With 256 minors each there are 4096 of them, with one as usual a million. */
    @Test
    @EnabledIfSystemProperty(
            named = "rampipe.test.long",
            matches = "true",
            disabledReason = "takes 4096 loop devices, minutes: -Drampipe.test.long=true")
    void withAllLoopDevicesInUseItIsRefused() throws Exception {
        loadLoop("max_part=255");
        // One is the bench's disk.
        List<LoopDevice> taken = new ArrayList<>();
        try (Fd other = At.open(FilePath.of("/bin/sh"), At.O_RDONLY);
                Fd nodes =
                        At.open(FilePath.of(bench.pool.toString()), At.O_PATH | At.O_DIRECTORY)) {
            LinuxException none =
                    assertThrows(
                            LinuxException.class,
                            () -> {
                                while (true) {
                                    taken.add(LoopDevice.attach(other, 0, true, "taken", nodes));
                                }
                            });
            assertEquals(4095, taken.size(), none.getMessage());
            RefusedException e = assertThrows(RefusedException.class, () -> bench.pin(file));
            assertTrue(e.getMessage().contains("find a free loop device"), e.getMessage());
            stillOnDisk();
            taken.subList(0, 8).forEach(LoopDevice::close);
            bench.unpin(bench.pin(file));
            stillOnDisk();
        } finally {
            taken.forEach(LoopDevice::close);
            loadLoop("max_part=0");
        }
    }

    private void loadLoop(String option) throws Exception {
        close();
        String modules = "";
        for (String word : Files.readString(Path.of("/proc/cmdline")).trim().split(" ")) {
            modules = word.startsWith("lab.modules=") ? word.substring(12) : modules;
        }
        // What was attached is let go a moment after it was closed.
        Await.until(
                Duration.ofSeconds(60),
                () -> !Command.shell("rmmod loop 2>&1 || :").contains("in use"),
                () -> "loop stays in use");
        Command.run("insmod", modules + "/drivers/block/loop.ko", option);
        make();
    }

    @Test
    void mke2fsThatFailsIsNamed() throws Exception {
        Path fake = bench.pool.resolve("fake");
        Files.writeString(fake, "#!/bin/sh\necho something is wrong >&2\nexit 3\n");
        Files.setPosixFilePermissions(fake, PosixFilePermissions.fromString("rwx------"));
        String real = FileSystemMaker.mke2fs().orElseThrow().toRealPath().toString();
        Command.run("mount", "--bind", fake.toString(), real);
        try {
            RefusedException e = assertThrows(RefusedException.class, () -> bench.pin(file));
            assertTrue(
                    e.getMessage().contains("failed with status 3: something is wrong"),
                    e.getMessage());
        } finally {
            Command.run("umount", real);
        }
        stillOnDisk();
    }

    @Test
    void inUseItIsRefused() throws Exception {
        try (RandomAccessFile holder = new RandomAccessFile(file.toFile(), "r")) {
            assertEquals(SIZE, holder.length());
            assertEquals(Cause.IN_USE, refused());
        }
        stillOnDisk();
    }

    @Test
    void withoutRoomItIsRefused() throws Exception {
        RefusedException e = assertThrows(RefusedException.class, () -> bench.pin(file, 5_000_000));
        assertEquals(Cause.NO_ROOM, e.refusal().cause());
        stillOnDisk();
    }

    @Test
    void fullDiskKeepsItInRam() throws Exception {
        Pin pin = bench.pin(file);
        byte[] before = model.clone();
        write(1_000_000, 2_000_000, 5);
        Path others = bench.disk.resolve("others");
        fill(others);
        assertThrows(DiskFullException.class, () -> bench.checkpoint(pin));
        assertThrows(DiskFullException.class, () -> bench.sync.begin(pin));
        assertArrayEquals(before, Bench.onDisk(file));
        assertArrayEquals(model, Files.readAllBytes(file));
        Files.delete(others);
        bench.unpin(pin);
        assertArrayEquals(model, Files.readAllBytes(file));
    }

    @Test
    void changedBehindItBothAreKept() throws Exception {
        Pin pin = bench.pin(file);
        write(1_000_000, 2_000_000, 5);
        byte[] theirs = Bench.onDisk(file);
        theirs[5_000_000]++;
        try (Fd tree = Bench.below(file.getParent());
                Fd fd = At.open(tree, FilePath.of("image"), At.O_RDWR, 0)) {
            ByteBuffer b = ByteBuffer.allocateDirect(1).put(0, theirs[5_000_000]);
            Io.writeFully(fd, b, 5_000_000);
        }
        Result result = bench.checkpoint(pin);
        assertFalse(result.consistent());
        assertTrue(result.why().contains("changed on disk by others"), result.why());
        bench.unpin(pin);
        assertArrayEquals(theirs, Files.readAllBytes(file));
        byte[] ours = Files.readAllBytes(file.resolveSibling("image.rampipe-conflict-" + pin.id()));
        // What was read from disk is theirs.
        model[5_000_000] = theirs[5_000_000];
        assertArrayEquals(model, ours);
    }

    /** A writer that never rests: each checkpoint is as it was between two of its writes. */
    @Test
    void checkpointIsOfOneMoment() throws Exception {
        int slots = 64;
        int stride = SIZE / slots / 4096 * 4096;
        Pin pin = bench.pin(file);
        AtomicBoolean stop = new AtomicBoolean();
        AtomicReference<Exception> failed = new AtomicReference<>();
        Thread writer =
                new Thread(
                        () -> {
                            try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
                                for (long n = 1; !stop.get(); n++) {
                                    f.seek(n % slots * stride);
                                    f.write(ByteBuffer.allocate(8).putLong(n).array());
                                }
                            } catch (IOException e) {
                                failed.set(e);
                            }
                        });
        writer.start();
        try {
            for (int i = 0; i < 10; i++) {
                Result result = bench.checkpoint(pin);
                assertTrue(result.consistent(), result.why());
                ByteBuffer disk = ByteBuffer.wrap(Bench.onDisk(file));
                long newest = 0;
                for (int s = 0; s < slots; s++) {
                    newest = i == 0 ? newest : Math.max(newest, disk.getLong(s * stride));
                }
                for (int s = 0; i > 0 && s < slots; s++) {
                    long n = disk.getLong(s * stride);
                    long expected = newest - Math.floorMod(newest - s, (long) slots);
                    assertEquals(expected, n, "slot " + s + ", newest " + newest);
                }
                System.out.println("held " + result.held() + ", up to write " + newest);
            }
        } finally {
            stop.set(true);
            writer.join();
        }
        assertEquals(null, failed.get());
        bench.unpin(pin);
    }
}
