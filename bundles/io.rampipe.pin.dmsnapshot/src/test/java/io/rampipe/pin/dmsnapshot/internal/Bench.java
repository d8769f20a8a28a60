package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.PathPatterns;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy.PinRequest;
import io.rampipe.api.SyncBack;
import io.rampipe.api.SyncBack.Allowance;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LoopDevice;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.pin.BlockSnapshot;
import io.rampipe.sync.journal.internal.SnapshotSyncBack;
import io.rampipe.sync.merge.internal.MergeSyncBack;
import io.rampipe.testkit.Command;
import java.io.IOException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import org.osgi.service.log.Logger;

/** Strategy and syncback as the engine uses them, on the lab's disk. */
final class Bench implements AutoCloseable {
    private static final Path LAB = Path.of("/mnt/lab");

    /** At most so often is a target that does not rest tried again. */
    private static final int TRIES = 50;

    /** Mounted in this mount namespace alone, as a disk has to be. */
    final Path disk = Path.of("/mnt/rampipe-disk");

    final Path pool;
    final SnapshotStrategy strategy;
    final List<String> told = new ArrayList<>();
    final List<Pin> journal = new ArrayList<>();
    SyncBack sync = syncBack();
    private int count;

    Bench(long minimum, long growth, String... images) throws IOException {
        this(new Eligibility(minimum, growth, Long.MAX_VALUE, new PathPatterns(List.of(images))));
    }

    /** With so many bytes of RAM for the changes of a file, and the rest on disk. */
    static Bench split(long growth, long store) throws IOException {
        return new Bench(new Eligibility(0, growth, store, new PathPatterns(List.of())));
    }

    private Bench(Eligibility eligibility) throws IOException {
        cleanUp();
        Files.createDirectories(disk);
        String image = LAB.resolve("disk.img").toString();
        Command.run("truncate", "-s", "900M", image);
        Command.run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,nodiscard", image);
        Command.run("mount", "-o", "loop", image, disk.toString());
        pool = Files.createTempDirectory("rampipe-pool-");
        Command.run("mount", "-t", "tmpfs", "-o", "size=512M,mode=0700", "pool", pool.toString());
        strategy = new SnapshotStrategy(eligibility, Clock.systemUTC());
    }

    /** What a failed test has left. */
    private void cleanUp() throws IOException {
        Command.shell(
                "set +e; exec 2>/dev/null; umount -q /mnt/rampipe-disk/*/* /tmp/rampipe-pool-*/*/*; dmsetup remove_all;"
                        + " umount -q /tmp/rampipe-pool-*/*/* /tmp/rampipe-pool-* "
                        + disk
                        + "; true");
    }

    /** One that remembers nothing, as after a restart. */
    SyncBack syncBack() {
        SnapshotSyncBack journal = journal();
        return new MergeSyncBack(journal, journal);
    }

    /** As a daemon leaves it that had nobody to see to it when it was killed in a merge. */
    void mergeAndDie(Pin pin) throws IOException {
        try (DeviceMapper dm = DeviceMapper.open();
                BlockSnapshot snapshot = BlockSnapshot.of(pin);
                Fd file = snapshot.file(At.O_RDWR);
                LoopDevice origin = snapshot.loop(file, false)) {
            journal()
                    .commit(pin, () -> dm.suspend(pin.attribute(Pin.SNAPSHOT_DEVICE), false))
                    .orElseThrow()
                    .close();
            snapshot.suspend();
            snapshot.loadMerge(origin.device());
            snapshot.resume();
        }
    }

    private SnapshotSyncBack journal() {
        Logger log =
                (Logger)
                        Proxy.newProxyInstance(
                                Logger.class.getClassLoader(),
                                new Class<?>[] {Logger.class},
                                (proxy, method, arguments) -> {
                                    told.add(String.valueOf(arguments[0]));
                                    return null;
                                });
        return new SnapshotSyncBack(log);
    }

    Pin pin(Path file) throws IOException {
        return pin(file, Long.MAX_VALUE);
    }

    Pin pin(Path file, long room) throws IOException {
        String id = "t" + count++;
        Path directory = Files.createDirectory(pool.resolve(id));
        boolean done = false;
        try {
            Pin pin =
                    strategy.pin(
                            new PinRequest(
                                    id,
                                    Target.file(FilePath.of(file.toString())),
                                    List.of(),
                                    FilePath.of(directory.toString()),
                                    room),
                            journal::add);
            done = true;
            return pin;
        } finally {
            if (!done) {
                Files.deleteIfExists(directory);
            }
        }
    }

    SyncBack.Result checkpoint(Pin pin) throws IOException {
        return sync.checkpoint(pin, new Allowance(Duration.ofSeconds(1), 64 << 20));
    }

    /** As {@code Keeper} does. */
    void unpin(Pin pin) throws IOException {
        checkpoint(pin);
        for (int i = 0; ; i++) {
            try (SyncBack.Last last = sync.begin(pin)) {
                strategy.unmount(pin.at(Pin.Step.UNMOUNTING));
                if (!last.finish().consistent()) {
                    throw new IOException("the last syncback was not consistent");
                }
                break;
            } catch (io.rampipe.api.BusyException e) {
                if (i == TRIES) {
                    throw e;
                }
                LockSupport.parkNanos(5_000_000);
            }
        }
        discard(pin);
    }

    void discard(Pin pin) throws IOException {
        strategy.discard(pin.at(Pin.Step.DISCARDING));
        sync.forget(pin);
        Files.delete(pool.resolve(pin.id()));
    }

    /** The file on disk, whatever is mounted over it. Closing the descriptor dissolves the view. */
    static Fd below(Path directory) throws IOException {
        try (Fd fd = At.open(FilePath.of(directory.toString()), At.O_RDONLY | At.O_DIRECTORY)) {
            return Mounts.cloneTree(fd);
        }
    }

    static byte[] onDisk(Path file) throws IOException {
        try (Fd tree = below(file.getParent());
                Fd fd =
                        At.open(
                                tree,
                                FilePath.of(file.getFileName().toString()),
                                At.O_RDONLY | At.O_NOFOLLOW,
                                0)) {
            return Files.readAllBytes(Path.of("/proc/self/fd/" + fd.number()));
        }
    }

    /** What is left in the kernel of pins: devices, loops on them, mounts. */
    List<String> leftInKernel() throws IOException {
        List<String> left = new ArrayList<>();
        for (MountInfo m : MountInfo.all()) {
            if (m.pin().isPresent() || m.source().raw().equals("rampipe-store")) {
                left.add("mount " + m.path());
            }
        }
        try (DeviceMapper dm = DeviceMapper.open()) {
            for (String name : dm.names()) {
                left.add("device " + name);
            }
        }
        String loops = Command.run("losetup", "--list", "--noheadings", "-l", "-O", "BACK-FILE");
        for (String line : loops.split("\n")) {
            if (line.contains(pool.toString()) || line.contains(disk.toString())) {
                left.add("loop " + line);
            }
        }
        return left;
    }

    @Override
    public void close() throws IOException {
        Command.run("umount", pool.toString());
        Files.delete(pool);
        Command.run("umount", disk.toString());
        Files.delete(LAB.resolve("disk.img"));
    }
}
