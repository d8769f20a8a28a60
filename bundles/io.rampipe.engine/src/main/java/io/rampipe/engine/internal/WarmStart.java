package io.rampipe.engine.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Target;
import io.rampipe.api.Units;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import org.osgi.service.log.FormatterLogger;

/**
 * Keeps in mind what is hot, over a reboot too, and pins it again at the start, before its users
 * open it: what a program opens at its start and never closes cannot be pinned later. In the order
 * of the inodes, which is about that of the disk. What nobody uses then is soon unpinned, and
 * forgotten when that has happened some times.
 *
 * <p>The choosing thread pins and learns; any thread may {@link #close} it.
 */
final class WarmStart {
    static final int MOST = 64;
    static final int MOST_NAMES = 16;

    /** Refusals in a row after which a program seems to keep a file open. */
    private static final int LONG_IN_USE = 10;

    /** Times in a row that something is pinned early for nothing. */
    static final int CHANCES = 3;

    private static final Duration MEMORY = Duration.ofDays(30);

    /** Those who come after RamPipe wait no longer for it. */
    private static final Duration LONGEST = Duration.ofSeconds(10);

    /** The state is on the disk that is to be spared. */
    private static final Duration BETWEEN_SAVES = Duration.ofMinutes(10);

    private final Supplier<Settings> settings;
    private final Keeper keeper;
    private final BooleanSupplier equipped;
    private final HotSet file;
    private final FormatterLogger log;
    private final Map<Target, HotSet.Entry> known = new HashMap<>();
    private final Map<LivePin, Target> early = new IdentityHashMap<>();
    private final long start = System.nanoTime();
    private List<HotSet.Entry> saved = List.of();
    private long lastSave;
    private volatile boolean pending;
    private boolean closed;
    private boolean told;

    /**
     * @param equipped whether what it takes to pin has come
     */
    WarmStart(
            Supplier<Settings> settings,
            Keeper keeper,
            BooleanSupplier equipped,
            HotSet file,
            FormatterLogger log) {
        this.settings = settings;
        this.keeper = keeper;
        this.equipped = equipped;
        this.file = file;
        this.log = log;
        this.lastSave = start - BETWEEN_SAVES.toNanos();
    }

    /** Before anything else. */
    void load() {
        if (!settings.get().warmStart()) {
            forget();
            return;
        }
        Instant oldest = Instant.now().minus(MEMORY);
        try {
            for (HotSet.Entry e : file.load()) {
                if (e.used().isAfter(oldest) && e.unused() < CHANCES && known.size() < MOST) {
                    known.put(e.target(), e);
                }
            }
            saved = sorted();
            pending = !known.isEmpty() && !settings.get().observing();
        } catch (IOException | IllegalArgumentException e) {
            log.warn("what was hot before is not known: %s: %s", file, e.getMessage());
        }
    }

    private void forget() {
        known.clear();
        saved = List.of();
        try {
            file.remove();
        } catch (IOException e) {
            log.warn("cannot remove %s: %s", file, e.getMessage());
        }
    }

    /** Whether those who wait for the start should go on waiting. */
    boolean working() {
        return pending && System.nanoTime() - start < LONGEST.toNanos();
    }

    /** Pins, once, as soon as it can. */
    void pin() {
        if (!pending || !equipped.getAsBoolean()) {
            return;
        }
        long begun = System.nanoTime();
        int pinned = 0;
        int all = 0;
        String reason = "";
        for (HotSet.Entry e : inDiskOrder()) {
            all++;
            if (System.nanoTime() - begun > LONGEST.toNanos()) {
                reason = "it took too long";
                break;
            }
            try {
                LivePin pin =
                        keeper.pin(
                                e.target(),
                                e.names(),
                                ThreadLocalRandom.current().nextLong() | 1,
                                0,
                                false);
                pin.grace = settings.get().warmTime();
                synchronized (this) {
                    early.put(pin, e.target());
                }
                pinned++;
            } catch (IOException | RuntimeException refused) {
                log.debug("not pinned early: %s", refused.getMessage());
                reason = String.valueOf(refused.getMessage());
            }
        }
        pending = false;
        if (all > 0) {
            log.info(
                    "pinned %d of %d that were hot before, in %s%s",
                    pinned,
                    all,
                    Units.duration(Duration.ofNanos(System.nanoTime() - begun)),
                    reason.isEmpty() ? "" : "; not all because " + reason);
        }
    }

    /** What is still there, and may be pinned, and has not been taken over. */
    private List<HotSet.Entry> inDiskOrder() {
        record Placed(HotSet.Entry entry, long device, long inode) {}
        List<Placed> placed = new ArrayList<>();
        List<HotSet.Entry> all;
        synchronized (this) {
            all = List.copyOf(known.values());
        }
        for (HotSet.Entry e : all) {
            Target target = e.target();
            if (!settings.get().unwatched(target.path()).isEmpty()
                    || keeper.covering(target.path()).isPresent()) {
                continue;
            }
            try (Fd fd = At.open(target.path(), At.O_PATH | At.O_NOFOLLOW)) {
                Stat stat = Stat.of(fd);
                boolean same =
                        target.kind() == Target.Kind.DIRECTORY
                                ? stat.isDirectory()
                                : stat.isRegular();
                if (same && fd.currentPath().equals(target.path())) {
                    placed.add(new Placed(e, stat.device(), stat.inode()));
                    continue;
                }
            } catch (LinuxException gone) {
                log.debug("not pinned early: %s", gone.getMessage());
            }
            notUsed(target);
        }
        return placed.stream()
                .sorted(Comparator.comparingLong(Placed::device).thenComparingLong(Placed::inode))
                .map(Placed::entry)
                .toList();
    }

    /** A user has unpinned it, and does not want it pinned at the next start. */
    synchronized void forget(Target target) {
        known.remove(target);
        early.values().remove(target);
    }

    private synchronized void notUsed(Target target) {
        HotSet.Entry e = known.get(target);
        if (e == null) {
            return;
        }
        if (e.unused() + 1 >= CHANCES) {
            known.remove(target);
        } else {
            known.put(target, new HotSet.Entry(target, e.names(), e.used(), e.unused() + 1));
        }
    }

    /**
     * Learns from what is pinned now, and from what would be if no program had it open for so long;
     * saves it from time to time.
     */
    synchronized void learn(List<Hot> hot, Refusals refusals) {
        if (closed) {
            return;
        }
        if (!settings.get().warmStart()) {
            if (!known.isEmpty() || !saved.isEmpty()) {
                forget();
            }
            return;
        }
        double least = settings.get().unpinRate();
        Map<Long, List<Hot>> files = new HashMap<>();
        for (Hot h : hot) {
            if (!h.isDirectory()) {
                files.computeIfAbsent(h.directory, k -> new ArrayList<>()).add(h);
            }
        }
        for (LivePin pin : keeper.pins()) {
            if (pin.manual() || pin.state() == LivePin.State.ORPHANED || pin.rate() <= least) {
                continue;
            }
            Target target = pin.record().target();
            known.put(
                    target,
                    new HotSet.Entry(
                            target,
                            names(target, files.getOrDefault(pin.key(), List.of())),
                            Instant.now(),
                            0));
            pin.grace = 0;
            early.remove(pin);
        }
        for (Hot h : hot) {
            FilePath path = h.path;
            if (path != null && h.rate >= settings.get().pinRate() && inUse(refusals.get(path))) {
                Target target = h.isDirectory() ? Target.directory(path) : Target.file(path);
                List<Hot> within =
                        h.isDirectory() ? files.getOrDefault(h.key, List.of()) : List.<Hot>of();
                known.put(
                        target, new HotSet.Entry(target, names(target, within), Instant.now(), 0));
            }
        }
        noteUnused();
        while (known.size() > MOST) {
            known.remove(
                    Collections.min(known.values(), Comparator.comparing(HotSet.Entry::used))
                            .target());
        }
        long now = System.nanoTime();
        if (now - lastSave >= BETWEEN_SAVES.toNanos() && !sameTargets(saved, known.keySet())) {
            save();
        }
    }

    private static boolean inUse(Optional<Refusals.Entry> refused) {
        return refused.isPresent()
                && Refusals.passing(refused.get().refusal().cause())
                && refused.get().tries() >= LONG_IN_USE;
    }

    private void noteUnused() {
        for (LivePin pin : List.copyOf(early.keySet())) {
            if (pin.gone()) {
                notUsed(early.remove(pin));
            }
        }
    }

    private List<FilePath> names(Target target, List<Hot> files) {
        List<FilePath> names =
                files.stream()
                        .sorted(Comparator.comparingDouble(h -> -h.rate))
                        .map(h -> h.location.name())
                        .distinct()
                        .limit(MOST_NAMES)
                        .toList();
        HotSet.Entry before = known.get(target);
        return names.isEmpty() && before != null ? before.names() : names;
    }

    private static boolean sameTargets(List<HotSet.Entry> a, Set<Target> b) {
        return a.size() == b.size() && a.stream().allMatch(e -> b.contains(e.target()));
    }

    /** Nothing is learned any more: what is unpinned from now on was not cold. */
    synchronized void close() {
        if (!closed && settings.get().warmStart()) {
            noteUnused();
            if (!sorted().equals(saved)) {
                save();
            }
        }
        closed = true;
    }

    private void save() {
        lastSave = System.nanoTime();
        try {
            List<HotSet.Entry> now = sorted();
            file.save(now);
            saved = now;
            told = false;
        } catch (IOException e) {
            if (!told) {
                log.warn(
                        "what is hot will not be known after a reboot: cannot write %s: %s",
                        file, e.getMessage());
            }
            told = true;
        }
    }

    private List<HotSet.Entry> sorted() {
        return known.values().stream()
                .sorted(Comparator.comparing((HotSet.Entry e) -> e.target().path().raw()))
                .toList();
    }
}
