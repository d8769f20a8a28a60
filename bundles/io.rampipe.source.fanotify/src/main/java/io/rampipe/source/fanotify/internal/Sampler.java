package io.rampipe.source.fanotify.internal;

import io.rampipe.linux.Fanotify;
import io.rampipe.linux.FanotifyEvents;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.SplittableRandom;
import org.osgi.service.log.Logger;

/**
 * Silences what is active all the time, and looks at it in samples: the kernel makes an event for
 * each access before it merges it, and the program that accesses pays for that. Silenced are pins,
 * single files on disk, and a disk that is being flooded.
 */
final class Sampler {
    private static final int MOST_FILES = 256;
    private static final long MOST_TICK = 150_000_000;
    private static final long LEAST_TICK = 20_000_000;

    private final Logger log;
    private final Fanotify disks;
    private final long origin;
    private final Activity activity = new Activity();
    private final Schedule schedule = new Schedule(new SplittableRandom());
    private final List<Watch> watches = new ArrayList<>();
    private final List<HotFile> files = new ArrayList<>();
    private final List<HotFile> candidates = new ArrayList<>();

    private int slot;
    private int drain;
    private long tick = 50_000_000;
    private long lastDrain;
    private boolean lastBusy;

    /** A window was open at some time since the last drain: what is read now are its events. */
    private boolean sampled;

    /** A window was closed whose events have not been judged. */
    private boolean unjudged;

    /**
     * @param disks the group that has all watches but those of pins with a group of their own; its
     *     inode marks are this object's alone
     */
    Sampler(Fanotify disks, long now, Logger log) {
        this.disks = disks;
        this.log = log;
        this.origin = now;
        this.lastDrain = now;
    }

    int silenced() {
        return watches.size() + files.size();
    }

    int ignoredFiles() {
        return files.size();
    }

    /** Whether there is anything to do at some time. */
    boolean running() {
        return schedule.running();
    }

    /** Time until {@link #step} is wanted. */
    long remaining(long now) {
        return schedule.remaining(now);
    }

    boolean windowOpen() {
        return schedule.isOpen();
    }

    /** Opens or closes a window that is due. */
    void step(long now) {
        if (schedule.isOpen()) {
            close(now);
        } else {
            open(now);
        }
    }

    private void open(long now) {
        for (Iterator<Watch> all = watches.iterator(); all.hasNext(); ) {
            Watch watch = all.next();
            if (!attempt("watch", watch, watch::listen)) {
                watch.silenced(null);
                all.remove();
            }
        }
        if (!files.isEmpty()) {
            attempt("watch hot files of", disks.fd(), disks::ignoreNone);
        }
        sampled = true;
        schedule.open(now);
    }

    private void close(long now) {
        for (Watch watch : watches) {
            attempt("silence", watch, watch::hush);
        }
        ignoreAll(files);
        schedule.close(now);
        unjudged = true;
    }

    /** Ignores these files; those that are gone are dropped. */
    private void ignoreAll(List<HotFile> which) {
        for (int i = 0; i < which.size(); ) {
            Watch watch = which.get(i).watch();
            int from = i;
            while (i < which.size() && which.get(i).watch() == watch) {
                i++;
            }
            List<HotFile> here = which.subList(from, i);
            try (Fd mount = watch.place().open()) {
                here.removeIf(file -> !ignore(file, mount));
            } catch (IOException e) {
                log.debug("cannot silence files on {}: {}", watch, e.getMessage());
                here.forEach(file -> activity.release(file.entry()));
                here.clear();
            }
            i = from + here.size();
        }
    }

    private boolean ignore(HotFile file, Fd mount) {
        boolean done = false;
        try {
            done = file.ignore(mount);
        } catch (IOException e) {
            log.debug("cannot silence a file on {}: {}", file.watch(), e.getMessage());
        }
        if (!done) {
            activity.release(file.entry());
        }
        return done;
    }

    /** Before the queue is read. */
    void beforeDrain(long now) {
        slot = (int) ((now - origin) / Presence.SLOT_NANOS);
        drain++;
        if (schedule.running()
                && (schedule.ripe(now) || !schedule.isOpen() && schedule.remaining(now) <= 0)) {
            step(now);
        }
    }

    /** Counts an event of a pin; returns how many accesses it stands for: 0 for one too many. */
    double count(Watch watch, long file, int kinds) {
        double scale = count(watch);
        int entry = activity.touch(file, slot);
        return entry >= 0 && activity.repeated(entry, drain, kinds) ? 0 : scale;
    }

    private double count(Watch watch) {
        Samples samples = watch.samples();
        if (samples == null) {
            watch.touch(slot);
            return 1;
        }
        // Without a window it was queued just before the mark went.
        if (!sampled) {
            return 1;
        }
        samples.seen();
        return schedule.scale();
    }

    /**
     * Counts an event of data of a file on disk; returns how many accesses it stands for, as above.
     */
    double count(Watch watch, long file, int kinds, FanotifyEvents event) {
        double scale = count(watch);
        int entry = activity.touch(file, slot);
        if (entry < 0) {
            return scale;
        }
        if (activity.repeated(entry, drain, kinds)) {
            return 0;
        }
        if (watch.samples() != null) {
            return scale;
        }
        HotFile hot = activity.hot(entry);
        if (hot == null) {
            // A flood is answered as a whole, not file by file.
            if (activity.constant(entry)
                    && !watch.wasActive()
                    && files.size() + candidates.size() < MOST_FILES) {
                hot = new HotFile(watch, event.handle(), event.name(), entry);
                activity.hold(entry, hot);
                candidates.add(hot);
            }
            return 1;
        }
        if (!sampled) {
            hot.stray();
            return 1;
        }
        hot.samples().seen();
        return schedule.scale();
    }

    /** After the queue was read. */
    void afterDrain(long now, boolean busy, Iterable<Watch> all) {
        if (!schedule.running()) {
            measureTick(now, busy);
        }
        if (unjudged) {
            judge();
        }
        if (!schedule.isOpen()) {
            sampled = false;
        }
        if (busy) {
            for (Watch watch : all) {
                if (watch.samples() == null && watch.constant(slot)) {
                    silence(watch);
                }
            }
            silenceCandidates();
            if (files.removeIf(this::escaped)) {
                ignoreAnew();
            }
        }
        lastDrain = now;
        lastBusy = busy;
        startOrStop(now);
    }

    /** A window is as long as a tick: then what is active all the time is seen once in it. */
    private void measureTick(long now, boolean busy) {
        long passed = now - lastDrain;
        if (busy && lastBusy && passed < MOST_TICK) {
            tick = Math.max(LEAST_TICK, tick + (passed - tick) / 8);
        }
    }

    /** Looks at what the last window showed. Call when its events have been read. */
    void judge() {
        unjudged = false;
        for (Iterator<Watch> all = watches.iterator(); all.hasNext(); ) {
            Watch watch = all.next();
            if (watch.quiet()) {
                all.remove();
                watch.silenced(null);
                attempt("watch", watch, watch::listen);
            }
        }
        if (files.removeIf(this::quiet)) {
            ignoreAnew();
        }
        if (!schedule.isOpen()) {
            sampled = false;
        }
    }

    /**
     * After files went from the list: the kernel takes away all ignore marks or one found again.
     */
    private void ignoreAnew() {
        if (!schedule.isOpen() && attempt("watch hot files of", disks.fd(), disks::ignoreNone)) {
            ignoreAll(files);
        }
    }

    /** Whether {@link #judge} is to be called. */
    boolean unjudged() {
        return unjudged;
    }

    private boolean quiet(HotFile file) {
        boolean quiet = file.samples().quietAfter(1);
        if (quiet) {
            activity.release(file.entry());
        }
        return quiet;
    }

    private boolean escaped(HotFile file) {
        if (file.escaped()) {
            activity.release(file.entry());
        }
        return file.escaped();
    }

    private void silence(Watch watch) {
        if (schedule.isOpen() || attempt("silence", watch, watch::hush)) {
            watch.silenced(new Samples());
            watches.add(watch);
        } else {
            watch.silenced(null);
        }
    }

    private void silenceCandidates() {
        if (candidates.isEmpty()) {
            return;
        }
        candidates.removeIf(
                file -> {
                    boolean found = false;
                    try (Fd mount = file.watch().place().open()) {
                        found = file.find(mount);
                    } catch (IOException e) {
                        log.debug("cannot silence a file on {}: {}", file.watch(), e.getMessage());
                    }
                    if (!found) {
                        activity.release(file.entry());
                    }
                    return !found;
                });
        if (!schedule.isOpen()) {
            ignoreAll(candidates);
        }
        files.addAll(candidates);
        candidates.clear();
        // Neighbours in the list share an open file system.
        files.sort((a, b) -> Integer.compare(a.watch().hashCode(), b.watch().hashCode()));
    }

    /** After what is silenced changed. */
    void startOrStop(long now) {
        boolean wanted = silenced() > 0;
        if (wanted && !schedule.running()) {
            schedule.start(now, tick);
        } else if (!wanted && schedule.running()) {
            schedule.stop();
            sampled = false;
            unjudged = false;
        }
    }

    /** A watch is about to go: nothing of it is kept. */
    void forget(Watch watch) {
        watches.remove(watch);
        if (files.removeIf(file -> of(watch, file))) {
            ignoreAnew();
        }
    }

    private boolean of(Watch watch, HotFile file) {
        if (file.watch() != watch) {
            return false;
        }
        activity.release(file.entry());
        return true;
    }

    private interface Action {
        void run() throws IOException;
    }

    private boolean attempt(String what, Object subject, Action action) {
        try {
            action.run();
            return true;
        } catch (LinuxException e) {
            log.debug("cannot {} {}: {}", what, subject, e.getMessage());
        } catch (IOException e) {
            log.warn("cannot {} {}: {}", what, subject, e.getMessage());
        }
        return false;
    }
}
