package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.lab.InLab;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Overlayfs and dm-snapshot side by side in the daemon that ships. */
@InLab(seconds = 900, memory = 1536)
class StrategyChoiceIT {
    private static final int SIZE = 20 << 20;

    private ScratchDisk disk;
    private Daemon daemon;
    private Path large;
    private byte[] model;

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(300);
        large = Files.createDirectories(disk.root().resolve("images")).resolve("large");
        model = new byte[SIZE];
        new Random(4).nextBytes(model);
        Files.write(large, model);
        daemon =
                new Daemon(disk.aside("daemon"))
                        .set("watch.directories", disk.root().toString())
                        .set("pool.size", "256M")
                        .set("strategy.order", "dmsnapshot, overlayfs")
                        .set("memory.reserve", "16M")
                        .set("dmsnapshot.block", "*.img")
                        .set("checkpoint.interval", "1h")
                        .set("stop.timeout", "20s")
                        .start();
    }

    @AfterEach
    void tearDown() throws Exception {
        daemon.close();
        disk.close();
        assertEquals(
                "No devices found", Command.run("dmsetup", "info", "-c", "--noheadings").strip());
    }

    private String strategyOf(Path target) throws IOException {
        JsonObject pin = daemon.pin(target).orElseThrow(() -> new AssertionError(daemon.logText()));
        assertEquals("", pin.get("problem").getAsString());
        return pin.get("strategy").getAsString();
    }

    private void write(Path file, int seed) throws IOException {
        byte[] data = new byte[300_000];
        Random random = new Random(seed);
        random.nextBytes(data);
        int at = random.nextInt(SIZE - data.length);
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            f.seek(at);
            f.write(data);
            f.getFD().sync();
        }
        System.arraycopy(data, 0, model, at, data.length);
    }

    @Test
    void eachTargetGoesToWhatIsRightForIt() throws Exception {
        Path directory = Files.createDirectories(disk.root().resolve("profile"));
        Path small = Files.writeString(directory.resolve("small"), "small");
        Path alone = Files.createDirectories(disk.root().resolve("alone")).resolve("file");
        Files.writeString(alone, "alone");
        String why = daemon.command("why", alone.toString()).ok().out();
        assertTrue(why.contains("dmsnapshot refuses the file alone: "), why);
        assertTrue(why.contains("below dmsnapshot.min_size"), why);
        assertTrue(why.contains("overlayfs would take the file alone"), why);
        why = daemon.command("why", large.toString()).ok().out();
        assertTrue(why.contains("dmsnapshot refuses the directory: "), why);
        assertTrue(why.contains("dmsnapshot would take the file alone"), why);
        for (Path target : new Path[] {large, directory, alone}) {
            daemon.command("pin", target.toString()).ok();
        }
        assertEquals("dmsnapshot", strategyOf(large));
        assertEquals("overlayfs", strategyOf(directory));
        assertEquals("overlayfs", strategyOf(alone));
        Files.writeString(small, "changed");
        Files.writeString(alone, "changed");
        write(large, 1);
        assertEquals(0, daemon.stop(), daemon::logText);
        assertArrayEquals(model, Files.readAllBytes(large));
        assertEquals("changed", Files.readString(small));
        assertEquals("changed", Files.readString(alone));
    }

    @Test
    void aPinMovesBetweenTheStrategiesWithItsData() throws Exception {
        daemon.command("pin", large.toString()).ok();
        for (int i = 0; i < 2; i++) {
            write(large, 10 + i);
            daemon.command("migrate", large.toString(), "overlayfs").ok();
            assertEquals("overlayfs", strategyOf(large));
            assertArrayEquals(model, Files.readAllBytes(large));
            write(large, 20 + i);
            daemon.command("migrate", large.toString(), "dmsnapshot").ok();
            assertEquals("dmsnapshot", strategyOf(large));
            assertArrayEquals(model, Files.readAllBytes(large));
        }
        Path directory = Files.createDirectories(disk.root().resolve("profile"));
        Files.writeString(directory.resolve("f"), "old");
        daemon.command("pin", directory.toString()).ok();
        Files.writeString(directory.resolve("f"), "new");
        Daemon.Outcome refused = daemon.command("migrate", directory.toString(), "dmsnapshot");
        assertEquals(1, refused.status(), refused.toString());
        assertTrue(refused.err().contains("stays with overlayfs"), refused.toString());
        assertEquals("overlayfs", strategyOf(directory));
        assertEquals("new", Files.readString(directory.resolve("f")));
        assertEquals(0, daemon.stop(), daemon::logText);
        assertArrayEquals(model, Files.readAllBytes(large));
        assertEquals("new", Files.readString(directory.resolve("f")));
    }

    @Test
    void theOrderIsChangedInTheRunningDaemon() throws Exception {
        daemon.command("use", "pin", "overlayfs").ok();
        daemon.command("pin", large.toString()).ok();
        assertEquals("overlayfs", strategyOf(large));
        daemon.command("unpin", large.toString()).ok();
        daemon.command("use", "pin", "dmsnapshot").ok();
        assertTrue(
                Files.readString(daemon.configuration())
                        .contains("strategy.order = dmsnapshot, overlayfs\n"));
        daemon.command("pin", large.toString()).ok();
        assertEquals("dmsnapshot", strategyOf(large));
        assertEquals(0, daemon.stop(), daemon::logText);
    }

    @Test
    void aDiskImageIsPinnedAsADevice() throws Exception {
        Path image = large.resolveSibling("disk.img");
        Files.move(large, image);
        daemon.command("pin", image.toString()).ok();
        assertEquals("dmsnapshot", strategyOf(image));
        assertFalse(Files.isRegularFile(image));
        write(image, 1);
        daemon.command("sync", image.toString()).ok();
        write(image, 2);
        daemon.kill();
        write(image, 3);
        daemon.startAgain("watching|idle");
        assertEquals("dmsnapshot", strategyOf(image));
        daemon.command("unpin", image.toString()).ok();
        assertArrayEquals(model, Files.readAllBytes(image));
        assertEquals(0, daemon.stop(), daemon::logText);
    }

    @Test
    void whatIsSetAsideDoesNotMakeRoomForItself() throws Exception {
        assertEquals(0, daemon.stop(), daemon::logText);
        // More than pool.high_water, less than pool.size without pool.reserve.
        daemon.set("pool.size", "64M").set("dmsnapshot.growth", "32M").start();
        daemon.command("pin", large.toString()).ok();
        // Longer than the daemon waits between two looks.
        Process rest = new ProcessBuilder("sleep", "5").start();
        rest.waitFor();
        assertEquals("dmsnapshot", strategyOf(large));
        assertFalse(daemon.logText().contains("make room"), daemon::logText);
        assertEquals(0, daemon.stop(), daemon::logText);
    }
}
