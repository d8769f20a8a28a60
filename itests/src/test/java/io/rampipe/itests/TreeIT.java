package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.linux.Fd;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import io.rampipe.testkit.tree.RandomTree;
import io.rampipe.testkit.tree.Snapshot;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * A tree of every kind of file, pinned, changed and unpinned over and over by the daemon that
 * ships: the disk has all of it, byte by byte and attribute by attribute, with and without other
 * work on the disk.
 */
@NeedsMounts
@Timeout(600)
class TreeIT {
    private static final int ROUNDS = Integer.getInteger("rampipe.test.rounds", 100);

    @Test
    void whateverIsDoneToAPinnedTreeIsOnDiskAfterwards() throws Exception {
        long seed = Long.getLong("rampipe.test.seed", System.nanoTime());
        System.out.println("TreeIT: -Drampipe.test.seed=" + seed);
        Random random = new Random(seed);
        try (ScratchDisk disk = ScratchDisk.ext4(256);
                Daemon daemon = new Daemon(disk.aside("daemon"))) {
            Path target = Files.createDirectories(disk.root().resolve("home/target"));
            try (Fd root = Trees.open(target)) {
                new RandomTree(random, root).build();
            }
            // What is pinned is this test's business alone.
            daemon.set("watch.directories", disk.root().toString())
                    .set("pin.rate", "1000")
                    .set("checkpoint.interval", "1s")
                    .start();
            Snapshot model = null;
            for (int round = 0; round < ROUNDS; round++) {
                Load load = new Load(disk.root().resolve("load"), round % 2 == 1);
                try {
                    model =
                            round(
                                    daemon,
                                    target,
                                    random,
                                    "seed " + seed + ", round " + round + ": ");
                } finally {
                    load.stop();
                }
            }
            assertEquals(0, daemon.stop(), daemon::logText);
            disk.unmount();
            disk.mount();
            assertEquals(
                    List.of(),
                    model.differences(Trees.snapshot(target)),
                    "seed " + seed + ": after the disk was mounted again");
        }
    }

    private static Snapshot round(Daemon daemon, Path target, Random random, String where)
            throws Exception {
        try (Fd root = Trees.open(target)) {
            Trees.removeMeetingPoints(root);
        }
        daemon.command("pin", target.toString()).ok();
        for (int part = random.nextInt(3); part >= 0; part--) {
            try (Fd root = Trees.open(target)) {
                new RandomTree(random, root).change(random.nextInt(60));
            }
            if (part > 0) {
                Snapshot before = Trees.snapshot(target);
                daemon.command("sync", target.toString()).ok();
                assertEquals(
                        List.of(),
                        before.differences(Trees.snapshot(target)),
                        where + "a checkpoint shows");
            }
        }
        assertTrue(daemon.pinned(target), where + "not pinned any more");
        Snapshot model = Trees.snapshot(target);
        daemon.command("unpin", target.toString()).ok();
        assertEquals(
                List.of(), model.differences(Trees.snapshot(target)), where + "the disk differs");
        return model;
    }

    /** Somebody else who writes to the same disk. */
    private static final class Load {
        private final AtomicBoolean done = new AtomicBoolean();
        private final Thread thread;

        Load(Path file, boolean runs) {
            thread = new Thread(() -> write(file), "load");
            if (runs) {
                thread.start();
            }
        }

        private void write(Path file) {
            byte[] data = new byte[16 << 10];
            while (!done.get()) {
                try {
                    Files.write(file, data, StandardOpenOption.CREATE, StandardOpenOption.SYNC);
                } catch (IOException e) {
                    throw new java.io.UncheckedIOException(e);
                }
                LockSupport.parkNanos(1_000_000);
            }
        }

        void stop() throws InterruptedException {
            done.set(true);
            thread.join();
        }
    }
}
