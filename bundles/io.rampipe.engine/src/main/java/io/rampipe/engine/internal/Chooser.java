package io.rampipe.engine.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Refusal;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
import io.rampipe.api.Units;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;
import org.osgi.service.log.FormatterLogger;

/**
 * The choosing thread: looks at what is hot, finds out where it is, and pins it. The unit is the
 * hot file's directory; where that is refused for a reason that will not pass by itself, the single
 * file.
 */
final class Chooser implements Runnable {
    private static final long SECOND = 1_000_000_000L;

    /** Passing refusals of a directory in a row before its files are tried one by one. */
    private static final int PATIENCE = 50;

    private static final long EAGER_PAUSE = SECOND / 10;

    private final Supplier<Settings> settings;
    private final Keeper keeper;
    private final FormatterLogger log;
    private final Refusals refusals = new Refusals();
    private final Thread thread = new Thread(this, "rampipe-choose");
    private volatile List<Hot> hot = List.of();
    private volatile boolean fresh;
    private volatile boolean stopped;
    private final WarmStart warm;
    private Sense sense;

    Chooser(Supplier<Settings> settings, Keeper keeper, WarmStart warm, FormatterLogger log) {
        this.settings = settings;
        this.keeper = keeper;
        this.warm = warm;
        this.log = log;
    }

    void start(Sense s) {
        sense = s;
        thread.start();
    }

    void stop() throws InterruptedException {
        stopped = true;
        LockSupport.unpark(thread);
        thread.join();
    }

    Thread thread() {
        return thread;
    }

    /** Takes what the sensing thread found. Returns at once. */
    void publish(List<Hot> found) {
        hot = found;
        fresh = true;
        LockSupport.unpark(thread);
    }

    /** Something has come that pins can be made with. */
    void wake() {
        LockSupport.unpark(thread);
    }

    /** What is hot, as of the last second; paths may still be unknown. */
    List<Hot> hot() {
        return hot;
    }

    Refusals refusals() {
        return refusals;
    }

    @Override
    public void run() {
        boolean eager = false;
        while (!stopped) {
            if (!fresh) {
                if (eager) {
                    LockSupport.parkNanos(this, EAGER_PAUSE);
                } else {
                    LockSupport.park(this);
                }
            }
            boolean news = fresh;
            fresh = false;
            try {
                if (!stopped) {
                    warm.pin();
                }
                if (news) {
                    warm.learn(hot, refusals);
                }
                eager = !stopped && choose();
            } catch (IOException | RuntimeException e) {
                log.error("choosing what to pin failed; it goes on in a second: %s", e.toString());
                eager = false;
            }
        }
    }

    /** Returns true if something that is hot was refused for a cause that may pass any moment. */
    private boolean choose() throws IOException {
        if (keeper.closed() || keeper.frozen()) {
            return false;
        }
        Settings s = settings.get();
        List<Hot> unwanted = new ArrayList<>();
        List<Hot> directories = new ArrayList<>();
        Map<Long, List<Hot>> files = new HashMap<>();
        for (Hot h : hot) {
            if (!h.isDirectory()) {
                files.computeIfAbsent(h.directory, k -> new ArrayList<>()).add(h);
            } else if (locate(h) && s.unwatched(h.path).isEmpty()) {
                directories.add(h);
            } else if (h.path != null
                    && s.directories().stream().noneMatch(d -> d.contains(h.path))) {
                unwanted.add(h);
            }
        }
        if (!unwanted.isEmpty()) {
            sense.ignore(unwanted);
        }
        // The outermost of two hot directories first: pinned, it covers the other.
        directories.removeIf(h -> h.rate < s.pinRate());
        directories.sort(
                Comparator.comparingInt((Hot h) -> h.path.raw().length())
                        .thenComparingDouble(h -> -h.rate));
        boolean eager = false;
        for (Hot h : directories) {
            if (stopped) {
                return false;
            }
            if (keeper.covering(h.path).isEmpty()) {
                eager |= consider(h, files.getOrDefault(h.key, List.of()), s);
            }
        }
        return eager;
    }

    private boolean locate(Hot h) {
        Optional<LivePin> pin = keeper.pins().stream().filter(p -> p.key() == h.key).findFirst();
        Optional<FilePath> path =
                pin.map(p -> p.record().target().path()).or(h.location::directory);
        path.ifPresent(p -> h.path = p);
        return path.isPresent();
    }

    private boolean consider(Hot directory, List<Hot> files, Settings s) {
        List<FilePath> names = files.stream().map(f -> f.location.name()).distinct().toList();
        Optional<Refusal> refused =
                attempt(Target.directory(directory.path), names, directory.key, directory.rate);
        if (refused.isEmpty()) {
            return false;
        }
        Refusals.Entry entry = refusals.get(directory.path).orElse(null);
        boolean passing = Refusals.passing(refused.get().cause());
        if (passing && (entry == null || entry.tries() < PATIENCE)) {
            return true;
        }
        boolean eager = passing;
        for (Hot file : files) {
            FilePath path = directory.path.resolve(file.location.name());
            file.path = path;
            if (file.rate < s.pinRate() || !s.unwatched(path).isEmpty()) {
                continue;
            }
            if (file.replaced) {
                note(
                        path,
                        new Refusal(
                                Refusal.Cause.REPLACED,
                                path
                                        + " is replaced, moved or deleted by its program, which a mount over the file would break"));
                continue;
            }
            eager |=
                    attempt(Target.file(path), List.of(), file.key, file.rate)
                            .map(r -> Refusals.passing(r.cause()))
                            .orElse(false);
        }
        return eager;
    }

    /** Returns the refusal in force, from now or before; empty if it is pinned now. */
    private Optional<Refusal> attempt(Target target, List<FilePath> names, long key, double rate) {
        if (!refusals.mayTry(target.path(), System.nanoTime())) {
            return refusals.get(target.path()).map(Refusals.Entry::refusal);
        }
        if (settings.get().observing()) {
            Refusal refusal = observed(target, names);
            note(target.path(), refusal);
            return Optional.of(refusal);
        }
        try {
            keeper.pin(target, names, key, rate, false);
            refusals.clear(target.path());
            return Optional.empty();
        } catch (RefusedException e) {
            note(target.path(), e.refusal());
            return Optional.of(e.refusal());
        } catch (IOException e) {
            Refusal refusal = new Refusal(Refusal.Cause.ERROR, e.getMessage());
            note(target.path(), refusal);
            return Optional.of(refusal);
        }
    }

    /** What would come of it, if it could be pinned. */
    private Refusal observed(Target target, List<FilePath> names) {
        Refusal refused = keeper.pullable(target).orElse(null);
        if (refused != null) {
            return refused;
        }
        for (Keeper.Verdict verdict : keeper.examine(target, names)) {
            if (verdict.refusal() == null) {
                return new Refusal(
                        Refusal.Cause.NOT_WATCHED,
                        String.format(
                                "%s would be pinned by %s (%d files, %s in RAM at first); to let it, name"
                                        + " it or a directory above it in watch.directories",
                                target,
                                verdict.strategy(),
                                verdict.estimate().files(),
                                Units.bytes(verdict.estimate().bytes())));
            }
            refused = refused == null ? verdict.refusal() : refused;
        }
        return refused != null
                ? refused
                : new Refusal(
                        Refusal.Cause.UNSUPPORTED,
                        target + " could not be pinned: no pin strategy is there");
    }

    private void note(FilePath path, Refusal refusal) {
        if (refusals.add(path, refusal, System.nanoTime())) {
            log.info(
                    "%s: %s",
                    settings.get().observing() ? "observed" : "not pinned", refusal.message());
        }
    }
}
