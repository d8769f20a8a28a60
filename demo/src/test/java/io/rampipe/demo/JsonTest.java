package io.rampipe.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class JsonTest {
    @Test
    void readsEveryKindOfValue() {
        assertEquals(
                List.of(
                        Map.of("a", 1.0, "b", List.of(), "c", Map.of()),
                        "x\"\\\n\u00e4",
                        true,
                        false,
                        -2.5e3),
                Json.parse(
                        " [ {\"a\" : 1, \"b\":[ ],\"c\":{ }} , \"x\\\"\\\\\\n\\u00e4\", true,"
                                + " false,\n-2.5e3] "));
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "[", "[1", "[1 2]", "{\"a\"}", "\"", "\"\\u00\"", "nothing", "1 2"})
    void refusesWhatIsNotJson(String text) {
        assertThrows(IllegalArgumentException.class, () -> Json.parse(text));
    }
}
