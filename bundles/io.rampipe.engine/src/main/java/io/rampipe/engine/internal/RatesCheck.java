package io.rampipe.engine.internal;

import io.rampipe.api.ConfigurationCheck;
import io.rampipe.api.FilePath;
import io.rampipe.api.Units;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.osgi.service.component.annotations.Component;

/** What the engine's settings must fulfil beyond the range of each. */
@Component
public final class RatesCheck implements ConfigurationCheck {
    @Override
    public List<String> check(Map<String, String> values) {
        List<String> problems = new ArrayList<>();
        double pin = Double.parseDouble(values.getOrDefault("pin.rate", "1"));
        double unpin = Double.parseDouble(values.getOrDefault("unpin.rate", "0.2"));
        if (!(unpin < pin)) {
            problems.add(
                    "unpin.rate = "
                            + unpin
                            + " must be below pin.rate = "
                            + pin
                            + ", or files would be pinned and unpinned in turn");
        }
        String pool = values.getOrDefault("pool.size", "auto");
        if (!pool.equals("auto") && Units.bytes(pool) > Memory.total()) {
            problems.add(
                    "pool.size = "
                            + pool
                            + " is more than the machine's memory of "
                            + Units.bytes(Memory.total()));
        }
        for (String directory : values.getOrDefault("watch.directories", "").split(",")) {
            String d = directory.strip();
            if (!d.isEmpty() && !FilePath.of(d).isAbsolute()) {
                problems.add("watch.directories: '" + d + "' must begin with /");
            }
        }
        try {
            // A backslash takes a comma as it is.
            Intervals.of(
                    Arrays.stream(
                                    values.getOrDefault("checkpoint.intervals", "")
                                            .split("(?<!\\\\),"))
                            .map(String::strip)
                            .filter(item -> !item.isEmpty())
                            .toList(),
                    1);
        } catch (IllegalArgumentException e) {
            problems.add(e.getMessage());
        }
        return problems;
    }
}
