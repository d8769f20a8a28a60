package io.rampipe.engine.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.PathPatterns;
import io.rampipe.api.Units;
import java.util.ArrayList;
import java.util.List;

/** How often which target is checkpointed: the first pattern that matches decides. Immutable. */
final class Intervals {
    private static final String KEY = "checkpoint.intervals";
    private static final long LEAST = 1_000_000_000L;
    private static final long MOST = 86_400 * LEAST;

    private record Rule(PathPatterns patterns, long nanos) {}

    private final List<Rule> rules;
    private final long otherwise;

    private Intervals(List<Rule> rules, long otherwise) {
        this.rules = rules;
        this.otherwise = otherwise;
    }

    /**
     * @param items each a pattern, {@code =} and a time
     * @param otherwise for targets that no pattern matches, nanoseconds
     * @throws IllegalArgumentException naming key, value and what is allowed
     */
    static Intervals of(List<String> items, long otherwise) {
        List<Rule> rules = new ArrayList<>();
        for (String item : items) {
            int equals = item.lastIndexOf('=');
            String pattern = equals < 0 ? "" : item.substring(0, equals).strip();
            if (pattern.isEmpty()) {
                throw invalid(item, "a pattern, =, and a time, such as /home/*/.mozilla=60s");
            }
            long nanos;
            try {
                nanos = Units.duration(item.substring(equals + 1)).toNanos();
            } catch (IllegalArgumentException e) {
                throw invalid(item, "a pattern, =, and a time, but " + e.getMessage());
            }
            if (nanos < LEAST || nanos > MOST) {
                throw invalid(item, "a pattern, =, and a time from 1s to 1d");
            }
            rules.add(new Rule(new PathPatterns(List.of(pattern)), nanos));
        }
        return new Intervals(rules, otherwise);
    }

    private static IllegalArgumentException invalid(String item, String rule) {
        return new IllegalArgumentException(KEY + ": '" + item + "' must be " + rule);
    }

    /** Nanoseconds. */
    long of(FilePath target) {
        for (Rule rule : rules) {
            if (rule.patterns().matches(target)) {
                return rule.nanos();
            }
        }
        return otherwise;
    }
}
