package io.rampipe.engine.internal;

import io.rampipe.api.Names;
import io.rampipe.api.RamPipe.StrategyStatus;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Function;
import java.util.function.Predicate;
import java.util.function.ToIntFunction;
import org.osgi.framework.Bundle;
import org.osgi.framework.ServiceReference;

/** The services of one kind that are there now, by name. Any thread. */
final class Strategies<S> {
    private record Entry<S>(String name, S service, ServiceReference<S> reference) {}

    private final String kind;
    private final List<Entry<S>> entries = new CopyOnWriteArrayList<>();

    Strategies(String kind) {
        this.kind = kind;
    }

    /**
     * @param service what is called instead of the service itself, or that
     */
    void add(S service, ServiceReference<S> reference) {
        entries.add(new Entry<>(nameOf(reference), service, reference));
    }

    /** The name of a service. */
    static String nameOf(ServiceReference<?> reference) {
        Object name = reference.getProperty(Names.NAME);
        return name instanceof String s ? s : reference.getBundle().getSymbolicName();
    }

    /**
     * During an exchange two services of one name are there.
     *
     * @return what was called instead of it; empty if it was not there
     */
    Optional<S> remove(ServiceReference<S> reference) {
        Optional<Entry<S>> gone =
                entries.stream().filter(e -> e.reference.equals(reference)).findFirst();
        gone.ifPresent(entries::remove);
        return gone.map(Entry::service);
    }

    /** The best ranked of that name. */
    Optional<S> get(String name) {
        return entries.stream()
                .filter(e -> e.name.equals(name))
                .max(Comparator.comparing(Entry::reference))
                .map(Entry::service);
    }

    /** All, best ranked first. */
    List<S> all() {
        return entries.stream()
                .sorted(Comparator.comparing((Entry<S> e) -> e.reference).reversed())
                .map(Entry::service)
                .toList();
    }

    String nameOf(S service) {
        return entries.stream()
                .filter(e -> e.service == service)
                .map(Entry::name)
                .findFirst()
                .orElse("");
    }

    List<String> names() {
        return entries.stream().map(Entry::name).distinct().sorted().toList();
    }

    /**
     * @param unusable why a service cannot work here; empty if it can
     */
    List<StrategyStatus> status(
            Predicate<S> inUse,
            ToIntFunction<String> pins,
            Function<S, String> note,
            Function<S, Optional<String>> unusable) {
        List<StrategyStatus> all = new ArrayList<>();
        for (Entry<S> e : entries) {
            Bundle bundle = e.reference.getBundle();
            Optional<String> why = unusable.apply(e.service);
            all.add(
                    new StrategyStatus(
                            kind,
                            e.name,
                            bundle == null ? "" : bundle.getSymbolicName(),
                            bundle == null ? "" : bundle.getVersion().toString(),
                            why.isEmpty() ? "active" : "unusable",
                            why.isEmpty() && inUse.test(e.service),
                            pins.applyAsInt(e.name),
                            why.orElseGet(() -> note.apply(e.service))));
        }
        return all;
    }
}
