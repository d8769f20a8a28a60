package io.rampipe.engine.internal;

import java.lang.reflect.Proxy;
import java.util.Map;

/** Settings as a user would have them who set only a few. */
final class TestSettings {
    private TestSettings() {}

    static Settings of(String directory) {
        return of(Map.of("watch_directories", new String[] {directory}));
    }

    /** The defaults of {@link EngineConfig}, but for these methods. */
    static Settings of(Map<String, Object> values) {
        EngineConfig config =
                (EngineConfig)
                        Proxy.newProxyInstance(
                                TestSettings.class.getClassLoader(),
                                new Class<?>[] {EngineConfig.class},
                                (proxy, method, arguments) ->
                                        values.getOrDefault(
                                                method.getName(), method.getDefaultValue()));
        return Settings.of(config, 8L << 30);
    }
}
