package io.rampipe.shell.internal;

import io.rampipe.api.Conflict;
import io.rampipe.api.FilePath;
import io.rampipe.api.Printable;
import io.rampipe.api.RamPipe.Explanation;
import io.rampipe.api.RamPipe.Frozen;
import io.rampipe.api.RamPipe.HotFile;
import io.rampipe.api.RamPipe.PinStatus;
import io.rampipe.api.RamPipe.Status;
import io.rampipe.api.RamPipe.StrategyStatus;
import io.rampipe.api.Target;
import io.rampipe.api.Units;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.stream.Collectors;

/** What the engine tells, as text and as JSON. The JSON keys are stable; more may be added. */
final class Reports {
    private Reports() {}

    /**
     * @param now epoch milliseconds
     */
    static String pins(List<PinStatus> pins, long now) {
        if (pins.isEmpty()) {
            return "Nothing is pinned.";
        }
        Table table =
                new Table(
                        "STATE",
                        "BY",
                        "STRATEGY",
                        ">RATE",
                        ">SIZE",
                        ">UNSYNCED",
                        ">OLDEST",
                        ">EVERY",
                        ">SINCE",
                        "TARGET");
        long size = 0;
        long dirty = 0;
        for (PinStatus pin : pins) {
            table.row(
                    pin.state(),
                    pin.manual() ? "hand" : "rate",
                    pin.strategy(),
                    Human.rate(pin.rate()),
                    Human.size(pin.size()),
                    Human.size(pin.dirtyBytes()),
                    Human.age(pin.oldestDirty(), now),
                    Units.duration(Duration.ofMillis(pin.interval())),
                    Human.age(pin.since(), now),
                    Human.target(pin.target()));
            table.note(pin.problem());
            size += pin.size();
            dirty += pin.dirtyBytes();
        }
        return table
                + Human.count(pins.size(), "pin")
                + ", "
                + Human.size(size)
                + " in RAM, "
                + Human.size(dirty)
                + " not on disk yet";
    }

    static void pin(Json json, PinStatus pin) throws IOException {
        json.put("id", pin.id())
                .put("path", pin.target().path())
                .put("kind", pin.target().kind().name().toLowerCase(Locale.ROOT))
                .put("strategy", pin.strategy())
                .put("state", pin.state())
                .put("manual", pin.manual())
                .put("rate", pin.rate())
                .put("size", pin.size())
                .put("unsynced_bytes", pin.dirtyBytes())
                .put("unsynced_files", pin.dirtyFiles())
                .moment("since", pin.since())
                .moment("oldest_unsynced", pin.oldestDirty())
                .moment("last_sync", pin.lastSync())
                .put("interval", pin.interval())
                .put("problem", pin.problem());
    }

    /**
     * @param now epoch milliseconds
     */
    static String frozen(Frozen frozen, long now) {
        StringBuilder out = new StringBuilder();
        for (FilePath path : frozen.unpinned()) {
            out.append(path).append(": on disk, and out of RAM\n");
        }
        for (PinStatus pin : frozen.left()) {
            out.append(pin.target().path())
                    .append(": still in RAM; the disk has what it was like ")
                    .append(Human.age(pin.lastSync() == 0 ? pin.since() : pin.lastSync(), now))
                    .append(" ago; ")
                    .append(Printable.of(pin.problem()))
                    .append('\n');
        }
        return out.append("Frozen for ")
                .append(Units.duration(Duration.ofMillis(Math.max(0, frozen.until() - now))))
                .append("; rampipe thaw ends it.")
                .toString();
    }

    static void frozen(Json json, Frozen frozen) throws IOException {
        json.moment("until", frozen.until())
                .list("unpinned", frozen.unpinned(), (item, path) -> item.put("path", path))
                .list("pins", frozen.left(), Reports::pin);
    }

    static String top(List<HotFile> files) {
        if (files.isEmpty()) {
            return "Nothing has been used yet.";
        }
        Table table = new Table(">RATE", "STATE", "PATH");
        for (HotFile file : files) {
            table.row(Human.rate(file.rate()), file.state(), Human.target(target(file)));
            table.note(file.reason());
        }
        return table.toString().stripTrailing();
    }

    private static Target target(HotFile file) {
        return file.directory() ? Target.directory(file.path()) : Target.file(file.path());
    }

    static void hot(Json json, HotFile file) throws IOException {
        json.put("path", file.path())
                .put("kind", file.directory() ? "directory" : "file")
                .put("rate", file.rate())
                .put("state", file.state())
                .put("reason", file.reason());
    }

    static String why(Explanation why) {
        StringBuilder out = new StringBuilder();
        out.append(why.path()).append(": ").append(why.state()).append('\n');
        out.append("  rate ").append(Human.rate(why.rate()));
        out.append("/s; pinned from ").append(Human.rate(why.pinRate()));
        out.append("/s on, unpinned at ").append(Human.rate(why.unpinRate()));
        out.append("/s or below");
        for (String reason : why.reasons()) {
            out.append("\n  ").append(Printable.of(reason));
        }
        return out.toString();
    }

    static void why(Json json, Explanation why) throws IOException {
        json.put("path", why.path())
                .put("state", why.state())
                .put("rate", why.rate())
                .put("pin_rate", why.pinRate())
                .put("unpin_rate", why.unpinRate())
                .texts("reasons", why.reasons());
    }

    static String status(Status s, OptionalInt conflicts) {
        Table table = new Table("", "");
        table.row(
                "  events",
                Human.rate(s.eventsPerSecond())
                        + "/s; "
                        + Human.count(s.events())
                        + " since the start, queue overflows: "
                        + Human.count(s.dropped()));
        table.row(
                "  tracked",
                Human.count(s.tracked()) + " names in " + Human.size(s.trackedBytes()));
        table.row(
                "  pool",
                Human.size(s.poolUsed())
                        + " used of "
                        + Human.size(s.poolSize())
                        + ", "
                        + Human.size(s.poolReserve())
                        + " of it in reserve");
        table.row(
                "  memory",
                Human.size(s.memoryAvailable())
                        + " available; the daemon itself takes "
                        + Human.size(s.resident()));
        table.row(
                "  pins",
                Human.count(s.pins())
                        + ", with "
                        + Human.size(s.dirtyBytes())
                        + " not on disk yet");
        table.row(
                "  writes",
                Human.size(s.absorbed())
                        + " taken by RAM, "
                        + Human.size(s.written())
                        + " written to disk");
        table.row(
                "  watched",
                s.watched().stream().map(Object::toString).collect(Collectors.joining(", ")));
        StringBuilder out = new StringBuilder();
        out.append("RamPipe ").append(Printable.of(s.version()));
        out.append(", ").append(Printable.of(s.state()));
        out.append(", up for ").append(Units.duration(Duration.ofMillis(s.uptimeMillis())));
        out.append('\n').append(table.toString().stripTrailing());
        if (conflicts.isEmpty()) {
            out.append("\n! conflicts cannot be listed: see rampipe conflicts");
        } else if (conflicts.getAsInt() > 0) {
            out.append("\n! ").append(Human.count(conflicts.getAsInt(), "conflict"));
            out.append(": see rampipe conflicts");
        }
        for (String problem : s.problems()) {
            out.append("\n! ").append(Printable.of(problem));
        }
        return out.toString();
    }

    static void status(Json json, Status s, OptionalInt conflicts) throws IOException {
        json.put("version", s.version())
                .put("state", s.state())
                .texts("problems", s.problems())
                .list("watched", s.watched(), (item, path) -> item.put("path", path))
                .put("uptime", s.uptimeMillis())
                .put("events_per_second", s.eventsPerSecond())
                .put("events", s.events())
                .put("dropped", s.dropped())
                .put("tracked", s.tracked())
                .put("tracked_bytes", s.trackedBytes())
                .put("pool_size", s.poolSize())
                .put("pool_used", s.poolUsed())
                .put("pool_reserve", s.poolReserve())
                .put("memory_available", s.memoryAvailable())
                .put("resident", s.resident())
                .put("absorbed", s.absorbed())
                .put("written", s.written())
                .put("pins", s.pins())
                .put("unsynced_bytes", s.dirtyBytes());
        if (conflicts.isPresent()) {
            json.put("conflicts", conflicts.getAsInt());
        }
    }

    /**
     * @param now epoch milliseconds
     */
    static String conflicts(List<Conflict> conflicts, long now) {
        if (conflicts.isEmpty()) {
            return "There are no conflicts.";
        }
        Table table = new Table(">AGO", "PATH");
        for (Conflict c : conflicts) {
            table.row(Human.age(c.when(), now), c.path().toString());
            table.note(c.what() + (c.copy().isEmpty() ? "" : " " + c.copy().name()));
        }
        return table.toString().stripTrailing();
    }

    static void conflict(Json json, Conflict c) throws IOException {
        json.put("path", c.path());
        if (!c.copy().isEmpty()) {
            json.put("copy", c.copy());
        }
        json.put("target", c.target())
                .put("pin", c.pin())
                .moment("when", c.when())
                .put("what", c.what());
    }

    static String strategies(List<StrategyStatus> strategies) {
        if (strategies.isEmpty()) {
            return "There are no strategies: their bundles are not installed, or not started.";
        }
        Table table = new Table("KIND", "NAME", "STATE", "IN USE", ">PINS", "BUNDLE");
        for (StrategyStatus s : strategies) {
            boolean pins = s.kind().equals("pin") || s.kind().equals("sync");
            table.row(
                    s.kind(),
                    s.name(),
                    s.state(),
                    s.inUse() ? "yes" : "no",
                    pins ? Human.count(s.pins()) : Human.NOTHING,
                    s.bundle().isEmpty() ? Human.NOTHING : s.bundle() + " " + s.version());
            table.note(s.note());
        }
        return table.toString().stripTrailing();
    }

    static void strategy(Json json, StrategyStatus s) throws IOException {
        json.put("kind", s.kind())
                .put("name", s.name())
                .put("bundle", s.bundle())
                .put("version", s.version())
                .put("state", s.state())
                .put("in_use", s.inUse())
                .put("pins", s.pins())
                .put("note", s.note());
    }
}
