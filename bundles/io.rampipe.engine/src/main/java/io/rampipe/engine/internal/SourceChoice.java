package io.rampipe.engine.internal;

import io.rampipe.api.EventSource;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * Which event source is used where none is named: the best ranked that works here. It stays until
 * sources come or go, or until it fails to open, so that nothing goes to and fro. Any thread.
 */
final class SourceChoice {
    private final Supplier<List<EventSource>> ranked;
    private final Function<EventSource, String> nameOf;
    private final Consumer<String> tell;
    private final Map<EventSource, String> failed = new HashMap<>();

    private List<EventSource> among = List.of();
    private EventSource chosen;
    private String told = "";

    /**
     * @param ranked all that are there, the best first
     * @param tell takes a line for people, when there is another choice
     */
    SourceChoice(
            Supplier<List<EventSource>> ranked,
            Function<EventSource, String> nameOf,
            Consumer<String> tell) {
        this.ranked = ranked;
        this.nameOf = nameOf;
        this.tell = tell;
    }

    /** Empty if none works. */
    synchronized Optional<EventSource> get() {
        List<EventSource> all = ranked.get();
        if (!all.equals(among)) {
            failed.keySet().retainAll(all);
            among = all;
            chosen = null;
        }
        if (chosen == null) {
            choose();
        }
        return Optional.ofNullable(chosen);
    }

    private void choose() {
        List<String> passedOver = new ArrayList<>();
        for (EventSource source : among) {
            Optional<String> why = unusable(source);
            if (why.isEmpty()) {
                chosen = source;
                say(source, passedOver);
                return;
            }
            passedOver.add("not " + nameOf.apply(source) + ": " + why.get());
        }
        // What has failed once may do better the next time, when there is nothing else.
        failed.clear();
    }

    private void say(EventSource source, List<String> passedOver) {
        String line =
                "event source: "
                        + nameOf.apply(source)
                        + (passedOver.isEmpty() ? "" : "; " + String.join("; ", passedOver));
        if (!line.equals(told)) {
            told = line;
            tell.accept(line);
        }
    }

    private Optional<String> unusable(EventSource source) {
        String why = failed.get(source);
        if (why != null) {
            return Optional.of(why);
        }
        try {
            return source.unusable();
        } catch (RuntimeException e) {
            return Optional.of("it fails: " + e);
        }
    }

    /** It could not be opened: another one, if there is one. */
    synchronized void failed(EventSource source, Exception why) {
        failed.put(source, String.valueOf(why.getMessage()));
        if (chosen == source) {
            chosen = null;
        }
    }
}
