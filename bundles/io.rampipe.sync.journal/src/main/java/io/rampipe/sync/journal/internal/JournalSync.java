package io.rampipe.sync.journal.internal;

import io.rampipe.api.DiskFullException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Names;
import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack;
import io.rampipe.api.Target;
import io.rampipe.api.Units;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.Leases;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.OpenFiles;
import io.rampipe.linux.Stat;
import io.rampipe.linux.StatFs;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Collectors;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.FormatterLogger;
import org.osgi.service.log.LoggerFactory;

/**
 * Syncback through a redo log on the target's own disk: compare, write the log and the new files,
 * make them durable, commit by renaming the log, carry it out, drop it. See docs/redo-log.md.
 */
@Component(property = Names.NAME + "=journal")
public final class JournalSync implements SyncBack {
    private static final String COMMITTED = ".redo";
    private static final String UNCOMMITTED = ".redo.tmp";

    /** How often a target in use is looked at again, and how long it is left in peace before. */
    private static final long[] REST_NANOS = {0, 5_000_000L, 20_000_000L, 100_000_000L};

    /**
     * So that openers do not wait for longer than the kernel lets them (fs.lease-break-time, 45 s),
     * fewer files than could be held.
     */
    private static final int MOST_LEASES = 4_000;

    private static final Result NOTHING = new Result(true, 0, 0, 0);

    private final FormatterLogger log;
    private final Map<String, Memory> memories = new ConcurrentHashMap<>();

    /**
     * How a pin's upper directory was when the disk was equal to it, and what its new files became.
     * Only makes things faster.
     */
    private record Memory(Scan clean, Map<Long, String> known) {
        static final Memory NONE = new Memory(null, Map.of());
    }

    @Activate
    public JournalSync(@Reference(service = LoggerFactory.class) FormatterLogger log) {
        this.log = log;
    }

    @Override
    public boolean accepts(String format) {
        return Pin.OVERLAY.equals(format);
    }

    @Override
    public Result checkpoint(Pin pin) throws IOException {
        try (Place place = open(pin)) {
            Result replayed = finishCommitted(place);
            for (long rest : REST_NANOS) {
                LockSupport.parkNanos(this, rest);
                Optional<Result> result = attempt(place, true, memory(pin), Map.of());
                if (result.isPresent()) {
                    return replayed.plus(result.get());
                }
            }
            return Result.NOT_AT_REST;
        }
    }

    private Memory memory(Pin pin) {
        return memories.getOrDefault(pin.id(), Memory.NONE);
    }

    @Override
    public Last begin(Pin pin) throws IOException {
        Place place = open(pin);
        try {
            return new LastSync(place);
        } catch (IOException | RuntimeException e) {
            place.close();
            throw e;
        }
    }

    @Override
    public Dirty dirty(Pin pin) throws IOException {
        int files = 0;
        long bytes = 0;
        long oldest = 0;
        Scan clean = memory(pin).clean;
        try (Fd upper = upper(pin)) {
            Scan now = Scan.of(upper, pin.target());
            for (Map.Entry<FilePath, Stat> e : now.differencesFrom(clean)) {
                Stat s = e.getValue();
                if (s.isDirectory()) {
                    continue;
                }
                files++;
                bytes += s.isRegular() ? s.size() : 0;
                long millis = s.changeSeconds() * 1000 + s.changeNanos() / 1_000_000;
                oldest = oldest == 0 ? millis : Math.min(oldest, millis);
            }
        }
        return new Dirty(files, bytes, oldest);
    }

    @Override
    public void forget(Pin pin) {
        memories.remove(pin.id());
    }

    private static Fd upper(Pin pin) throws LinuxException {
        return At.open(pin.path(Pin.UPPER), At.O_RDONLY | At.O_DIRECTORY | At.O_NOFOLLOW);
    }

    /** Everything that is open while a pin is written back. */
    private record Place(Pin pin, Disk disk, Fd lower, Fd logs, Fd upper) implements AutoCloseable {
        @Override
        public void close() {
            upper.close();
            logs.close();
            lower.close();
            disk.close();
        }

        FilePath committed() {
            return FilePath.of(pin.id() + COMMITTED);
        }

        FilePath uncommitted() {
            return FilePath.of(pin.id() + UNCOMMITTED);
        }
    }

    private static Place open(Pin pin) throws IOException {
        String handle = pin.attributes().get(Pin.LOWER_HANDLE);
        if (handle == null) {
            throw new IOException(
                    "the file system of "
                            + pin.target()
                            + " has no file handles; it cannot be written back safely");
        }
        long inode = Long.parseLong(pin.attribute(Pin.LOWER_INODE));
        Disk disk =
                Disk.holding(pin.attribute(Pin.LOWER_DEVICE), inode, handle)
                        .or(() -> anyDevice(inode, handle))
                        .orElseThrow(
                                () ->
                                        new IOException(
                                                "the directory on disk behind "
                                                        + pin.target()
                                                        + " is gone, or its file system is not mounted any more; what is in RAM stays there"));
        List<Fd> opened = new ArrayList<>();
        try {
            Fd lower = disk.byHandle(handle);
            opened.add(lower);
            Fd logs = disk.logs();
            opened.add(logs);
            return new Place(pin, disk, lower, logs, upper(pin));
        } catch (IOException | RuntimeException e) {
            opened.forEach(Fd::close);
            disk.close();
            throw e;
        }
    }

    /** Subvolumes of btrfs have device numbers of their own, which mountinfo does not show. */
    private static Optional<Disk> anyDevice(long inode, String handle) {
        try {
            return Disk.holding("", inode, handle);
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    /**
     * One try to bring the disk to the state of the upper directory.
     *
     * @param live programs may be writing: what changed while it was copied does not count
     * @param open lower files held open, by identity
     * @return empty if it did not rest; then nothing on disk has changed
     */
    private Optional<Result> attempt(Place place, boolean live, Memory memory, Map<String, Fd> open)
            throws IOException {
        Scan before = Scan.of(place.upper, place.pin.target());
        if (live && memory.clean != null && memory.clean.certainlySame(before)) {
            return Optional.of(NOTHING);
        }
        long size;
        Planner planner;
        boolean nothing;
        try (Staging staging = Staging.fresh(place.logs, place.pin.id());
                Fd file =
                        At.open(
                                place.logs,
                                place.uncommitted(),
                                At.O_RDWR | At.O_CREAT | At.O_TRUNC | At.O_NOFOLLOW,
                                0600)) {
            RedoLog.Writer writer = new RedoLog.Writer(file, header(place.pin));
            planner =
                    new Planner(
                            place.lower,
                            place.pin.target(),
                            staging,
                            writer,
                            live ? memory.clean : null,
                            memory.known,
                            open);
            planner.plan(place.upper);
            writer.end();
            size = writer.size();
            nothing = writer.operations() == 0;
            if (live && !Scan.of(place.upper, place.pin.target()).same(before)) {
                drop(place);
                return Optional.empty();
            }
            if (!nothing) {
                staging.sync();
                Io.sync(file);
            }
        } catch (LinuxException e) {
            drop(place);
            if (live && e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.EEXIST)) {
                // Something vanished or was replaced while it was looked at.
                return Optional.empty();
            }
            throw full(place, e);
        } catch (IOException | RuntimeException e) {
            drop(place);
            throw e;
        }
        Map<Long, String> known = known(memory, planner, before);
        if (nothing) {
            drop(place);
        } else {
            commit(place);
            apply(place, open);
        }
        memories.put(place.pin.id(), new Memory(before, known));
        long data = planner.staged();
        return Optional.of(
                new Result(
                        true,
                        planner.files(),
                        planner.changed(),
                        nothing ? 0 : size + data + planner.changed() - data));
    }

    private static Map<Long, String> known(Memory memory, Planner planner, Scan now) {
        Set<Long> inodes =
                now.entries().values().stream().map(Stat::inode).collect(Collectors.toSet());
        Map<Long, String> known = new HashMap<>(memory.known);
        known.putAll(planner.placed());
        known.keySet().retainAll(inodes);
        return known;
    }

    private static RedoLog.Header header(Pin pin) {
        return new RedoLog.Header(
                pin.id(),
                pin.target().path(),
                pin.target().kind(),
                pin.attribute(Pin.LOWER_DEVICE),
                Long.parseLong(pin.attribute(Pin.LOWER_INODE)),
                pin.attribute(Pin.LOWER_HANDLE),
                System.currentTimeMillis());
    }

    private static IOException full(Place place, LinuxException e) {
        if (!e.is(Errno.ENOSPC, Errno.EDQUOT)) {
            return e;
        }
        String available;
        try {
            available = Units.bytes(StatFs.of(place.logs).availableBytes());
        } catch (LinuxException again) {
            available = "an unknown amount";
        }
        return new DiskFullException(
                "no space left on the disk at "
                        + place.disk.path()
                        + " ("
                        + available
                        + " available) to write back "
                        + place.pin.target()
                        + "; its data is safe in RAM for now: make room there",
                e);
    }

    /** The step after which the new state counts. */
    private static void commit(Place place) throws IOException {
        At.rename(place.logs, place.uncommitted(), place.logs, place.committed());
        Io.sync(place.logs);
    }

    private void apply(Place place, Map<String, Fd> open) throws IOException {
        List<FilePath> conflicts = apply(place.lower, place.logs, place.pin.id(), open);
        for (FilePath path : conflicts) {
            log.error(
                    "%s was changed on disk by others behind its pin %s; both versions are kept, ours beside it as"
                            + " *.rampipe-conflict-%s",
                    path, place.pin.target(), place.pin.id());
        }
    }

    private static List<FilePath> apply(Fd lower, Fd logs, String pin, Map<String, Fd> open)
            throws IOException {
        FilePath name = FilePath.of(pin + COMMITTED);
        List<FilePath> conflicts;
        try (Fd file = At.open(logs, name, At.O_RDONLY | At.O_NOFOLLOW, 0);
                Staging staging = Staging.open(logs, pin);
                Applier applier = new Applier(lower, staging.directory(), pin, open)) {
            RedoLog.read(file, applier);
            applier.sync();
            conflicts = applier.conflicts();
        }
        At.unlink(logs, name);
        Io.sync(logs);
        Staging.remove(logs, Staging.name(pin));
        return conflicts;
    }

    private static void drop(Place place) throws IOException {
        drop(place.logs, place.pin.id());
    }

    private static void drop(Fd logs, String pin) throws IOException {
        try {
            At.unlink(logs, FilePath.of(pin + UNCOMMITTED));
        } catch (LinuxException e) {
            if (!e.is(Errno.ENOENT)) {
                throw e;
            }
        }
        Staging.remove(logs, Staging.name(pin));
    }

    /** Carries out what was committed and then interrupted. */
    private Result finishCommitted(Place place) throws IOException {
        if (Identity.of(place.logs, place.committed()).isEmpty()) {
            return NOTHING;
        }
        apply(place, Map.of());
        return NOTHING;
    }

    /** The last syncback: openers of the files on disk wait until it is over. */
    private final class LastSync implements Last {
        private final Place place;
        private final Scan atBegin;
        private final Map<String, Fd> held = new HashMap<>();

        LastSync(Place place) throws IOException {
            this.place = place;
            finishCommitted(place);
            atBegin = memory(place.pin).clean;
            try {
                hold(place.upper, place.lower, FilePath.of(""));
            } catch (IOException | RuntimeException e) {
                release();
                throw e;
            }
        }

        private void hold(Fd upper, Fd lower, FilePath path) throws IOException {
            boolean single = place.pin.target().kind() == Target.Kind.FILE && path.isEmpty();
            List<FilePath> names =
                    single ? List.of(place.pin.target().path().name()) : At.list(upper);
            OpenFiles.ensure(held.size() + names.size() + 256L);
            for (FilePath name : names) {
                if (held.size() >= MOST_LEASES) {
                    return;
                }
                try {
                    Stat stat = Stat.at(upper, name);
                    if (stat.isDirectory()) {
                        try (Fd u = At.openDirectory(upper, name);
                                Fd l = At.openDirectory(lower, name)) {
                            hold(u, l, path.resolve(name));
                        }
                    } else if (stat.isRegular()) {
                        hold(lower, name);
                    }
                } catch (LinuxException e) {
                    // New, deleted or of another kind on disk, or in use through another mount:
                    // nothing to hold back.
                    log.debug("not held back: %s", e.getMessage());
                }
            }
        }

        private void hold(Fd lower, FilePath name) throws LinuxException {
            Fd file = At.open(lower, name, At.O_RDWR | At.O_NOFOLLOW | At.O_NONBLOCK, 0);
            try {
                if (!Stat.of(file).isRegular()) {
                    file.close();
                    return;
                }
                Leases.takeWrite(file);
                Fd before = held.put(Identity.of(file), file);
                if (before != null) {
                    before.close();
                }
            } catch (LinuxException e) {
                file.close();
                throw e;
            }
        }

        @Override
        public Result finish() throws IOException {
            // Names cannot be held back by leases: programs would see the old ones until the new
            // ones are written.
            boolean newNames =
                    atBegin != null && !Scan.of(place.upper, place.pin.target()).sameNames(atBegin);
            if (newNames) {
                return Result.NOT_AT_REST;
            }
            return finishAnyway();
        }

        @Override
        public Result finishAnyway() throws IOException {
            return attempt(place, false, memory(place.pin), held).orElseThrow();
        }

        private void release() {
            held.values().forEach(Fd::close);
            held.clear();
        }

        @Override
        public void close() {
            release();
            place.close();
        }
    }

    @Override
    public List<String> recover(Collection<FilePath> directories, Collection<Pin> pins)
            throws IOException {
        Set<String> live = pins.stream().map(Pin::id).collect(Collectors.toSet());
        List<String> lines = new ArrayList<>();
        for (Disk disk : Disk.holding(directories)) {
            try (disk) {
                Optional<Fd> logs = disk.existingLogs();
                if (logs.isPresent()) {
                    try (Fd l = logs.get()) {
                        recover(disk, l, live, lines);
                    }
                }
            } catch (IOException e) {
                lines.add(
                        "redo logs of the disk at "
                                + disk.path()
                                + " cannot be looked at: "
                                + e.getMessage());
            }
        }
        return lines;
    }

    private void recover(Disk disk, Fd logs, Set<String> live, List<String> lines)
            throws IOException {
        List<FilePath> names = At.list(logs);
        for (FilePath name : names) {
            String text = name.raw();
            if (text.endsWith(COMMITTED)) {
                String pin = text.substring(0, text.length() - COMMITTED.length());
                if (!live.contains(pin)) {
                    lines.add(replay(disk, logs, name, pin));
                }
            }
        }
        for (FilePath name : names) {
            String text = name.raw();
            String pin = text.replaceAll("\\.redo\\.tmp$|\\.d$", "");
            boolean ours = !pin.equals(text) && !live.contains(pin);
            if (ours && !names.contains(FilePath.of(pin + COMMITTED))) {
                drop(logs, pin);
                if (text.endsWith(UNCOMMITTED)) {
                    lines.add(
                            "dropped an unfinished redo log on the disk at "
                                    + disk.path()
                                    + ": the files are as they were before");
                }
            }
        }
    }

    private String replay(Disk disk, Fd logs, FilePath name, String pin) throws IOException {
        FilePath shown = disk.path().resolve(Disk.DIRECTORY).resolve(name);
        try {
            RedoLog.Header header;
            try (Fd file = At.open(logs, name, At.O_RDONLY | At.O_NOFOLLOW, 0)) {
                header = RedoLog.read(file, null);
            }
            if (!header.pin().equals(pin)) {
                throw new RedoLog.DamagedException("it is the log of another pin");
            }
            try (Fd lower = disk.byHandle(header.handle())) {
                if (Stat.of(lower).inode() != header.inode()) {
                    throw new RedoLog.DamagedException("its directory is another one now");
                }
                List<FilePath> conflicts = apply(lower, logs, pin, Map.of());
                return "brought "
                        + header.target()
                        + " up to its last checkpoint, from the redo log "
                        + shown
                        + (conflicts.isEmpty()
                                ? ""
                                : "; changed by others meanwhile and left alone: " + conflicts);
            } catch (LinuxException e) {
                if (e.is(Errno.ESTALE)) {
                    throw new RedoLog.DamagedException(
                            "its directory " + header.target() + " is gone");
                }
                throw e;
            }
        } catch (RedoLog.DamagedException e) {
            FilePath aside = FilePath.of(pin + ".damaged-" + System.currentTimeMillis());
            At.rename(logs, name, logs, aside);
            Io.sync(logs);
            return "the redo log "
                    + shown
                    + " was not applied and is set aside as "
                    + aside
                    + ": "
                    + e.getMessage();
        }
    }
}
