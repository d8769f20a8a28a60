package io.rampipe.pin.dmsnapshot.internal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Pin;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.Stat;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.lab.InLab;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

/**
 * Beside udev, which opens each device that comes, looks at it, and makes nodes of its own; all
 * other tests are without it. The property is where Debian's package is unpacked.
 */
@EnabledIfSystemProperty(
        named = "rampipe.udev",
        matches = "/.+",
        disabledReason = "udev is not installed for it: itests/udev does it")
@InLab(memory = 1536, disk = 1024)
class SnapshotUdevTest {
    private static final int SIZE = 30_000_001;
    private static final int ROUNDS = 10;

    @Test
    void pinsComeAndGo() throws Exception {
        Command.run("cp", "-a", System.getProperty("rampipe.udev") + "/.", "/");
        Command.shell("/lib/systemd/systemd-udevd --daemon && udevadm trigger && udevadm settle");
        Bench bench = Bench.split(4 << 20, 8 << 20);
        Path file = Files.createDirectories(bench.disk.resolve("d")).resolve("image");
        byte[] model = new byte[SIZE];
        Random random = new Random(1);
        random.nextBytes(model);
        Files.write(file, model);
        for (int i = 0; i < ROUNDS; i++) {
            Pin pin = bench.pin(file);
            if (i % 2 == 0) {
                Path seen = Path.of("/dev/mapper/rampipe-" + pin.id());
                Await.until(
                        Duration.ofSeconds(30), () -> Files.exists(seen), () -> "udev saw nothing");
                try (DeviceMapper dm = DeviceMapper.open()) {
                    long number = dm.find("rampipe-" + pin.id()).orElseThrow().number();
                    Path known = Path.of("/run/udev/data/b" + Stat.deviceText(number));
                    assertTrue(Files.exists(known), known + " is not there");
                }
            }
            byte[] part = new byte[6_000_000];
            random.nextBytes(part);
            int at = random.nextInt(SIZE - part.length);
            System.arraycopy(part, 0, model, at, part.length);
            try (RandomAccessFile f = new RandomAccessFile(file.toFile(), "rw")) {
                f.seek(at);
                f.write(part);
                f.getFD().sync();
            }
            assertTrue(bench.sync.pressed(pin));
            assertTrue(bench.checkpoint(pin).consistent());
            assertTrue(!bench.sync.pressed(pin), () -> bench.told.toString());
            bench.unpin(pin);
            assertArrayEquals(model, Files.readAllBytes(file));
        }
        assertEquals(List.of(), bench.leftInKernel());
        bench.close();
        Command.run("udevadm", "control", "--exit");
    }
}
