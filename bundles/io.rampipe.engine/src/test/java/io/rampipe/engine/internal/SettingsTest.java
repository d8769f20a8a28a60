package io.rampipe.engine.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Access;
import io.rampipe.api.FilePath;
import java.util.Map;
import org.junit.jupiter.api.Test;

class SettingsTest {
    @Test
    void theDefaultPoolIsAGibibyteOrAQuarterOfSmallMemory() {
        assertEquals(1L << 30, TestSettings.of("/x").poolSize());
        assertTrue(TestSettings.of("/x").budget() < 1L << 30);
    }

    @Test
    void theUnpinRateMustBeBelowThePinRate() {
        String message =
                assertThrows(
                                IllegalArgumentException.class,
                                () -> TestSettings.of(Map.of("unpin_rate", 2.0, "pin_rate", 2.0)))
                        .getMessage();
        assertTrue(message.contains("unpin.rate") && message.contains("pin.rate"), message);
    }

    @Test
    void anErrorNamesKeyAndValue() {
        String message =
                assertThrows(
                                IllegalArgumentException.class,
                                () -> TestSettings.of(Map.of("checkpoint_interval", "soon")))
                        .getMessage();
        assertTrue(message.contains("checkpoint.interval") && message.contains("'soon'"), message);
    }

    @Test
    void theHeaviestOfMergedKindsCounts() {
        Settings s = TestSettings.of(Map.of("weight_write", 3.0, "weight_read", 0.5));
        assertEquals(3.0, s.weight(Access.WRITE | Access.READ | Access.CLOSE_WRITE));
        assertEquals(0.5, s.weight(Access.READ));
        assertEquals(0.0, s.weight(Access.OPEN));
        assertEquals(1.0, s.weight(Access.APPEAR | Access.DIRECTORY));
    }

    @Test
    void whatIsNotWatchedIsToldWhy() {
        Settings s =
                TestSettings.of(
                        Map.of(
                                "watch_directories",
                                new String[] {"/home"},
                                "watch_exclude",
                                new String[] {"*.iso"}));
        assertEquals("", s.unwatched(FilePath.of("/home/u/f")));
        assertTrue(s.unwatched(FilePath.of("/homes/u")).contains("watched directory"));
        assertTrue(s.unwatched(FilePath.of("/home/a.iso")).contains("watch.exclude"));
    }
}
