package io.rampipe.config.internal;

import io.rampipe.api.ConfigurationCheck;
import io.rampipe.api.Printable;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * What a configuration file means under a schema: values, or problems.
 *
 * @param values of the keys that the file or an override sets, for each PID, as its component gets
 *     them
 * @param problems for people; if there is any, the values are not to be used
 */
record Reading(Map<String, Map<String, Object>> values, List<String> problems) {

    /**
     * @param file its keys and values
     * @param name of the file, for messages
     * @param overrides keys and values that go before the file's
     */
    static Reading of(
            Schema schema,
            Map<String, String> file,
            String name,
            Map<String, String> overrides,
            Collection<ConfigurationCheck> checks) {
        Map<String, Map<String, Object>> values = new TreeMap<>();
        List<String> problems = new ArrayList<>();
        String file1 = Printable.of(name) + ": ";
        String overrides1 = "system property " + Overrides.PREFIX;
        unknown(schema, file, file1, problems);
        unknown(schema, overrides, overrides1, problems);

        Map<String, String> effective = new LinkedHashMap<>();
        for (Section section : schema.sections()) {
            Map<String, Object> mine = new TreeMap<>();
            values.put(section.pid(), mine);
            for (Attribute attribute : section.attributes()) {
                String key = attribute.key();
                String text = overrides.getOrDefault(key, file.get(key));
                Object value = null;
                if (text != null) {
                    try {
                        value = attribute.parse(text);
                        mine.put(key, value);
                    } catch (InvalidValueException e) {
                        String problem =
                                (overrides.containsKey(key) ? overrides1 : file1) + e.getMessage();
                        if (!problems.contains(problem)) {
                            problems.add(problem);
                        }
                    }
                }
                effective.put(key, attribute.text(value));
            }
        }
        if (problems.isEmpty()) {
            for (ConfigurationCheck check : checks) {
                for (String problem : ask(check, effective)) {
                    problems.add(file1 + Printable.of(problem));
                }
            }
        }
        return new Reading(values, List.copyOf(problems));
    }

    private static void unknown(
            Schema schema, Map<String, String> given, String where, List<String> problems) {
        for (String key : new TreeMap<>(given).keySet()) {
            if (!schema.keys().containsKey(key)) {
                problems.add(
                        where
                                + Printable.of(key)
                                + ": unknown key; "
                                + schema.like(key)
                                        .map(like -> "is " + like + " meant?")
                                        .orElse("'rampipe config' lists those there are"));
            }
        }
    }

    private static List<String> ask(ConfigurationCheck check, Map<String, String> effective) {
        try {
            return check.check(Map.copyOf(effective));
        } catch (RuntimeException e) {
            return List.of("check " + check.getClass().getName() + " failed: " + e);
        }
    }

    boolean valid() {
        return problems.isEmpty();
    }
}
