package io.rampipe.config.internal;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** Every key that some bundle understands. Immutable. */
final class Schema {
    /** A key with more changes than this is another key, not a misspelt one. */
    private static final int SIMILAR = 3;

    private final List<Section> sections;
    private final Map<String, List<Attribute>> byKey = new TreeMap<>();

    Schema(Collection<Section> sections) {
        this.sections = sections.stream().sorted(Comparator.comparing(Section::pid)).toList();
        for (Section section : this.sections) {
            for (Attribute attribute : section.attributes()) {
                byKey.computeIfAbsent(attribute.key(), key -> new ArrayList<>()).add(attribute);
            }
        }
    }

    /** By PID. */
    List<Section> sections() {
        return sections;
    }

    /** By key. Several components may share a key. */
    Map<String, List<Attribute>> keys() {
        return byKey;
    }

    /** The known key that is most like an unknown one, if any is. */
    Optional<String> like(String unknown) {
        return byKey.keySet().stream()
                .filter(key -> distance(key, unknown) <= Math.min(SIMILAR, key.length() / 2))
                .min(Comparator.comparingInt(key -> distance(key, unknown)));
    }

    /** Levenshtein's: insertions, deletions and replacements that lead from one to the other. */
    private static int distance(String a, String b) {
        int[] row = new int[b.length() + 1];
        for (int j = 0; j <= b.length(); j++) {
            row[j] = j;
        }
        for (int i = 1; i <= a.length(); i++) {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= b.length(); j++) {
                int change = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.min(change, Math.min(row[j], row[j - 1]) + 1);
            }
        }
        return row[b.length()];
    }
}
