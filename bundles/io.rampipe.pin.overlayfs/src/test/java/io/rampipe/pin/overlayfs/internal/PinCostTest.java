package io.rampipe.pin.overlayfs.internal;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Pin;
import io.rampipe.testkit.NeedsMounts;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

/** How long pinning takes; prints, and judges nothing that depends on the machine. */
@NeedsMounts
class PinCostTest {
    private static final int ROUNDS = 15;

    @Test
    void pinAndUnmount() throws Exception {
        try (Bench bench = new Bench()) {
            for (int files : new int[] {2, 1, 100, 2000}) {
                Path dir = Files.createDirectory(bench.disk.root().resolve("n" + files));
                for (int i = 0; i < files; i++) {
                    Files.writeString(dir.resolve("file-" + i), "x".repeat(1000));
                }
                long[] pin = new long[ROUNDS];
                long[] unmount = new long[ROUNDS];
                for (int i = 0; i < ROUNDS; i++) {
                    long t0 = System.nanoTime();
                    Pin made = bench.pin(dir, "file-0");
                    long t1 = System.nanoTime();
                    bench.strategy.unmount(made);
                    long t2 = System.nanoTime();
                    bench.strategy.discard(made);
                    pin[i] = (t1 - t0) / 1000;
                    unmount[i] = (t2 - t1) / 1000;
                }
                Arrays.sort(pin);
                Arrays.sort(unmount);
                if (files == 2) {
                    continue; // Only the Java VM has learned from that.
                }
                System.out.printf(
                        "%d files: pin %.1f ms (of which the leases are held on purpose 20),"
                                + " unmount %.1f ms%n",
                        files, pin[ROUNDS / 2] / 1000.0, unmount[ROUNDS / 2] / 1000.0);
                assertTrue(pin[0] >= 20_000, "held long enough");
            }
        }
    }
}
