package io.rampipe.testkit.lab;

import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Something that has become of a test, or of what holds tests, in the guest.
 *
 * @param id JUnit's unique id
 * @param name for people
 * @param message why, if it did not pass
 * @param trace the same with the stack trace
 */
record Event(String id, Kind kind, String name, String message, String trace) {
    enum Kind {
        STARTED,
        PASSED,
        FAILED,
        /** Skipped, before it began or by an assumption. */
        ABORTED
    }

    String line() {
        return Stream.of(id, kind.name(), name, message, trace)
                .map(s -> URLEncoder.encode(String.valueOf(s), StandardCharsets.UTF_8))
                .collect(Collectors.joining(" "));
    }

    /** Empty if the line is not whole: the guest died while it wrote it. */
    static Optional<Event> of(String line) {
        List<String> fields =
                Arrays.stream(line.split(" ", -1))
                        .map(s -> URLDecoder.decode(s, StandardCharsets.UTF_8))
                        .toList();
        return fields.size() != 5
                ? Optional.empty()
                : Optional.of(
                        new Event(
                                fields.get(0),
                                Kind.valueOf(fields.get(1)),
                                fields.get(2),
                                fields.get(3),
                                fields.get(4)));
    }
}
