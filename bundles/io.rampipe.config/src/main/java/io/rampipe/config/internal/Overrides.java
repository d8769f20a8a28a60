package io.rampipe.config.internal;

import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;

/** Settings from the command line: {@code -Drampipe.set.KEY=VALUE}. */
final class Overrides {
    static final String PREFIX = "rampipe.set.";

    private Overrides() {}

    static Map<String, String> in(Properties properties) {
        Map<String, String> overrides = new TreeMap<>();
        for (String name : properties.stringPropertyNames()) {
            if (name.startsWith(PREFIX)) {
                overrides.put(name.substring(PREFIX.length()), properties.getProperty(name));
            }
        }
        return overrides;
    }
}
