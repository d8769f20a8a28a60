package io.rampipe.tck;

import java.lang.reflect.Proxy;
import java.util.Map;

/** A component's configuration with its defaults, as Declarative Services would make it. */
public final class Defaults {
    private Defaults() {}

    /**
     * @param type the annotation type that the component's constructor takes
     * @param others values by the names of the type's methods, where they are not the defaults
     */
    public static <C> C of(Class<C> type, Map<String, Object> others) {
        return type.cast(
                Proxy.newProxyInstance(
                        type.getClassLoader(),
                        new Class<?>[] {type},
                        (proxy, method, args) ->
                                others.getOrDefault(method.getName(), method.getDefaultValue())));
    }

    /**
     * A component as Declarative Services would make it with its default configuration, which is
     * all that its constructor takes; for strategies of other bundles, whose configuration types
     * are their own business.
     */
    public static <T> T component(Class<T> type) throws ReflectiveOperationException {
        java.lang.reflect.Constructor<?> constructor = type.getConstructors()[0];
        Class<?> config = constructor.getParameterTypes()[0];
        return type.cast(constructor.newInstance(of(config, Map.of())));
    }
}
