package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.lab.InLab;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A large file in a snapshot, by the daemon that ships. */
@InLab(seconds = 400, memory = 1536)
class SnapshotIT {
    private static final Duration SOON = Duration.ofSeconds(120);
    private static final int SIZE = 40_000_003;

    private ScratchDisk disk;
    private Daemon daemon;
    private Path file;
    private byte[] model;

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(300);
        Path directory = Files.createDirectories(disk.root().resolve("images"));
        file = directory.resolve("disk.raw");
        model = new byte[SIZE];
        new Random(4).nextBytes(model);
        Files.write(file, model);
        daemon =
                new Daemon(disk.aside("daemon"))
                        .set("watch.directories", disk.root().toString())
                        .set("pool.size", "256M")
                        .set("strategy.order", "dmsnapshot, overlayfs")
                        .set("memory.reserve", "16M")
                        .set("checkpoint.interval", "1h")
                        .set("stop.timeout", "20s");
    }

    @AfterEach
    void tearDown() throws Exception {
        daemon.close();
        disk.close();
        assertEquals(
                "No devices found", Command.run("dmsetup", "info", "-c", "--noheadings").strip());
    }

    private void write(int at, int length, int seed) throws Exception {
        byte[] data = new byte[length];
        new Random(seed).nextBytes(data);
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            f.seek(at);
            f.write(data);
            f.getFD().sync();
        }
        System.arraycopy(data, 0, model, at, length);
    }

    private JsonObject pin() throws Exception {
        return daemon.pin(file).orElseThrow(() -> new AssertionError(daemon.logText()));
    }

    @Test
    void pinnedWrittenUnpinned() throws Exception {
        daemon.start();
        daemon.command("pin", file.toString()).ok();
        assertEquals("dmsnapshot", pin().get("strategy").getAsString());
        assertArrayEquals(model, Files.readAllBytes(file));
        write(5_000_000, 3_000_000, 1);
        long ram = pin().get("size").getAsLong();
        assertTrue(ram < 5_500_000, "RAM for 3 MB changed: " + ram);
        daemon.command("sync", file.toString()).ok();
        write(SIZE - 10, 10, 2);
        daemon.command("unpin", file.toString()).ok();
        assertTrue(daemon.pin(file).isEmpty());
        disk.unmount();
        disk.mount();
        assertArrayEquals(model, Files.readAllBytes(file));
        assertEquals(0, daemon.stop(), daemon::logText);
    }

    private void writeAllTheTime(AtomicBoolean stop, AtomicReference<Exception> failed) {
        Random random = new Random(9);
        try {
            while (!stop.get()) {
                write(random.nextInt(SIZE - 100), 100, random.nextInt());
                Thread.sleep(20);
            }
        } catch (Exception e) {
            failed.set(e);
        }
    }

    /** Its directory is too large to be pinned as a whole. */
    @Test
    void hotFileIsPinnedByItself() throws Exception {
        try (RandomAccessFile other =
                new RandomAccessFile(file.resolveSibling("other.raw").toFile(), "rw")) {
            other.setLength(1L << 30);
        }
        daemon.start();
        AtomicBoolean stop = new AtomicBoolean();
        AtomicReference<Exception> failed = new AtomicReference<>();
        Thread writer = new Thread(() -> writeAllTheTime(stop, failed));
        writer.start();
        try {
            Await.until(SOON, () -> daemon.pinned(file), daemon::logText);
            assertEquals("dmsnapshot", pin().get("strategy").getAsString());
            long since = pin().get("unsynced_bytes").getAsLong();
            Await.until(
                    SOON,
                    () -> pin().get("unsynced_bytes").getAsLong() > since + 10_000,
                    daemon::logText);
            assertTrue(pin().get("rate").getAsDouble() > 1, daemon::logText);
        } finally {
            stop.set(true);
            writer.join();
        }
        assertEquals(null, failed.get());
        assertEquals(0, daemon.stop(), daemon::logText);
        assertArrayEquals(model, Files.readAllBytes(file));
        assertTrue(!daemon.logText().contains("cannot watch"), daemon::logText);
    }

    @Test
    void theDaemonMayDie() throws Exception {
        daemon.start();
        daemon.command("pin", file.toString()).ok();
        write(1_000_000, 500_000, 3);
        daemon.kill();
        write(2_000_000, 500_000, 4);
        daemon.startAgain("watching|idle");
        Await.until(SOON, () -> daemon.pinned(file), daemon::logText);
        assertArrayEquals(model, Files.readAllBytes(file));
        write(3_000_000, 500_000, 5);
        assertEquals(0, daemon.stop(), daemon::logText);
        assertArrayEquals(model, Files.readAllBytes(file));
    }

    /** What is missing is told, and the others do what they can. */
    @Test
    void withoutItsFacilitiesItSaysSo() throws Exception {
        for (String control : new String[] {"/dev/mapper/control", "/dev/loop-control"}) {
            // The guest's own.
            Command.run("mv", control, control + ".away");
            try {
                daemon.start();
                String strategies = daemon.command("strategies").ok().out();
                assertTrue(
                        strategies.matches("(?s).*dmsnapshot +unusable.*no (device-mapper|loop).*"),
                        strategies);
                daemon.command("pin", file.toString()).ok();
                assertEquals("overlayfs", pin().get("strategy").getAsString());
                write(7, 1000, 6);
                assertEquals(0, daemon.stop(), daemon::logText);
                assertArrayEquals(model, Files.readAllBytes(file));
            } finally {
                Command.run("mv", control + ".away", control);
            }
        }
    }
}
