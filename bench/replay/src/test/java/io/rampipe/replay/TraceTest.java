package io.rampipe.replay;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Access;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TraceTest {
    @TempDir Path directory;

    @Test
    void whatWasWrittenIsRead() throws Exception {
        Path file = directory.resolve("t");
        try (TraceWriter out = new TraceWriter(file)) {
            int d = out.directory(-1, "/x".getBytes());
            int f = out.file(d, new byte[0]);
            int g = out.file(out.directory(-1, new byte[300]), "g".getBytes());
            out.tick(70_000, 2);
            out.event(g, Access.WRITE, 1);
            out.event(f, Access.APPEAR | Access.DIRECTORY, 2.5);
            out.size(g, 1L << 40);
            out.tick(50, 1);
            out.event(f, Access.WRITE, 1);
            out.end(1000);
        }
        Trace t = Trace.read(file);
        assertEquals(2, t.ticks);
        assertEquals(71_050, t.millis);
        assertEquals(70_050, t.tickMillis[1]);
        assertEquals(3, t.events);
        assertEquals(2, t.tickEvents[1]);
        assertEquals(1, t.directoryOf[t.eventFile[0]]);
        assertEquals(2.5, t.eventScale[1]);
        assertEquals(Access.APPEAR | Access.DIRECTORY, t.eventKinds[1]);
        assertEquals(1L << 40, t.sizeBytes[0]);
        assertEquals(1, t.tickSizes[1]);
    }

    @Test
    void whatIsNoTraceOrCutOffIsRefusedByName() throws Exception {
        Path file = directory.resolve("t");
        try (TraceWriter out = new TraceWriter(file)) {
            out.tick(1, 0);
        }
        assertTrue(
                assertThrows(IOException.class, () -> Trace.read(file))
                        .getMessage()
                        .contains(file + ": it is cut off"));
        byte[] bytes = Files.readAllBytes(file);
        Files.write(file, Arrays.copyOf(bytes, bytes.length / 2));
        assertThrows(IOException.class, () -> Trace.read(file));
        Files.writeString(file, "something else");
        assertThrows(IOException.class, () -> Trace.read(file));
    }
}
