package io.rampipe.sync.journal.internal;

import io.rampipe.api.Conflict;
import io.rampipe.api.FilePath;
import io.rampipe.api.Names;
import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Stat;
import io.rampipe.linux.StatFs;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.ReentrantLock;
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

    /** Attempts at the last syncback: one more when all of a file is needed, and one to spare. */
    private static final int LAST_TRIES = 3;

    private static final int LITTLE_WHILE_IN_MS = 5;

    /** Coarse change times have the granularity of the timer interrupt: at most 10 ms. */
    private static final long COARSE_NANOS = 20_000_000;

    private static final long FIRST_FINE_KERNEL = 6 * 1000 + 13;

    private final Steps steps;
    private final Consumer<String> report;
    private final boolean fineKernel;
    private final long[] key = BlockHash.key();
    private final Map<String, State> states = new ConcurrentHashMap<>();
    private final ConflictList conflicts = ConflictList.ALL;

    /** Of one pin. Guarded by its lock. */
    private static final class State {
        final ReentrantLock lock = new ReentrantLock();
        volatile Dirty dirty = new Dirty(0, 0, 0);

        /** When the last checkpoint began, epoch milliseconds; 0 if that is not known. */
        long moment;

        final Memory memory = new Memory();
        final Writers writers = new Writers();
        boolean wasMapped;

        /** It was copied while its programs were held, the last time. */
        boolean restless;
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
        return checkpoint(pin, Allowance.NO_FREEZE);
    }

    @Override
    public Result checkpoint(Pin pin, Allowance allowance) throws IOException {
        State state = state(pin);
        state.lock.lock();
        try {
            state.dirty = look(pin, state);
            boolean mayHold = !allowance.freeze().isZero();
            try (UpperLayer upper = UpperLayer.of(pin);
                    Capture capture = new Capture(state.memory, key, allowance.memory())) {
                for (int pause : PAUSES_IN_MS) {
                    if (pause > 0 && state.restless && mayHold) {
                        break;
                    }
                    pause(pause);
                    try {
                        Result result = attempt(pin, state, upper, capture);
                        if (result.consistent()) {
                            state.restless = false;
                            return result;
                        }
                    } catch (MovingException e) {
                        // Again, after a pause.
                    }
                }
                state.restless = true;
                return mayHold
                        ? new Holding(state.writers, allowance, coarseness(upper))
                                .checkpoint(hold -> held(pin, state, upper, capture, hold))
                        : Result.NOT_AT_REST;
            }
        } finally {
            state.lock.unlock();
        }
    }

    /** While the programs that write are held for a moment. */
    private Result held(Pin pin, State state, UpperLayer upper, Capture capture, Sync.Hold hold)
            throws IOException {
        MappedFiles mapped = MappedFiles.of(pin);
        state.writers.look(pin.id(), mapped.processes());
        return run(pin, state, upper, capture, mapped.inodes(), hold);
    }

    private Result attempt(Pin pin, State state, UpperLayer upper, Capture capture)
            throws IOException {
        long moment = System.currentTimeMillis();
        Sync.Clean clean = clean(upper);
        Digest now = upper.digest();
        if (now.newest() >= clean.settled()) {
            return Result.NOT_AT_REST;
        }
        Digest last = state.memory.last();
        // What is mapped since then shows in the times, with the first write at the latest.
        if (!state.wasMapped && last != null && now.sameAs(last)) {
            state.moment = moment;
            return new Result(true, 0, 0, 0);
        }
        if (state.restless) {
            // Looking at all processes is dear; most likely it has not come to rest.
            pause(LITTLE_WHILE_IN_MS);
            if (!upper.digest().sameAs(now)) {
                return Result.NOT_AT_REST;
            }
        }
        Set<Long> mapped = MappedFiles.of(pin).inodes();
        if (!upper.digest().sameAs(now)) {
            return Result.NOT_AT_REST;
        }
        return run(pin, state, upper, capture, mapped, null);
    }

    private Result run(
            Pin pin,
            State state,
            UpperLayer upper,
            Capture capture,
            Set<Long> mapped,
            Sync.Hold hold)
            throws IOException {
        long moment = System.currentTimeMillis();
        state.wasMapped = !mapped.isEmpty();
        Result result = run(pin, upper, state.memory, capture, null, mapped, true, hold);
        Set<Long> mappedSince = MappedFiles.of(pin).inodes();
        if (!mapped.containsAll(mappedSince)) {
            // Times were believed that may have said nothing.
            state.memory.forgetAll();
            state.wasMapped = true;
        }
        state.moment = moment;
        return result;
    }

    private Result run(
            Pin pin,
            UpperLayer upper,
            Memory memory,
            Capture capture,
            LowerFiles held,
            Set<Long> mapped,
            boolean mounted,
            Sync.Hold hold)
            throws IOException {
        Sync sync =
                new Sync(pin, upper, memory, held, conflicts, capture, () -> clean(upper), steps);
        try {
            return sync.run(mapped, mounted, hold);
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
            Sync sync =
                    new Sync(pin, upper, memory, null, conflicts, null, () -> clean(upper), steps);
            try {
                sync.finishPending();
            } finally {
                for (String line : sync.reports()) {
                    report.accept(pin.target() + ": " + line);
                }
            }
        }
    }

    /** Whether change times are so coarse that a copy has to wait for them. */
    private Duration coarseness(UpperLayer upper) throws IOException {
        return clean(upper).settled() == Long.MAX_VALUE
                ? Duration.ZERO
                : Duration.ofNanos(COARSE_NANOS);
    }

    static void pause(int millis) throws IOException {
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
        state.lock.lock();
        try {
            finishPending(pin, state.memory);
            return LastSync.begin(this, pin, state.memory, steps);
        } finally {
            state.lock.unlock();
        }
    }

    /**
     * No mapping has outlived the mount, and those that were there at the last checkpoint have kept
     * their files from being remembered; so what is remembered is right.
     *
     * @param undisturbed nothing on disk was changed by others right before the unmount: what is
     *     changed there now, programs have changed that go on with what is on disk
     */
    Result finish(Pin pin, UpperLayer upper, LowerFiles held, boolean undisturbed)
            throws IOException {
        State state = state(pin);
        state.lock.lock();
        try {
            if (undisturbed && allOnDisk(pin, state, upper)) {
                state.memory.forgetAll();
                discardStaged(pin);
                return new Result(true, 0, 0, 0);
            }
            long room = Allowance.NO_FREEZE.memory();
            try (Capture capture = new Capture(state.memory, key, room)) {
                Result result = finish(pin, upper, held, state, capture);
                state.memory.forgetAll();
                return result;
            }
        } finally {
            state.lock.unlock();
        }
    }

    /** Whether nothing has changed since the last checkpoint, and that left nothing for later. */
    private boolean allOnDisk(Pin pin, State state, UpperLayer upper) throws IOException {
        Digest last = state.memory.last();
        if (last == null || state.wasMapped) {
            return false;
        }
        Sync.Clean clean = clean(upper);
        Digest now = upper.digest();
        if (now.newest() >= clean.settled() || !now.sameAs(last)) {
            return false;
        }
        try (Disk.Place place = Disk.find(Disk.Identity.of(pin), steps);
                StagingDirectory staging = new StagingDirectory(place.disk(), pin.id(), steps)) {
            return !staging.hasLog();
        }
    }

    /**
     * Nothing writes any more; but a file may turn out to be one that cannot be changed in place on
     * disk (immutable, being run from there), and then all of it is needed where a copy of what
     * differs was made.
     */
    private Result finish(Pin pin, UpperLayer upper, LowerFiles held, State state, Capture capture)
            throws IOException {
        for (int i = 1; ; i++) {
            try {
                return run(pin, upper, state.memory, capture, held, Set.of(), false, null);
            } catch (MovingException e) {
                if (i == LAST_TRIES) {
                    throw e;
                }
            }
        }
    }

    @Override
    public Dirty dirty(Pin pin) throws IOException {
        State state = state(pin);
        if (!state.lock.tryLock()) {
            // It is being written just now, and the disk may be slow: what was known before that.
            return state.dirty;
        }
        try {
            state.dirty = look(pin, state);
            return state.dirty;
        } finally {
            state.lock.unlock();
        }
    }

    private static Dirty look(Pin pin, State state) throws IOException {
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
        // A file that changed now may have changed before, but not before the last checkpoint.
        long since = state.moment == 0 ? oldest[0] : Math.min(oldest[0], state.moment);
        return new Dirty(files[0], bytes[0], files[0] == 0 ? 0 : since);
    }

    @Override
    public Optional<String> version(Pin pin) throws IOException {
        try (UpperLayer upper = UpperLayer.of(pin);
                Disk.Place place = Disk.find(Disk.Identity.of(pin), steps);
                StagingDirectory staging = new StagingDirectory(place.disk(), pin.id(), steps)) {
            Sync.Clean clean = clean(upper);
            Digest digest = upper.digest();
            boolean told =
                    digest.newest() < clean.settled()
                            && MappedFiles.of(pin).inodes().isEmpty()
                            && !staging.hasLog();
            return told ? Optional.of(digest.text()) : Optional.empty();
        } catch (MovingException e) {
            return Optional.empty();
        }
    }

    @Override
    public void forget(Pin pin) {
        states.remove(pin.id());
        discardStaged(pin);
    }

    private void discardStaged(Pin pin) {
        try (Disk.Place place = Disk.find(Disk.Identity.of(pin), steps);
                StagingDirectory staging = new StagingDirectory(place.disk(), pin.id(), steps)) {
            if (!staging.hasLog()) {
                staging.discard(true);
            }
        } catch (IOException e) {
            // It is worth nothing. The next recovery of the disk removes it.
            return;
        }
    }

    @Override
    public List<String> recover(Collection<FilePath> directories, Collection<Pin> pins)
            throws IOException {
        return new Recovery(pins, conflicts, steps).run(directories);
    }

    @Override
    public List<Conflict> conflicts(Collection<FilePath> directories, Collection<Pin> pins)
            throws IOException {
        Set<String> devices = new LinkedHashSet<>();
        for (FilePath directory : directories) {
            try (Fd fd = At.open(directory, At.O_PATH | At.O_DIRECTORY)) {
                devices.add(Stat.deviceText(Stat.of(fd).device()));
            } catch (LinuxException e) {
                if (!e.is(Errno.ENOENT, Errno.ENOTDIR)) {
                    throw e;
                }
            }
        }
        for (Pin pin : pins) {
            devices.add(pin.attributes().getOrDefault(Pin.LOWER_DEVICE, ""));
        }
        Map<Long, List<Conflict>> found = new TreeMap<>();
        Set<String> seen = new HashSet<>();
        for (String device : devices) {
            for (Disk disk : Disk.withHome(device, steps)) {
                try (disk) {
                    Stat home = Stat.of(disk.home());
                    if (seen.add(home.device() + ":" + home.inode())) {
                        for (Conflict c : conflicts.list(disk)) {
                            found.computeIfAbsent(c.when(), k -> new ArrayList<>()).add(c);
                        }
                    }
                }
            }
        }
        return found.values().stream().flatMap(List::stream).toList();
    }

    @Override
    public Pin replaced(Pin pin) throws IOException {
        FilePath path = pin.target().path();
        if (pin.target().kind() == Target.Kind.FILE) {
            return pin;
        }
        try (Disk.Place place = Disk.findParent(Disk.Identity.of(pin), steps)) {
            if (place == null) {
                return pin;
            }
            FilePath name = Drift.makeDirectory(place.directory(), pin.id(), path.name());
            Io.sync(place.directory());
            Pin next = pin;
            try (Fd made =
                    At.open(
                            place.directory(),
                            name,
                            At.O_RDONLY | At.O_DIRECTORY | At.O_NOFOLLOW,
                            0)) {
                next =
                        next.with(Pin.LOWER_INODE, Long.toUnsignedString(Stat.of(made).inode()))
                                .with(Pin.LOWER_HANDLE, FileHandle.of(made).toString());
                Drift.startAnew(pin, made);
            }
            String what =
                    "was removed on disk by others while it was pinned; what was in RAM is in "
                            + path.parent().resolve(name);
            report.accept(path + " " + what);
            conflict(next, what);
            return next;
        }
    }

    @Override
    public void conflict(Pin pin, String what) throws IOException {
        Disk.Identity identity = Disk.Identity.of(pin);
        try (Disk.Place place = Disk.find(identity, steps)) {
            conflicts.add(
                    place.disk(),
                    identity,
                    pin.id(),
                    List.of(new Drift.Found(ConflictList.TARGET, FilePath.of(""), what)));
        }
    }

    private State state(Pin pin) {
        return states.computeIfAbsent(pin.id(), id -> new State());
    }

    /** Closes all of them. */
    static void closeAll(Collection<Fd> fds) {
        fds.forEach(Fd::close);
    }
}
