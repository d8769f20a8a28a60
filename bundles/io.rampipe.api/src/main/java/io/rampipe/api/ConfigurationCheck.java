package io.rampipe.api;

import java.util.List;
import java.util.Map;
import org.osgi.annotation.versioning.ConsumerType;

/**
 * What the configuration's keys must fulfil together, beyond the range of each. A service: whoever
 * registers one is asked before a changed configuration takes effect.
 */
@ConsumerType
public interface ConfigurationCheck {
    /**
     * Looks at a configuration that may come into force. Each value for itself is valid already.
     * Called by any thread, quickly, and without looking at anything but the values.
     *
     * @param values every key with its value or its default, as it would be written in the file
     *     (lists with commas)
     * @return one line for people about each problem, naming the keys and their values; empty if
     *     all is well
     */
    List<String> check(Map<String, String> values);
}
