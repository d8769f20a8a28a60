package io.rampipe.pin.dmsnapshot.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack.Result;
import io.rampipe.testkit.lab.InLab;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Random operations on a file, pinned, checkpointed and unpinned in between, against what should be
 * in it. {@code itests/churn} for more, or the same again.
 */
@InLab(seconds = 900, memory = 2048, disk = 1024)
class SnapshotChurnTest {
    private static final int STEPS = Integer.getInteger("rampipe.churn.steps", 50);

    /** So many operations at most before the next is, perhaps, a pin, a checkpoint, an unpin. */
    private static final int BURST = Integer.getInteger("rampipe.churn.burst", 1);

    private static final long SEED = Long.getLong("rampipe.churn.seed", 1);
    private static final int GROWTH = 4 << 20;
    private static final int LARGE = 10_000_000;
    private static final int LAST = 12;

    private Bench bench;
    private int done;

    @BeforeEach
    void open() throws Exception {
        bench = new Bench(0, 4L * GROWTH);
    }

    @AfterEach
    void close() throws Exception {
        assertEquals(List.of(), bench.leftInKernel());
        bench.close();
    }

    @ParameterizedTest
    @ValueSource(
            ints = {0, 1, 511, 4095, 4096, 4097, 1_000_000, 1_050_623, 33_554_433, 140_000_001})
    void churn(int size) throws Exception {
        run(size);
    }

    /** With RAM for a part of the changes only. */
    @ParameterizedTest
    @ValueSource(ints = {1_050_623, 33_554_433})
    void churnInLittleRam(int size) throws Exception {
        bench.close();
        bench = Bench.split(4L * GROWTH, size / 4);
        run(size);
    }

    private void run(int size) throws Exception {
        long seed = SEED * 1_000_003 + size;
        System.out.println("size " + size + ", seed " + seed);
        Random random = new Random(seed);
        Path file = bench.disk.resolve("file-" + size);
        Model model = new Model(file, size, GROWTH, random);
        List<String> last = new ArrayList<>();
        Pin pin = null;
        int steps = size > LARGE ? Math.max(Math.min(STEPS, 50), STEPS / 20) : STEPS;
        try {
            while (done < steps) {
                pin = turn(file, model, random, pin, last);
            }
            if (pin != null) {
                bench.unpin(pin);
                pin = null;
            }
            model.check();
            System.out.println("size " + size + ": " + done + " operations");
        } catch (IOException | AssertionError e) {
            throw new AssertionError("seed " + seed + ", after " + last + ": " + e, e);
        } finally {
            if (pin != null) {
                bench.strategy.unmount(pin);
                bench.discard(pin);
            }
            Files.delete(file);
        }
    }

    private void did(String what, List<String> last) {
        done++;
        last.add(what);
        if (last.size() > LAST) {
            last.remove(0);
        }
    }

    private Pin turn(Path file, Model model, Random random, Pin pin, List<String> last)
            throws IOException {
        int what = random.nextInt(30);
        if (pin == null && what < 12) {
            did("pin", last);
            Pin made = bench.pin(file);
            model.check();
            return made;
        }
        if (pin != null && what < 3) {
            did("checkpoint", last);
            if (random.nextInt(4) == 0) {
                last.add("(by a new daemon)");
                bench.sync = bench.syncBack();
            }
            Result result = bench.checkpoint(pin);
            assertTrue(result.consistent(), result.why());
            model.checkDisk();
        } else if (pin != null && what == 3) {
            did("unpin", last);
            bench.unpin(pin);
            model.check();
            return null;
        } else {
            for (int more = random.nextInt(BURST); more >= 0; more--) {
                did(model.step(), last);
            }
            if (what == 29) {
                model.check();
            }
        }
        return pin;
    }
}
