package io.rampipe.engine.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Access;
import io.rampipe.api.FilePath;
import java.util.List;
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

    private static Settings intervals(String... items) {
        return TestSettings.of(Map.of("checkpoint_intervals", items));
    }

    private static double seconds(Settings s, String target) {
        return s.checkpointIntervals().of(FilePath.of(target)) / 1e9;
    }

    @Test
    void theFirstPatternThatMatchesSetsTheInterval() {
        Settings s = intervals("/home/*/.mozilla=60s", "cache = 1h", "/home/**=2s");
        assertEquals(60, seconds(s, "/home/u/.mozilla"));
        assertEquals(60, seconds(s, "/home/u/.mozilla/profile"));
        assertEquals(3600, seconds(s, "/home/u/cache"));
        assertEquals(2, seconds(s, "/home/u/.config"));
        assertEquals(10, seconds(s, "/var/lib/db"));
    }

    @Test
    void anIntervalThatIsNoneIsRefused() {
        for (String item : List.of("/home", "=3s", "/home=3", "/home=500ms", "/a=b=2d")) {
            String message =
                    assertThrows(IllegalArgumentException.class, () -> intervals(item))
                            .getMessage();
            assertTrue(
                    message.contains("checkpoint.intervals") && message.contains("'" + item + "'"),
                    message);
        }
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
