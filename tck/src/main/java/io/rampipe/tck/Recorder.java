package io.rampipe.tck;

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
public final class Recorder implements AccessListener {
    public static final Duration LIMIT = Duration.ofSeconds(20);

    /** A logger that drops everything. */
    public static final Logger SILENT =
            (Logger)
                    java.lang.reflect.Proxy.newProxyInstance(
                            Recorder.class.getClassLoader(),
                            new Class<?>[] {Logger.class},
                            (proxy, method, args) ->
                                    method.getReturnType() == boolean.class ? false : null);

    public record Event(
            long directory, long file, int kinds, double scale, AccessEvent.Location location) {
        public FilePath name() {
            return location.name();
        }

        public Optional<FilePath> path() {
            return location.directory().map(d -> d.resolve(location.name()));
        }

        public boolean has(int kind) {
            return (kinds & kind) != 0;
        }
    }

    public final List<Event> events = new ArrayList<>();
    public int overflows;

    @Override
    public void access(AccessEvent e) {
        events.add(new Event(e.directory(), e.file(), e.kinds(), e.scale(), e.locate()));
    }

    @Override
    public void overflow() {
        overflows++;
    }

    /** Drains until such an event has come, and returns it. */
    public Event until(EventSource.Session session, String what, Predicate<Event> wanted)
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

    public Event until(EventSource.Session session, int kind, String name) throws Exception {
        return until(
                session,
                "kind " + kind + " of " + name,
                e -> e.has(kind) && e.name().equals(FilePath.of(name)));
    }

    public boolean saw(String name) {
        return events.stream().anyMatch(e -> e.name().equals(FilePath.of(name)));
    }
}
