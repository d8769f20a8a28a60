package io.rampipe.engine.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.PinStrategy.Stray;
import io.rampipe.api.SyncBack;
import io.rampipe.api.Target;
import io.rampipe.linux.MountInfo;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import org.osgi.service.log.FormatterLogger;

/**
 * What an earlier daemon has left: records of pins, their RAM, and strays, which are the one
 * without the other. What is certainly of no use is removed. What may hold data that is nowhere
 * else is kept: taken over if a strategy can tell what it is, and told to people otherwise. What is
 * not RamPipe's is never touched. Any thread.
 */
final class Leftovers {
    /** See {@link #strays}. */
    @FunctionalInterface
    interface Signing {
        Pin sign(Pin pin) throws IOException;
    }

    private final ThinPool pool;
    private final PinFiles journal;
    private final FormatterLogger log;
    private final Set<String> asked = ConcurrentHashMap.newKeySet();
    private final Map<String, String> kept = new ConcurrentHashMap<>();

    Leftovers(ThinPool pool, PinFiles journal, FormatterLogger log) {
        this.pool = pool;
        this.journal = journal;
        this.log = log;
    }

    /** What people have to look at, by id of the pin that it was. */
    List<String> problems() {
        return List.copyOf(new TreeMap<>(kept).values());
    }

    /**
     * The pins that are to be taken over. Removes records of what is gone, and empty directories in
     * the pool. Once, before anything is pinned.
     */
    List<Pin> records() throws IOException {
        pool.takeOver();
        journal.removeUnfinished();
        Set<String> damaged = new TreeSet<>();
        List<Pin> records = journal.load((file, problem) -> damaged.add(damaged(file, problem)));
        Set<String> ram = new HashSet<>();
        pool.names().forEach(n -> ram.add(n.raw()));
        Set<String> mounts = mounts();
        List<Pin> live = new ArrayList<>();
        for (Pin pin : records) {
            if (ram.contains(pin.id()) || mounts.contains(pin.id())) {
                live.add(pin);
            } else {
                forget(pin);
            }
            ram.remove(pin.id());
        }
        for (String id : ram) {
            if (PinFiles.isId(id) && !damaged.contains(id)) {
                removeEmpty(id, mounts.contains(id));
            }
        }
        return live;
    }

    private String damaged(Path file, String problem) {
        String name = file.getFileName().toString();
        String id = name.substring(0, name.length() - PinFiles.SUFFIX.length());
        String what =
                "the pin record "
                        + file
                        + " "
                        + problem
                        + "; it is left where it is, and so is what it may speak of, "
                        + ram(id)
                        + ": see rampipe-rescue";
        log.error("%s", what);
        kept.put(id, what);
        return id;
    }

    private FilePath ram(String id) {
        return pool.path().resolve(id);
    }

    /** Neither RAM nor mount is there any more. */
    private void forget(Pin pin) throws IOException {
        switch (pin.step()) {
            case PINNED, UNMOUNTING ->
                    log.warn(
                            "%s was pinned, but its RAM is gone (the machine was restarted, or %s was"
                                    + " taken away): it is as its last checkpoint left it",
                            pin.target(), pool.path());
            default -> log.debug("%s: the pin was never made, or is gone", pin.target());
        }
        journal.remove(pin.id());
    }

    /** A pin's directory is made before its record, and removed before it. */
    private void removeEmpty(String id, boolean mounted) throws IOException {
        if (!mounted && pool.isEmpty(id)) {
            pool.release(id);
        } else {
            keep(id, "there is no record of the pin that has its RAM in " + ram(id));
        }
    }

    private void keep(String id, String what) {
        String all =
                what
                        + ". What is in it may be nowhere else, so it is kept; look at "
                        + ram(id)
                        + ", or see rampipe-rescue";
        if (!all.equals(kept.put(id, all))) {
            log.error("%s", all);
        }
    }

    /**
     * Records made anew of what a strategy finds without one, for pins that are to be taken over
     * too. Once a strategy; not while anything is being pinned.
     *
     * @param signed puts the names of strategy and syncback into a record
     */
    List<Pin> strays(PinStrategy strategy, String name, Signing signed) {
        if (!asked.add(name)) {
            return List.of();
        }
        List<Pin> found = new ArrayList<>();
        try {
            Set<String> recorded = new HashSet<>();
            journal.load((file, problem) -> {}).forEach(p -> recorded.add(p.id()));
            for (Stray stray : strategy.strays(pool.path(), recorded)) {
                if (stray.pin().isEmpty()) {
                    keep(stray.id(), stray.what());
                    continue;
                }
                Pin pin = signed.sign(stray.pin().get());
                journal.setAside(stray.id());
                journal.write(pin);
                kept.remove(stray.id());
                log.warn("%s; a new record was made of it", stray.what());
                found.add(pin);
            }
        } catch (IOException | RuntimeException e) {
            log.error(
                    "what %s may have left without a record cannot be told: %s",
                    name, e.getMessage());
        }
        return found;
    }

    /**
     * Whether what is in the RAM of a pin that is not mounted any more has to be written, or may be
     * dropped.
     */
    static boolean unwritten(Pin pin, SyncBack sync) throws IOException {
        return switch (pin.step()) {
            case PREPARING, DISCARDING -> false;
            // Programs that had come into an overlay when it was undone have left their changes.
            // Of a file there is a copy before anybody can have changed it.
            case MOUNTING ->
                    pin.target().kind() == Target.Kind.DIRECTORY && sync.dirty(pin).files() > 0;
            case PINNED -> true;
            case UNMOUNTING -> {
                String settled = pin.attributes().get(Pin.SETTLED);
                yield settled == null || !sync.version(pin).equals(Optional.of(settled));
            }
        };
    }

    private static Set<String> mounts() throws IOException {
        Set<String> ids = new HashSet<>();
        for (MountInfo m : MountInfo.all()) {
            m.pin().ifPresent(ids::add);
        }
        return ids;
    }
}
