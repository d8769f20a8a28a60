package io.rampipe.replay;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Access;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SimulationTest {
    @TempDir Path directory;

    /** Two directories: one of 1 MB written 10 times a second, one of 100 MB 5 times, then rest. */
    private Trace trace() throws Exception {
        Path file = directory.resolve("t");
        try (TraceWriter out = new TraceWriter(file)) {
            int small = out.file(out.directory(-1, new byte[0]), new byte[0]);
            int large = out.file(out.directory(-1, new byte[0]), new byte[0]);
            for (int i = 0; i < 3000; i++) {
                out.tick(100, i % 2 == 0 ? 2 : 1);
                out.event(small, Access.WRITE, 1);
                if (i % 2 == 0) {
                    out.event(large, Access.WRITE, 1);
                }
                if (i == 0) {
                    out.size(small, 1 << 20);
                    out.size(large, 100 << 20);
                }
            }
            out.tick(600_000, 0);
            out.end(0);
        }
        return Trace.read(file);
    }

    @Test
    void whatIsHotIsPinnedOnceAndUnpinnedWhenCold() throws Exception {
        Trace trace = trace();
        for (String name : new String[] {"ema", "window", "sketch"}) {
            Simulation.Result r =
                    Simulation.run(trace, Replay.make(name, Map.of()), Policy.DEFAULT, 1L << 30);
            assertEquals(2, r.pins(), name);
            assertEquals(2, r.unpins(), name);
            // 300 s, and some 10 and 24 s until they are pinned.
            assertTrue(r.captured() > 0.92 && r.captured() < 0.98, name + r);
            assertEquals(101 << 20, r.most(), name);
        }
        assertEquals(1, Clairvoyant.captured(trace, 1L << 30), 1e-9);
    }

    /** Many directories, each used now and then, below one that is always. */
    @Test
    void aPinCoversWhatIsBelow() throws Exception {
        Path file = directory.resolve("t");
        try (TraceWriter out = new TraceWriter(file)) {
            int top = out.directory(-1, new byte[0]);
            int index = out.file(top, new byte[0]);
            int[] objects = new int[256];
            for (int i = 0; i < objects.length; i++) {
                objects[i] = out.file(out.directory(top, new byte[0]), new byte[0]);
            }
            for (int i = 0; i < 3000; i++) {
                out.tick(100, 4);
                out.event(index, Access.WRITE, 1);
                for (int k = 0; k < 3; k++) {
                    out.event(objects[(3 * i + k) % 256], Access.WRITE, 1);
                }
                if (i == 0) {
                    for (int object : objects) {
                        out.size(object, 1000);
                    }
                }
            }
            out.end(0);
        }
        Simulation.Result r =
                Simulation.run(
                        Trace.read(file), Replay.make("ema", Map.of()), Policy.DEFAULT, 1 << 20);
        assertEquals(1, r.pins());
        assertEquals(256_000, r.most());
        assertTrue(r.captured() > 0.9, r::toString);
    }

    @Test
    void aBudgetHoldsAndTheBoundIsAboveWhatIsReached() throws Exception {
        Trace trace = trace();
        Simulation.Result r =
                Simulation.run(trace, Replay.make("ema", Map.of()), Policy.DEFAULT, 8 << 20);
        assertEquals(1, r.pins());
        assertEquals(1 << 20, r.most());
        assertTrue(r.captured() < 0.667 && r.captured() > 0.6, r::toString);
        // The small one, and 7 of 100 MB of the large one.
        assertEquals((10 + 5 * 0.07) / 15, Clairvoyant.captured(trace, 8 << 20), 0.005);
        assertTrue(Clairvoyant.captured(trace, 8 << 20) > r.captured());
    }
}
