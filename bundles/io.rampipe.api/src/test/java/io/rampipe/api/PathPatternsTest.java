package io.rampipe.api;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PathPatternsTest {
    @ParameterizedTest
    @CsvSource({
        "*.iso, /home/u/a.iso, true",
        "*.iso, /home/u/a.iso/inside, true",
        "*.iso, /home/u/aiso, false",
        ".cache, /home/u/.cache/x/y, true",
        "/home/*/tmp, /home/u/tmp/f, true",
        "/home/*/tmp, /home/u/v/tmp, false",
        "/home/**/tmp, /home/u/v/tmp, true",
        "/home/u?, /home/u1, true",
        "/home/u?, /home/u12, false",
        "[a].(b), /x/[a].(b), true",
        "grün, /x/grün, true",
    })
    void aPatternMatchesWhatItNamesAndAllBelow(String pattern, String path, boolean expected) {
        assertEquals(expected, new PathPatterns(List.of(pattern)).matches(FilePath.of(path)));
    }
}
