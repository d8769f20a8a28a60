package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack.Result;
import io.rampipe.api.Units;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * One syncback of one pin of format {@link Pin#SNAPSHOT}: what differs goes into a redo log of a
 * single file, which is committed and applied like any other. One thread, once.
 *
 * <p>The file on disk is what the snapshot reads where it has nothing itself. So no block of it is
 * written that is still read: those are put into the snapshot's store before ({@link
 * SnapshotPlan#toBeStored}).
 */
final class SnapshotSync {
    private static final int ID = 0;
    private static final int COPY = 1;
    private static final int READ = At.O_RDONLY | At.O_NOFOLLOW | At.O_NONBLOCK | At.O_NOATIME;
    private static final FilePath NO_NAME = FilePath.of("");

    private final Pin pin;
    private final SnapshotState state;
    private final long[] key;
    private final Steps steps;
    private final FilePath name;
    private final List<String> reports = new ArrayList<>();
    private FilePath shown;
    private Duration held = Duration.ZERO;
    private Runnable whenApplied = () -> {};
    private Duration most = Duration.ofDays(1);
    private boolean tooLong;

    SnapshotSync(Pin pin, SnapshotState state, long[] key, Steps steps) {
        this.pin = pin;
        this.state = state;
        this.key = key;
        this.steps = steps;
        this.name = pin.target().path().name();
        this.shown = pin.target().path();
    }

    /** Programs may be held for so long while {@link Mode#HOLDING}. */
    SnapshotSync holding(Duration longest) {
        most = longest;
        return this;
    }

    /** Whether that did not suffice. */
    boolean tookTooLong() {
        return tooLong;
    }

    /** What is worth telling people. */
    List<String> reports() {
        return reports;
    }

    /** How a syncback may come to a copy of one moment. */
    enum Mode {
        /** Only if nothing changes while it copies. */
        AT_REST,
        /** Holding who writes for as long as it takes to copy what changed during a first copy. */
        HOLDING,
        /** The file system is frozen, and stays so. */
        FROZEN,
        /** The same, but the pin goes on. */
        FROZEN_LIVE,
        /** The same, and the log is not applied: {@link #applied} follows, or another syncback. */
        COMMIT_ONLY;

        boolean frozen() {
            return this == FROZEN || this == FROZEN_LIVE || this == COMMIT_ONLY;
        }
    }

    Result run(SnapshotView view, Mode mode) throws IOException {
        try (Disk.Place place = Disk.find(Disk.Identity.of(pin), steps);
                StagingDirectory staging = new StagingDirectory(place.disk(), pin.id(), steps)) {
            shown = place.disk().shown();
            Drift drift = Drift.of(pin);
            finishPending(place, staging, drift);
            removeLeftovers(staging);
            view.stored();
            Optional<String> version = state.version(view, mode.frozen());
            boolean same = version.isPresent() && version.get().equals(state.synced);
            if (same && mode != Mode.COMMIT_ONLY) {
                state.moment = System.currentTimeMillis();
                return new Result(true, 0, 0, 0);
            }
            Stat disk = onDisk(place);
            if (disk == null || drift.changed(place.stat().inode(), name, disk)) {
                return conflict(place, staging, drift, view, disk, mode);
            }
            return write(place, staging, drift, view, disk, mode, version);
        } catch (LinuxException e) {
            throw e.is(Errno.EAGAIN) ? leased(e) : Trouble.explained(pin, shown, e);
        }
    }

    /**
     * A daemon that was killed while it pinned the file has left its lease with the loop device,
     * which has the same open file; the kernel ends it when somebody has waited long enough.
     */
    private IOException leased(LinuxException e) {
        return new IOException(
                pin.target()
                        + " cannot be written now: its file on disk is leased, by another program or"
                        + " by a daemon that was killed while it pinned it; the kernel ends that"
                        + " after fs.lease-break-time (45 s)",
                e);
    }

    /** The snapshot has gone: programs get errors, and what they wrote since is nowhere. */
    ExceptionTable.LostException lost(ExceptionTable.LostException e) {
        return new ExceptionTable.LostException(
                pin.target()
                        + ": what was written to it since the last checkpoint is lost, because its"
                        + " snapshot broke ("
                        + e.getMessage()
                        + "; dmesg may have the reason). The disk has the last checkpoint. Stop the"
                        + " programs that use it, then: umount "
                        + pin.target());
    }

    /**
     * Nobody sees the broken snapshot any more: the disk has the last checkpoint, and people know.
     */
    void giveUp(ExceptionTable.LostException because) throws IOException {
        reports.add(because.getMessage());
        try (Disk.Place place = Disk.find(Disk.Identity.of(pin), steps)) {
            tell(
                    place,
                    List.of(
                            new Drift.Found(
                                    name,
                                    NO_NAME,
                                    "lost what was written to it after its last checkpoint: its"
                                            + " snapshot broke")));
        }
    }

    private Stat onDisk(Disk.Place place) throws IOException {
        try {
            Stat stat = Stat.at(place.directory(), name);
            boolean same =
                    stat.isRegular()
                            && Long.toUnsignedString(stat.inode())
                                    .equals(pin.attribute(Pin.FILE_INODE));
            return same ? stat : null;
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return null;
            }
            throw e;
        }
    }

    private Result write(
            Disk.Place place,
            StagingDirectory staging,
            Drift drift,
            SnapshotView view,
            Stat disk,
            Mode mode,
            Optional<String> before)
            throws IOException {
        long moment = System.currentTimeMillis();
        long sequence = state.nextSequence();
        Staged names = new Staged(sequence);
        Fd[] logFile = {null};
        try (Fd below =
                At.openBeneathSameMount(
                        place.directory(),
                        name,
                        At.O_RDONLY | At.O_NOFOLLOW | At.O_NONBLOCK | At.O_NOATIME,
                        0)) {
            LogWriter log =
                    new LogWriter(
                            () -> {
                                if (logFile[0] == null) {
                                    logFile[0] = staging.createLog();
                                }
                                return logFile[0];
                            },
                            steps);
            boolean[] described = {false};
            begin(log, place, sequence);
            SnapshotCopy copy =
                    new SnapshotCopy(
                            log,
                            ID,
                            below,
                            disk.size(),
                            state.known,
                            key,
                            () -> {
                                if (!described[0]) {
                                    described[0] = true;
                                    log.write(
                                            new LogRecord.File(
                                                    ID,
                                                    disk.inode(),
                                                    Stat.REGULAR,
                                                    LogRecord.ROOT,
                                                    name,
                                                    NO_NAME));
                                }
                            });
            Taken taken;
            try {
                taken = take(view, copy, mode, before, below, disk);
                if (taken == null) {
                    staging.discard(false);
                    return Result.NOT_AT_REST
                            .held(held)
                            .because(
                                    tooLong
                                            ? "to see what has changed, programs would have to be"
                                                    + " held for longer than checkpoint.freeze = "
                                                    + Units.duration(most)
                                            : "programs write to it all the time");
                }
                finishLog(log, view, described, disk, below, taken, mode == Mode.COMMIT_ONLY);
                boolean work = described[0];
                if (work) {
                    log.finish();
                    makeDurable(staging, names, copy, logFile[0]);
                    staging.commit();
                }
                if (!work) {
                    staging.discard(true);
                    remember(copy, taken, moment);
                    return new Result(true, 0, 0, 0).held(held);
                }
            } catch (IOException | RuntimeException e) {
                abandon(staging, names, e);
                throw e;
            }
            staging.makeCommitDurable();
            if (mode == Mode.COMMIT_ONLY) {
                Taken last = taken;
                whenApplied = () -> remember(copy, last, moment);
                return new Result(true, 1, copy.bytes(), log.length()).held(held);
            }
            LogContents contents = LogContents.read(logFile[0]);
            long patched = apply(place, staging, drift, contents, logFile[0], disk);
            if (patched < 0) {
                // Others changed it in just that moment: the next one keeps both.
                state.known.clear();
                return Result.NOT_AT_REST
                        .held(held)
                        .because("it was changed on disk by others just now");
            }
            remember(copy, taken, moment);
            return new Result(true, 1, copy.bytes(), log.length() + patched).held(held);
        } finally {
            if (logFile[0] != null) {
                logFile[0].close();
            }
        }
    }

    /**
     * What the last pass saw.
     *
     * @param version empty if it may have changed since and look the same
     */
    private record Taken(long size, Attributes attributes, Optional<String> version) {}

    /** Null if it did not come to rest. */
    private Taken take(
            SnapshotView view,
            SnapshotCopy copy,
            Mode mode,
            Optional<String> before,
            Fd below,
            Stat disk)
            throws IOException {
        if (mode.frozen()) {
            return pass(view, copy, true, below, disk);
        }
        if (mode == Mode.AT_REST) {
            return takeAtRest(view, copy, before, below, disk);
        }
        pass(view, copy, false, below, disk);
        // Freezing does it, too, but while writers wait.
        view.flush();
        GuardedFreeze freeze = view.freeze();
        try {
            copy.until(freeze.since() + most.toNanos());
            return pass(view, copy, true, below, disk);
        } catch (SnapshotCopy.TooLongException e) {
            tooLong = true;
            return null;
        } finally {
            held = freeze.held();
            freeze.close();
        }
    }

    /**
     * A large {@code write(2)} changes the times when it begins, and data for as long as it takes:
     * so it is copied twice, and has to be the same.
     */
    private Taken takeAtRest(
            SnapshotView view, SnapshotCopy copy, Optional<String> before, Fd below, Stat disk)
            throws IOException {
        if (before.isEmpty() || pass(view, copy, false, below, disk) == null) {
            return null;
        }
        long bytes = copy.bytes();
        Taken taken = pass(view, copy, false, below, disk);
        boolean rested =
                taken != null && copy.bytes() == bytes && before.equals(state.version(view, false));
        return rested ? new Taken(taken.size(), taken.attributes(), before) : null;
    }

    /** Null if something would have to be put into the store, which needs a freeze. */
    private Taken pass(SnapshotView view, SnapshotCopy copy, boolean frozen, Fd below, Stat disk)
            throws IOException {
        long size = view.size();
        // What programs have written is in the store once the file system is frozen.
        SnapshotPlan plan =
                frozen && view.readsStore()
                        ? SnapshotPlan.withPlaces(view, size, view.extents(), view.places())
                        : SnapshotPlan.of(view, size, view.extents(), view.changed());
        copy.pass(view, plan);
        Attributes attributes = view.attributes(below, disk);
        BitSet store = plan.toBeStored(copy.written());
        if (!store.isEmpty()) {
            if (!frozen) {
                return null;
            }
            steps.before("put blocks into the snapshot's store");
            view.store(store);
        }
        view.stored();
        return new Taken(size, attributes, frozen ? state.version(view, true) : Optional.empty());
    }

    /** The log of a file that is about to be written by other means has its attributes at least. */
    private void finishLog(
            LogWriter log,
            SnapshotView view,
            boolean[] described,
            Stat disk,
            Fd below,
            Taken taken,
            boolean always)
            throws IOException {
        Attributes attributes =
                described[0] || view.hasAttributes()
                        ? taken.attributes()
                        : Attributes.of(below, disk);
        boolean size = taken.size() != disk.size();
        boolean other =
                described[0]
                        || view.hasAttributes()
                                && !taken.attributes().sameAs(Attributes.of(below, disk), false);
        if (size || other || always) {
            if (!described[0]) {
                described[0] = true;
                log.write(
                        new LogRecord.File(
                                ID, disk.inode(), Stat.REGULAR, LogRecord.ROOT, name, NO_NAME));
            }
            log.write(new LogRecord.Size(ID, taken.size()));
            log.write(new LogRecord.FileAttributes(ID, attributes));
        }
    }

    private void begin(LogWriter log, Disk.Place place, long sequence) throws IOException {
        log.write(
                new LogRecord.Header(
                        pin.id(),
                        sequence,
                        false,
                        pin.attribute(Pin.LOWER_DEVICE),
                        place.stat().inode(),
                        pin.attributes().getOrDefault(Pin.LOWER_HANDLE, ""),
                        pin.target().path(),
                        true));
        log.write(
                new LogRecord.Directory(
                        LogRecord.ROOT,
                        place.stat().inode(),
                        LogRecord.NONE,
                        NO_NAME,
                        LogRecord.NONE,
                        NO_NAME,
                        NO_NAME));
    }

    /** What the log says can be done on a full disk, too, once this has returned. */
    private void makeDurable(StagingDirectory staging, Staged names, SnapshotCopy copy, Fd log)
            throws IOException {
        Fd directory = staging.fd();
        if (copy.reserve() > 0) {
            steps.before("create the reserve");
            try (Fd fd =
                    At.open(
                            directory,
                            FilePath.of(names.prefix() + Staged.RESERVE),
                            At.O_RDWR | At.O_CREAT | At.O_EXCL | At.O_NOFOLLOW,
                            0600)) {
                steps.before("allocate the reserve");
                Io.allocate(fd, 0, copy.reserve());
            } catch (LinuxException e) {
                if (!e.is(Errno.EOPNOTSUPP, Errno.ENOSYS)) {
                    throw e;
                }
            }
        }
        steps.before("fsync of the staging directory");
        Io.sync(directory);
        steps.before("fsync the log");
        Io.sync(log);
    }

    /** The file on disk has all data of the log of {@link Mode#COMMIT_ONLY}. */
    void applied() throws IOException {
        try (Disk.Place place = Disk.find(Disk.Identity.of(pin), steps);
                StagingDirectory staging = new StagingDirectory(place.disk(), pin.id(), steps);
                Fd fd = staging.openLog()) {
            if (fd == null) {
                throw new IOException("the redo log of " + pin.target() + " has gone");
            }
            if (apply(place, staging, Drift.of(pin), LogContents.read(fd), fd, null, true) < 0) {
                reports.add(pin.target() + " was replaced on disk by others");
            }
            whenApplied.run();
        } catch (LinuxException e) {
            throw Trouble.explained(pin, shown, e);
        }
    }

    private long apply(
            Disk.Place place,
            StagingDirectory staging,
            Drift drift,
            LogContents contents,
            Fd log,
            Stat expected)
            throws IOException {
        return apply(place, staging, drift, contents, log, expected, false);
    }

    /** Returns the bytes written; -1 if others have changed the file, and nothing was written. */
    private long apply(
            Disk.Place place,
            StagingDirectory staging,
            Drift drift,
            LogContents contents,
            Fd log,
            Stat expected,
            boolean dataThere)
            throws IOException {
        try (Applier applier =
                new Applier(
                        place,
                        staging.fd(),
                        new LowerFiles(place.stat().device()),
                        contents,
                        f -> tell(place, List.of(f)),
                        steps)) {
            if (dataThere) {
                applier.dataIsThere();
            }
            if (expected != null) {
                applier.expect(Map.of(ID, LogRecord.Was.of(expected)));
            }
            applier.apply(log, false);
            boolean lost = !applier.lost().isEmpty();
            drift.learn(applier, contents);
            drift.save();
            staging.dropLog();
            staging.removeStaged("");
            return lost ? -1 : applier.bytes();
        }
    }

    private void remember(SnapshotCopy copy, Taken taken, long moment) {
        copy.learn(taken.size());
        state.moment = moment;
        state.synced = taken.version().orElse(null);
    }

    private void abandon(StagingDirectory staging, Staged names, Exception because) {
        try {
            staging.discard(false);
            staging.removeStagedOf(names.prefix());
        } catch (IOException e) {
            because.addSuppressed(e);
        }
    }

    /** What an attempt that was cut short has left. */
    private static void removeLeftovers(StagingDirectory staging) throws IOException {
        if (staging.existing() != null || staging.hasUncommitted()) {
            staging.discard(true);
        }
    }

    private void finishPending(Disk.Place place, StagingDirectory staging, Drift drift)
            throws IOException {
        try (Fd fd = staging.openLog()) {
            if (fd == null) {
                return;
            }
            LogContents contents = LogContents.read(fd);
            LogRecord.Header header = contents.header();
            if (!header.pin().equals(pin.id()) || header.inode() != place.stat().inode()) {
                throw new DamagedLogException("it is the log of another target");
            }
            state.sequence = Math.max(state.sequence, header.sequence());
            state.known.clear();
            state.synced = null;
            staging.makeCommitDurable();
            if (apply(place, staging, drift, contents, fd, null) < 0) {
                reports.add(pin.target() + " was replaced on disk by others");
            }
        } catch (DamagedLogException e) {
            FilePath aside = staging.setAside(staging.log(), "damaged");
            staging.removeStaged("");
            reports.add(
                    "its redo log was damaged (" + e.getMessage() + ") and is kept as " + aside);
        }
    }

    /**
     * Others have changed the file on disk, so that what the snapshot reads from it is theirs. The
     * disk's stays, and what programs see is kept beside it, once, when nobody writes any more.
     */
    private Result conflict(
            Disk.Place place,
            StagingDirectory staging,
            Drift drift,
            SnapshotView view,
            Stat disk,
            Mode mode)
            throws IOException {
        String what =
                disk == null
                        ? "was removed or replaced on disk by others while it was pinned"
                        : "was changed on disk by others while it was pinned";
        if (mode == Mode.COMMIT_ONLY) {
            return Result.NOT_AT_REST.because("it " + what);
        }
        if (mode != Mode.FROZEN) {
            tell(place, List.of(new Drift.Found(name, NO_NAME, what)));
            return Result.NOT_AT_REST.because(
                    "it " + what + "; what programs see is kept beside it when it is unpinned");
        }
        String version = state.text(view);
        if (version.equals(state.keptBeside)) {
            return new Result(true, 0, 0, 0);
        }
        FilePath beside = free(place, drift);
        tell(place, List.of(new Drift.Found(name, beside, what + "; what was in RAM is kept as")));
        long sequence = state.nextSequence();
        Staged names = new Staged(sequence);
        long size = view.size();
        Fd[] logFile = {null};
        try {
            FilePath staged = names.next();
            long inode;
            steps.before("create a staged file");
            try (Fd out =
                    At.open(
                            staging.fd(),
                            staged,
                            At.O_RDWR | At.O_CREAT | At.O_EXCL | At.O_NOFOLLOW,
                            0600)) {
                copy(view, size, out);
                if (view.hasAttributes() || disk != null) {
                    attributes(place, view, disk).give(out, steps);
                }
                steps.before("fsync a staged file");
                Io.sync(out);
                inode = Stat.of(out).inode();
            }
            logFile[0] = staging.createLog();
            LogWriter log = new LogWriter(() -> logFile[0], steps);
            begin(log, place, sequence);
            log.write(
                    new LogRecord.File(COPY, inode, Stat.REGULAR, LogRecord.NONE, NO_NAME, staged));
            log.write(new LogRecord.PlaceFile(COPY, LogRecord.ROOT, beside, 0, true));
            log.finish();
            steps.before("fsync of the staging directory");
            Io.sync(staging.fd());
            steps.before("fsync the log");
            Io.sync(logFile[0]);
            staging.commit();
            staging.makeCommitDurable();
            apply(place, staging, drift, LogContents.read(logFile[0]), logFile[0], null);
            state.keptBeside = version;
            return new Result(true, 1, size, log.length() + size);
        } catch (IOException | RuntimeException e) {
            if (!staging.hasLog()) {
                abandon(staging, names, e);
            }
            throw e;
        } finally {
            if (logFile[0] != null) {
                logFile[0].close();
            }
        }
    }

    private Attributes attributes(Disk.Place place, SnapshotView view, Stat disk)
            throws IOException {
        if (disk == null) {
            return view.attributes(null, null);
        }
        try (Fd below = At.openBeneathSameMount(place.directory(), name, READ, 0)) {
            return view.attributes(below, disk);
        }
    }

    /** All of it, with holes where it has only zeros. */
    private void copy(SnapshotView view, long size, Fd out) throws IOException {
        ByteBuffer buffer = ByteBuffer.allocateDirect(LogFormat.MAX_DATA);
        ByteBuffer zeros = ByteBuffer.allocateDirect(LogFormat.MAX_DATA);
        for (long at = 0; at < size; ) {
            buffer.clear();
            int n = view.read(buffer, at);
            if (n <= 0) {
                throw new IOException(pin.target() + " is shorter than it was");
            }
            buffer.flip();
            if (!buffer.equals(zeros.duplicate().limit(n))) {
                steps.before("write a staged file");
                Io.writeFully(out, buffer, at);
            }
            at += n;
        }
        steps.before("truncate a staged file");
        Io.truncate(out, size);
    }

    private FilePath free(Disk.Place place, Drift drift) throws IOException {
        for (int i = 1; ; i++) {
            FilePath beside = drift.conflictName(name, i);
            try {
                Stat.at(place.directory(), beside);
            } catch (LinuxException e) {
                if (e.is(Errno.ENOENT)) {
                    return beside;
                }
                throw e;
            }
        }
    }

    private void tell(Disk.Place place, List<Drift.Found> found) throws IOException {
        for (Drift.Found f :
                ConflictList.ALL.add(place.disk(), Disk.Identity.of(pin), pin.id(), found)) {
            reports.add(f.toString());
        }
    }
}
