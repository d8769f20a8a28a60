package io.rampipe.shell.internal;

import io.rampipe.api.BusyException;
import io.rampipe.api.Conflict;
import io.rampipe.api.FilePath;
import io.rampipe.api.RamPipe;
import io.rampipe.api.Refusal;
import io.rampipe.api.RefusedException;
import io.rampipe.api.SyncBack;
import io.rampipe.api.Target;
import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** An engine without files: names decide what happens. */
final class FakeRamPipe implements RamPipe {
    final Map<FilePath, PinStatus> pins = new LinkedHashMap<>();
    final List<String> calls = new ArrayList<>();
    boolean ema = true;
    final List<Conflict> conflicts = new ArrayList<>();
    final Map<FilePath, String> left = new LinkedHashMap<>();

    void add(FilePath path, String problem) {
        pins.put(
                path,
                new PinStatus(
                        "a" + pins.size(),
                        Target.directory(path),
                        "overlayfs",
                        problem.isEmpty() ? "pinned" : "failing",
                        false,
                        12.345,
                        5 << 20,
                        4096,
                        3,
                        1,
                        0,
                        0,
                        10_000,
                        problem));
    }

    @Override
    public List<PinStatus> pins() {
        return List.copyOf(pins.values());
    }

    @Override
    public List<HotFile> top(int most) {
        calls.add("top " + most);
        return List.of(
                new HotFile(FilePath.of("/d"), true, 3, "pinned", ""),
                new HotFile(FilePath.of("/f"), false, 0.5, "refused", "in use by 1"));
    }

    @Override
    public Explanation why(FilePath path) {
        calls.add("why " + path.raw());
        return new Explanation(path, "cold", 0.1, 2, 0.2, List.of("not hot enough"));
    }

    @Override
    public PinStatus pin(FilePath path) throws IOException {
        if (path.name().toString().equals("refused")) {
            throw new RefusedException(Refusal.Cause.TOO_LARGE, path + " is too large");
        }
        if (path.name().toString().equals("broken")) {
            throw new IllegalStateException("oops");
        }
        add(path, "");
        return pins.get(path);
    }

    @Override
    public SyncBack.Result unpin(FilePath path) throws IOException {
        SyncBack.Result result = sync(path);
        if (path.name().toString().equals("busy")) {
            throw new BusyException(path + " is in use by sh (123)");
        }
        pins.remove(path);
        return result;
    }

    @Override
    public SyncBack.Result sync(FilePath path) throws IOException {
        if (!pins.containsKey(path)) {
            throw new NoSuchFileException(path.toString());
        }
        return path.name().toString().equals("restless")
                ? SyncBack.Result.NOT_AT_REST
                : new SyncBack.Result(true, 2, 8192, 9000);
    }

    @Override
    public PinStatus migrate(FilePath path, String strategy) throws IOException {
        if (!pins.containsKey(path)) {
            throw new NoSuchFileException("nothing is pinned at " + path);
        }
        if (!strategy.equals("dmsnapshot")) {
            throw new RefusedException(
                    Refusal.Cause.UNSUPPORTED, path + " stays with overlayfs, because it is small");
        }
        calls.add("migrate " + path.raw() + " " + strategy);
        return pins.get(path);
    }

    @Override
    public Frozen freeze(Duration time) {
        calls.add("freeze " + time);
        List<FilePath> unpinned = new ArrayList<>(pins.keySet());
        unpinned.removeIf(p -> p.name().toString().equals("busy"));
        unpinned.forEach(pins::remove);
        return new Frozen(System.currentTimeMillis() + time.toMillis(), unpinned, pins());
    }

    @Override
    public boolean thaw() {
        return calls.remove("freeze PT10M");
    }

    @Override
    public Optional<String> broken() {
        return Optional.empty();
    }

    @Override
    public Status status() {
        return new Status(
                "watching",
                List.of("disk full: /x"),
                List.of(FilePath.of("/home")),
                3.5,
                12345,
                0,
                100,
                2048,
                1 << 30,
                1 << 20,
                1 << 26,
                1L << 33,
                60 << 20,
                123456,
                789,
                2,
                4096,
                3_600_000,
                "0.1.0");
    }

    @Override
    public List<Conflict> conflicts() {
        return conflicts;
    }

    @Override
    public List<StrategyStatus> strategies() {
        return List.of(
                new StrategyStatus(
                        "source", "fanotify", "b", "0.1.0", "active", true, 0, "file handles"),
                new StrategyStatus("rate", "ema", "e", "0.1.0", "active", ema, 0, ""),
                new StrategyStatus("rate", "window", "w", "0.1.0", "active", !ema, 0, ""),
                new StrategyStatus("pin", "overlayfs", "c", "0.1.0", "active", true, 2, ""),
                new StrategyStatus(
                        "pin", "dmsnapshot", "d", "0.1.0", "unusable", false, 0, "no dm here"),
                new StrategyStatus("pin", "gone", "", "", "missing", false, 1, "no bundle"));
    }

    @Override
    public Map<FilePath, String> shutdown() {
        calls.add("shutdown");
        return left;
    }
}
