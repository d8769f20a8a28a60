package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.google.gson.JsonObject;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.lab.InLab;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/** A disk image of 2 GiB in a pool of 256 MiB, by the daemon that ships, written to by fio. */
@EnabledIfSystemProperty(
        named = "rampipe.test.long",
        matches = "true",
        disabledReason = "takes minutes: -Drampipe.test.long=true")
@InLab(seconds = 1500, memory = 1536, disk = 8192)
class LargeImageIT {
    private static final Duration SOON = Duration.ofSeconds(120);
    private static final int BLOCK = 4096;
    private static final long SIZE = 2L << 30;
    private static final int MB = 1 << 20;
    private static final long MARK = 0x5261_6d50_6970_6521L;

    /** Mounted in this mount namespace alone, as a disk has to be. */
    private final Path directory = Path.of("/mnt/images");

    private final Path image = Path.of("/mnt/lab/disk.img");
    private final Path file = directory.resolve("disk.raw");
    private Daemon daemon;

    @BeforeEach
    void setUp() throws Exception {
        assumeTrue(Files.isExecutable(Path.of("/usr/bin/fio")), "there is no fio");
        Files.createDirectories(directory);
        Command.run("truncate", "-s", "7G", image.toString());
        Command.run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", image.toString());
        Command.run("mount", "-o", "loop", image.toString(), directory.toString());
        ByteBuffer part = ByteBuffer.allocateDirect(MB);
        try (FileChannel out =
                FileChannel.open(file, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
            for (long at = 0; at < SIZE; at += MB) {
                for (int i = 0; i < MB; i += BLOCK) {
                    part.putLong(i, MARK).putLong(i + 8, (at + i) / BLOCK);
                }
                out.write(part.clear());
            }
            out.force(true);
        }
        daemon =
                new Daemon(Files.createTempDirectory("daemon"))
                        .set("watch.directories", directory.toString())
                        .set("pool.size", "256M")
                        .set("strategy.order", "dmsnapshot, overlayfs")
                        .set("memory.reserve", "16M")
                        .set("rate.half_life", "2s")
                        .set("pin.min_time", "1s")
                        .set("checkpoint.interval", "1h")
                        .set("stop.timeout", "60s")
                        .start();
    }

    @AfterEach
    void tearDown() throws Exception {
        daemon.close();
        Command.run("umount", directory.toString());
        assertEquals(
                "No devices found", Command.run("dmsetup", "info", "-c", "--noheadings").strip());
    }

    private JsonObject pin() throws Exception {
        return daemon.pin(file).orElseThrow(() -> new AssertionError(daemon.logText()));
    }

    /** Random writes of 4 KiB, each block at most once; or only looks whether they are there. */
    private void fio(String name, int seed, int megabytes, boolean only) throws IOException {
        List<String> command = new ArrayList<>();
        Collections.addAll(
                command,
                "fio",
                "--name=" + name,
                "--filename=" + file,
                "--allow_file_create=0",
                "--rw=randwrite",
                "--bs=4k",
                "--size=" + SIZE,
                "--io_size=" + megabytes + "M",
                "--randseed=" + seed,
                "--ioengine=psync",
                "--verify=crc32c",
                "--verify_fatal=1",
                "--verify_state_save=0",
                "--end_fsync=1",
                "--output-format=terse",
                "--aux-path=/tmp");
        if (only) {
            command.add("--verify_only=1");
        }
        Command.run(command.toArray(String[]::new));
    }

    /** Blocks that are as they were in the beginning. */
    private long untouched() throws IOException {
        Command.shell("echo 3 >/proc/sys/vm/drop_caches");
        ByteBuffer part = ByteBuffer.allocateDirect(MB);
        long count = 0;
        try (FileChannel in = FileChannel.open(file)) {
            for (long at = 0; at < SIZE; at += MB) {
                part.clear();
                while (part.hasRemaining() && in.read(part) >= 0) {
                    continue;
                }
                for (int i = 0; i < MB; i += BLOCK) {
                    boolean same =
                            part.getLong(i) == MARK && part.getLong(i + 8) == (at + i) / BLOCK;
                    count += same ? 1 : 0;
                }
            }
        }
        return count;
    }

    /** Writes what is there already. */
    private boolean hot() throws Exception {
        try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
            byte[] block = new byte[BLOCK];
            f.readFully(block);
            f.seek(0);
            f.write(block);
        }
        return daemon.pinned(file);
    }

    @Test
    void hotPinnedWrittenColdUnpinnedAndThenAtFullSpeed() throws Exception {
        Await.until(SOON, this::hot, daemon::logText);
        assertEquals("dmsnapshot", pin().get("strategy").getAsString());
        fio("little", 7, 50, false);
        long ram = pin().get("size").getAsLong();
        System.out.printf(
                "2 GiB in a pool of 256 MiB: %.1f MiB of RAM for 50 MiB written (%.3f)%n",
                ram / (double) MB, ram / (50.0 * MB));
        assertTrue(ram < 50 * MB * 1.1, "RAM " + ram);
        Await.until(SOON, () -> !daemon.pinned(file), daemon::logText);
        fio("little", 7, 50, true);
        assertEquals(SIZE / BLOCK - 50 * MB / BLOCK, untouched());
        System.out.println("cold, unpinned, verified");

        daemon.command("pin", file.toString()).ok();
        long start = System.nanoTime();
        fio("much", 8, 500, false);
        System.out.printf(
                "500 MiB at full speed, and read again: %.1f s%n",
                (System.nanoTime() - start) / 1e9);
        ram = pin().get("size").getAsLong();
        assertTrue(ram < 256 * MB, "RAM " + ram);
        daemon.command("unpin", file.toString()).ok();
        fio("much", 8, 500, true);
        long both = SIZE / BLOCK - untouched();
        assertTrue(both >= 500 * MB / BLOCK && both <= 550 * MB / BLOCK, "changed " + both);
        assertEquals(0, daemon.stop(), daemon::logText);
        System.out.println(daemon.logText());
    }
}
