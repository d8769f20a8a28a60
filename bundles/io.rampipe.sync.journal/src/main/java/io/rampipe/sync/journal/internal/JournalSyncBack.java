package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Names;
import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack;
import io.rampipe.linux.Fd;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Stat;
import io.rampipe.linux.StatFs;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Consumer;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

/**
 * Writes the changes in an overlayfs upper layer to disk by way of a redo log on the same disk.
 * Several pins may be synced at the same time, each by one thread.
 */
@Component(property = Names.NAME + "=" + JournalSyncBack.NAME)
public final class JournalSyncBack implements SyncBack {
    static final String NAME = "journal";

    /** How long to wait before each further attempt at a copy during which nothing changes. */
    private static final int[] PAUSES_IN_MS = {0, 20, 60, 120};

    /** Coarse change times have the granularity of the timer interrupt: at most 10 ms. */
    private static final long COARSE_NANOS = 20_000_000;

    private static final long FIRST_FINE_KERNEL = 6 * 1000 + 13;

    private final Steps steps;
    private final Consumer<String> report;
    private final boolean fineKernel;
    private final Map<String, State> states = new ConcurrentHashMap<>();

    /** Of one pin. Guarded by itself. */
    private static final class State {
        final Memory memory = new Memory();
        boolean wasMapped;
    }

    @Activate
    public JournalSyncBack(@Reference(service = LoggerFactory.class) Logger log) {
        this(Steps.NONE, log::warn);
    }

    JournalSyncBack(Steps steps, Consumer<String> report) {
        this.steps = steps;
        this.report = report;
        this.fineKernel = kernel() >= FIRST_FINE_KERNEL;
    }

    /** Major times 1000 plus minor; 0 if it is not to be understood. */
    private static long kernel() {
        try {
            String[] v =
                    Files.readString(Path.of("/proc/sys/kernel/osrelease")).strip().split("[^0-9]");
            return Long.parseLong(v[0]) * 1000 + Long.parseLong(v[1]);
        } catch (IOException | NumberFormatException | ArrayIndexOutOfBoundsException e) {
            return 0;
        }
    }

    @Override
    public boolean accepts(String format) {
        return Pin.OVERLAY.equals(format);
    }

    @Override
    public Result checkpoint(Pin pin) throws IOException {
        State state = state(pin);
        synchronized (state) {
            try (UpperLayer upper = UpperLayer.of(pin)) {
                for (int pause : PAUSES_IN_MS) {
                    pause(pause);
                    try {
                        Result result = attempt(pin, state, upper);
                        if (result.consistent()) {
                            return result;
                        }
                    } catch (MovingException e) {
                        // Again, after a pause.
                    }
                }
                return Result.NOT_AT_REST;
            }
        }
    }

    private Result attempt(Pin pin, State state, UpperLayer upper) throws IOException {
        Sync.Clean clean = clean(upper);
        Set<Long> mapped = MappedFiles.of(pin.id());
        Digest now = upper.digest();
        if (now.newest() >= clean.settled()) {
            return Result.NOT_AT_REST;
        }
        Digest last = state.memory.last();
        boolean sure = mapped.isEmpty() && !state.wasMapped;
        if (sure && last != null && now.sameAs(last)) {
            return new Result(true, 0, 0, 0);
        }
        state.wasMapped = !mapped.isEmpty();
        Result result = run(pin, upper, state.memory, null, mapped, true);
        Set<Long> mappedSince = MappedFiles.of(pin.id());
        if (!mapped.containsAll(mappedSince)) {
            // Times were believed that may have said nothing.
            state.memory.forgetAll();
            state.wasMapped = true;
        }
        return result;
    }

    private Result run(
            Pin pin,
            UpperLayer upper,
            Memory memory,
            LowerFiles held,
            Set<Long> mapped,
            boolean mounted)
            throws IOException {
        Sync sync = new Sync(pin, upper, memory, held, clean(upper), steps);
        try {
            return sync.run(mapped, mounted);
        } catch (MovingException e) {
            throw e;
        } catch (IOException | RuntimeException e) {
            memory.forgetAll();
            throw e;
        } finally {
            for (String line : sync.reports()) {
                report.accept(pin.target() + ": " + line);
            }
        }
    }

    /**
     * Since Linux 6.13 a change time that has been looked at is never given to a later change on
     * the file systems that take part, tmpfs among them. Before, changes within one tick of the
     * clock look the same, so that what changed a moment ago may have changed again.
     */
    private Sync.Clean clean(UpperLayer upper) throws IOException {
        if (fineKernel && StatFs.of(upper.root()).type() == StatFs.TMPFS) {
            return () -> Long.MAX_VALUE;
        }
        long now = System.currentTimeMillis() * 1_000_000;
        return () -> now - COARSE_NANOS;
    }

    private void finishPending(Pin pin, Memory memory) throws IOException {
        String source = "rampipe:" + pin.id();
        if (MountInfo.all().stream().anyMatch(m -> m.source().raw().equals(source))) {
            return;
        }
        try (UpperLayer upper = UpperLayer.of(pin)) {
            Sync sync = new Sync(pin, upper, memory, null, clean(upper), steps);
            try {
                sync.finishPending();
            } finally {
                for (String line : sync.reports()) {
                    report.accept(pin.target() + ": " + line);
                }
            }
        }
    }

    private static void pause(int millis) throws IOException {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted while waiting for the target to rest", e);
        }
    }

    @Override
    public Last begin(Pin pin) throws IOException {
        State state = state(pin);
        synchronized (state) {
            finishPending(pin, state.memory);
            return LastSync.begin(this, pin, state.memory, steps);
        }
    }

    /**
     * No mapping has outlived the mount, and those that were there at the last checkpoint have kept
     * their files from being remembered; so what is remembered is right.
     */
    Result finish(Pin pin, UpperLayer upper, LowerFiles held) throws IOException {
        State state = state(pin);
        synchronized (state) {
            Result result = run(pin, upper, state.memory, held, Set.of(), false);
            state.memory.forgetAll();
            return result;
        }
    }

    @Override
    public Dirty dirty(Pin pin) throws IOException {
        State state = state(pin);
        synchronized (state) {
            int[] files = {0};
            long[] bytes = {0};
            long[] oldest = {Long.MAX_VALUE};
            boolean[] known = {false};
            try (UpperLayer upper = UpperLayer.of(pin)) {
                Digest last = state.memory.last();
                if (last != null && upper.digest().sameAs(last)) {
                    return new Dirty(0, 0, 0);
                }
                upper.visit(
                        (parent, dir, name, s) -> {
                            Memory.Entry e = state.memory.get(s.inode());
                            boolean isClean = e != null && e.matches(s);
                            if (s.isDirectory()) {
                                known[0] = isClean;
                            } else if (s.type() == Stat.CHARACTER && s.deviceNumber() == 0) {
                                // All whiteouts may be one file; their directory tells.
                                isClean = known[0];
                            }
                            if (!isClean && !(name.isEmpty() && !upper.wholeDirectory())) {
                                files[0]++;
                                bytes[0] += s.isRegular() ? s.size() : 0;
                                oldest[0] = Math.min(oldest[0], Digest.change(s) / 1_000_000);
                            }
                        });
            } catch (MovingException e) {
                // What has been seen will do.
            }
            return new Dirty(files[0], bytes[0], files[0] == 0 ? 0 : oldest[0]);
        }
    }

    @Override
    public void forget(Pin pin) {
        states.remove(pin.id());
    }

    @Override
    public List<String> recover(Collection<FilePath> directories, Collection<Pin> pins)
            throws IOException {
        return new Recovery(pins, steps).run(directories);
    }

    private State state(Pin pin) {
        return states.computeIfAbsent(pin.id(), id -> new State());
    }

    /** Closes all of them. */
    static void closeAll(Collection<Fd> fds) {
        fds.forEach(Fd::close);
    }
}
