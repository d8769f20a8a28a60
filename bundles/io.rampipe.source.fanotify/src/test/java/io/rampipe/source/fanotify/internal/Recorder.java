package io.rampipe.source.fanotify.internal;

import io.rampipe.api.AccessEvent;
import io.rampipe.api.AccessListener;
import io.rampipe.api.EventSource;
import io.rampipe.api.FilePath;
import io.rampipe.testkit.Await;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;
import org.osgi.service.log.Logger;

/** Keeps all that a session hands over. */
final class Recorder implements AccessListener {
    static final Duration LIMIT = Duration.ofSeconds(20);

    /** A logger that drops everything. */
    static final Logger SILENT =
            (Logger)
                    java.lang.reflect.Proxy.newProxyInstance(
                            Recorder.class.getClassLoader(),
                            new Class<?>[] {Logger.class},
                            (proxy, method, args) ->
                                    method.getReturnType() == boolean.class ? false : null);

    record Event(
            long directory, long file, int kinds, double scale, AccessEvent.Location location) {
        FilePath name() {
            return location.name();
        }

        Optional<FilePath> path() {
            return location.directory().map(d -> d.resolve(location.name()));
        }

        boolean has(int kind) {
            return (kinds & kind) != 0;
        }
    }

    final List<Event> events = new ArrayList<>();
    int overflows;

    @Override
    public void access(AccessEvent e) {
        events.add(new Event(e.directory(), e.file(), e.kinds(), e.scale(), e.locate()));
    }

    @Override
    public void overflow() {
        overflows++;
    }

    /** Drains until such an event has come, and returns it. */
    Event until(EventSource.Session session, String what, Predicate<Event> wanted)
            throws Exception {
        Await.until(
                LIMIT,
                () -> {
                    session.drain(this);
                    return events.stream().anyMatch(wanted);
                },
                () -> what + ", but " + events);
        return events.stream().filter(wanted).reduce((a, b) -> b).orElseThrow();
    }

    Event until(EventSource.Session session, int kind, String name) throws Exception {
        return until(
                session,
                "kind " + kind + " of " + name,
                e -> e.has(kind) && e.name().equals(FilePath.of(name)));
    }

    boolean saw(String name) {
        return events.stream().anyMatch(e -> e.name().equals(FilePath.of(name)));
    }
}
