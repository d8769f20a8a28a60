package io.rampipe.engine.internal;

import io.rampipe.api.ConfigurationCheck;
import io.rampipe.api.Printable;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.osgi.service.component.annotations.Component;

/**
 * That what names strategies can be their names. Whether they are there is not asked: bundles come
 * and go.
 */
@Component
public final class NamesCheck implements ConfigurationCheck {
    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9][A-Za-z0-9._-]*");

    @Override
    public List<String> check(Map<String, String> values) {
        List<String> problems = new ArrayList<>();
        for (String key : List.of("source.use", "rate.use")) {
            if (values.containsKey(key)) {
                name(key, values.get(key).strip(), problems);
            }
        }
        for (String key : List.of("strategy.order", "sync.order")) {
            Set<String> seen = new HashSet<>();
            for (String item : values.getOrDefault(key, "").split(",")) {
                String name = item.strip();
                if (!name.isEmpty() && name(key, name, problems) && !seen.add(name)) {
                    problems.add(key + ": " + name + " is named twice");
                }
            }
        }
        return problems;
    }

    private static boolean name(String key, String name, List<String> problems) {
        boolean good = NAME.matcher(name).matches();
        if (!good) {
            problems.add(
                    key
                            + ": '"
                            + Printable.of(name)
                            + "' is no name of a strategy; see rampipe strategies");
        }
        return good;
    }
}
