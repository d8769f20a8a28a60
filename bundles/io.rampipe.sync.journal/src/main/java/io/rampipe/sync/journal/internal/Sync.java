package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack.Result;
import io.rampipe.api.Target;
import io.rampipe.api.UnfinishedException;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Freeze;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import io.rampipe.linux.StatFs;
import io.rampipe.sync.journal.internal.Planner.Dir;
import io.rampipe.sync.journal.internal.Planner.Name;
import io.rampipe.sync.journal.internal.Planner.Node;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** One syncback of one pin: look, write the log, commit, apply, drop the log. One thread, once. */
final class Sync {
    /** Attempts at looking at names that come and go. */
    private static final int AHEAD = 5;

    private final Pin pin;
    private final UpperLayer upper;
    private final Memory memory;
    private final LowerFiles held;
    private final ConflictList conflicts;
    private final Capture capture;
    private final Clock clock;
    private final Steps steps;
    private Clean clean;
    private final List<String> reports = new ArrayList<>();
    private FilePath disk;
    private boolean moving;
    private Drift drift;

    /**
     * @param held files on disk that are held with leases; null if none
     */
    Sync(
            Pin pin,
            UpperLayer upper,
            Memory memory,
            LowerFiles held,
            ConflictList conflicts,
            Capture capture,
            Clock clock,
            Steps steps)
            throws IOException {
        this.conflicts = conflicts;
        this.capture = capture;
        this.clock = clock;
        this.clean = clock.now();
        this.pin = pin;
        this.upper = upper;
        this.memory = memory;
        this.held = held;
        this.steps = steps;
        this.disk = pin.target().path();
    }

    /**
     * @param mapped files that programs may be writing to through mappings
     * @param mounted whether the overlay is still there, and with it programs
     * @param hold holds the programs for a moment; null to take the target as it is
     * @throws MovingException if upper changed meanwhile: nothing was written
     * @throws UnfinishedException if the overlay must not be mounted any more
     */
    Result run(Set<Long> mapped, boolean mounted, Hold hold) throws IOException {
        try {
            return look(mapped, mounted, hold);
        } catch (LinuxException e) {
            throw halfway(Trouble.explained(pin, disk, e));
        } catch (IOException e) {
            throw halfway(e);
        } catch (RuntimeException e) {
            if (moving) {
                throw halfway(new IOException(e));
            }
            throw e;
        }
    }

    private IOException halfway(IOException e) {
        return moving
                ? new UnfinishedException(
                        "stopped while directories that have been renamed were being moved on disk: "
                                + e.getMessage(),
                        e)
                : e;
    }

    private Result look(Set<Long> mapped, boolean mounted, Hold hold) throws IOException {
        try (Disk.Place place = Disk.find(Disk.Identity.of(pin), steps);
                StagingDirectory staging = new StagingDirectory(place.disk(), pin.id(), steps)) {
            disk = place.disk().shown();
            LowerFiles lower = held == null ? new LowerFiles(place.stat().device()) : held;
            drift = Drift.of(pin);
            staging.keepDirectories(mounted ? upper.mask() : null);
            long sequence = finishPending(place, staging, lower, mounted);
            // Before files are looked at: those that are linked there change with it.
            try {
                removeLeftovers(staging);
            } catch (LinuxException e) {
                // On a read-only disk they stay; whatever is to be written fails by itself.
                if (!e.is(Errno.EROFS)) {
                    throw e;
                }
            }
            Planner plan = new Planner(place, upper, memory, drift, mapped, mounted);
            if (hold == null) {
                plan.look();
                absorb(plan, mounted);
                // Programs write all the time: not worth copying anything.
                checkUnchanged(plan);
                capture.take(plan, place, lower, Capture.Mode.EXACT);
                capture.verifyMapped(plan);
                checkUnchanged(plan);
            } else {
                lookAhead(plan, place, lower, mounted);
                plan = new Planner(place, upper, memory, drift, mapped, mounted);
                takeHeld(plan, place, lower, hold);
            }
            return write(place, staging, lower, plan, sequence, mounted);
        }
    }

    /**
     * Finishes what an earlier run has committed and not applied, once nothing is mounted any more.
     * Before that not everything on disk is where it belongs, so that nothing can be compared with
     * it.
     */
    void finishPending() throws IOException {
        try (Disk.Place place = Disk.find(Disk.Identity.of(pin), steps);
                StagingDirectory staging = new StagingDirectory(place.disk(), pin.id(), steps)) {
            disk = place.disk().shown();
            drift = Drift.of(pin);
            finishPending(place, staging, new LowerFiles(place.stat().device()), false);
        }
    }

    /** What it does has to be looked at again. */
    private void absorb(Planner plan, boolean mounted) throws IOException {
        if (mounted && new Absorber(pin, upper, capture.memory()).absorb(plan.leaning())) {
            throw new MovingException(pin.target().toString());
        }
    }

    private void checkUnchanged(Planner plan) throws IOException {
        if (!upper.digest().sameAs(plan.digest())) {
            throw new MovingException(pin.target().toString());
        }
    }

    /** Does as much as can be done while programs go on. */
    private void lookAhead(Planner plan, Disk.Place place, LowerFiles lower, boolean mounted)
            throws IOException {
        for (int i = 0; i < AHEAD; i++) {
            try {
                Planner p = i == 0 ? plan : plan.again();
                p.look();
                absorb(p, mounted);
                capture.take(p, place, lower, Capture.Mode.AHEAD);
                return;
            } catch (MovingException e) {
                // A name went while it was looked at.
            }
        }
    }

    private void takeHeld(Planner plan, Disk.Place place, LowerFiles lower, Hold hold)
            throws IOException {
        try (Freeze freeze = hold.begin()) {
            capture.onlyWhile(freeze::held);
            clean = clock.now();
            plan.look();
            if (!freeze.held()) {
                // It would be for nothing.
                throw new MovingException(pin.target().toString());
            }
            boolean all = capture.take(plan, place, lower, Capture.Mode.HELD);
            capture.verifyMapped(plan);
            checkUnchanged(plan);
            if (!all || plan.digest().newest() >= clean.settled()) {
                throw new MovingException(
                        all ? pin.target().toString() : "more than there is room for in RAM");
            }
        } finally {
            capture.onlyWhile(() -> true);
        }
    }

    /** What is worth telling people. */
    List<String> reports() {
        return reports;
    }

    /**
     * Finishes a log that was committed and not wholly applied. What waits for the pin's end stays,
     * until the next log takes its place.
     *
     * @return the sequence number for the next log
     */
    private long finishPending(
            Disk.Place place, StagingDirectory staging, LowerFiles lower, boolean mounted)
            throws IOException {
        try (Fd fd = staging.openLog()) {
            if (fd == null) {
                return memory.nextSequence(1);
            }
            LogContents contents = LogContents.read(fd);
            LogRecord.Header header = contents.header();
            if (!header.pin().equals(pin.id()) || header.inode() != place.stat().inode()) {
                throw new DamagedLogException("it is the log of another target");
            }
            if (header.sequence() == memory.uncertain()) {
                // Nothing of it has been applied. The next one's commit writes the directory again.
                return memory.nextSequence(header.sequence() + 1);
            }
            boolean waits = header.deferred() && mounted;
            if (!waits || memory.applied() != header.sequence()) {
                staging.makeCommitDurable();
                try (Applier applier =
                        new Applier(
                                place,
                                staging.fd(),
                                lower,
                                contents,
                                f -> tell(place, List.of(f)),
                                steps)) {
                    apply(applier, fd, waits, mounted);
                    waits |= applier.skipped();
                    for (int id : applier.lost()) {
                        tell(place, List.of(applier.loss(contents.files().get(id))));
                    }
                    drift.learn(applier, contents);
                    drift.save();
                }
                memory.applied(header.sequence());
            }
            if (!waits) {
                staging.dropLog();
                staging.removeStaged("");
            }
            return memory.nextSequence(header.sequence() + 1);
        } catch (DamagedLogException e) {
            FilePath aside = staging.setAside(staging.log(), "damaged");
            staging.removeStaged("");
            reports.add(
                    "redo log of "
                            + pin.target()
                            + " was damaged ("
                            + e.getMessage()
                            + ") and is kept as "
                            + aside);
            return memory.nextSequence(1);
        }
    }

    private void apply(Applier applier, Fd log, boolean dataOnly, boolean mounted)
            throws IOException {
        if (upper.wholeDirectory()) {
            applier.below(upper, mounted);
        }
        try {
            applier.apply(log, dataOnly);
        } finally {
            moving |= applier.moving();
        }
    }

    private Result write(
            Disk.Place place,
            StagingDirectory staging,
            LowerFiles lower,
            Planner plan,
            long sequence,
            boolean mounted)
            throws IOException {
        boolean deferred = mounted && !plan.leaning().isEmpty();
        Staged names = new Staged(sequence);
        Room.giveUp(staging);
        try (LogFile log = new LogFile(staging)) {
            LogWriter writer = new LogWriter(log::open, steps);
            try (PlanWriter out =
                    new PlanWriter(
                            place, plan, lower, drift, writer, staging, names, capture, steps)) {
                try {
                    out.write(header(sequence, !plan.leaning().isEmpty()));
                    if (!out.empty()) {
                        writer.finish();
                    }
                    out.checkMapped();
                    if (!out.fromCapture()) {
                        checkUnchanged(plan);
                    }
                    if (!out.empty()) {
                        out.makeDurable(log.open());
                    }
                    tell(place, drift.found());
                    if (!out.empty()) {
                        staging.commit();
                    }
                } catch (IOException | RuntimeException e) {
                    throw abandoned(e, place, staging, names, plan, lower);
                }
                if (!out.empty()) {
                    memory.uncertain(sequence);
                    staging.makeCommitDurable();
                    memory.uncertain(0);
                }
                Result result =
                        finish(place, staging, lower, plan, out, writer, log, names, mounted);
                remember(place, plan, deferred);
                return result;
            }
        }
    }

    /** What an attempt that was cut short has left; a log that waits for the pin's end stays. */
    private void removeLeftovers(StagingDirectory staging) throws IOException {
        if (staging.existing() == null) {
            return;
        }
        String keep = "";
        try (Fd fd = staging.openLog()) {
            if (fd != null) {
                keep = Staged.prefix(LogContents.read(fd).header().sequence());
            }
        }
        staging.discard(false);
        String kept = keep;
        staging.removeStaged(
                n -> !Room.isReserve(n) && (kept.isEmpty() || !n.raw().startsWith(kept)));
    }

    private LogRecord.Header header(long sequence, boolean deferred) {
        return new LogRecord.Header(
                pin.id(),
                sequence,
                deferred,
                pin.attribute(Pin.LOWER_DEVICE),
                Long.parseUnsignedLong(pin.attribute(Pin.LOWER_INODE)),
                pin.attributes().getOrDefault(Pin.LOWER_HANDLE, ""),
                pin.target().path(),
                pin.target().kind() == Target.Kind.FILE);
    }

    /** Takes back what is not committed and finds the right exception. */
    private IOException abandoned(
            Exception e,
            Disk.Place place,
            StagingDirectory staging,
            Staged names,
            Planner plan,
            LowerFiles lower) {
        try {
            if (staging.existing() != null || staging.hasUncommitted()) {
                staging.discard(false);
                staging.removeStagedOf(names.prefix());
            }
        } catch (IOException more) {
            e.addSuppressed(more);
        }
        if (e instanceof LinuxException l && l.is(Errno.ENOSPC)) {
            return full(place, plan, lower, l);
        }
        if (e instanceof RuntimeException r) {
            throw r;
        }
        return (IOException) e;
    }

    private IOException full(
            Disk.Place place, Planner plan, LowerFiles lower, LinuxException because) {
        try {
            long needed = Need.of(place, plan, lower);
            long available = StatFs.of(place.directory()).availableBytes();
            if (needed > available) {
                return Trouble.full(pin, place.disk().shown(), needed, available, because);
            }
        } catch (IOException e) {
            because.addSuppressed(e);
        }
        return because;
    }

    private Result finish(
            Disk.Place place,
            StagingDirectory staging,
            LowerFiles lower,
            Planner plan,
            PlanWriter out,
            LogWriter writer,
            LogFile log,
            Staged names,
            boolean mounted)
            throws IOException {
        if (out.empty()) {
            drift.save();
            if (staging.hasLog()) {
                // What it was to do has been undone in RAM.
                staging.dropLog();
                staging.removeStaged("");
            }
            return new Result(true, 0, 0, 0);
        }
        boolean deferred;
        long patched;
        LogContents contents = LogContents.read(log.open());
        deferred = contents.header().deferred() && mounted;
        try (Applier applier =
                new Applier(
                        place,
                        staging.fd(),
                        lower,
                        contents,
                        f -> tell(place, List.of(f)),
                        steps)) {
            applier.expect(out.changedInPlace());
            apply(applier, log.open(), deferred, mounted);
            deferred |= applier.skipped();
            patched = applier.bytes();
            for (int id : applier.lost()) {
                if (out.node(id) != null) {
                    capture.forget(out.node(id));
                }
                keepBeside(place, staging, names, applier, contents.files().get(id), out.node(id));
            }
            drift.learn(applier, contents);
            drift.save();
        }
        memory.applied(contents.header().sequence());
        if (deferred) {
            staging.removeStaged(names.prefix());
        } else {
            staging.dropLog();
            staging.removeStaged("");
        }
        return new Result(
                true,
                out.changes(),
                out.bytes() + out.stagedBytes(),
                writer.length() + out.stagedBytes() + patched);
    }

    /** The file on disk is not the one any more that was to be changed: both versions are kept. */
    private void keepBeside(
            Disk.Place place,
            StagingDirectory staging,
            Staged names,
            Applier applier,
            LogRecord.File file,
            Node node)
            throws IOException {
        if (file.home() == LogRecord.NONE || node == null || !node.upper.isRegular()) {
            tell(place, List.of(applier.loss(file)));
            return;
        }
        FilePath name = names.next();
        try (UpperDirectories files = new UpperDirectories(upper);
                Fd from = files.open(node, UpperLayer.READ);
                Fd to =
                        At.open(
                                staging.fd(),
                                name,
                                At.O_RDWR | At.O_CREAT | At.O_EXCL | At.O_NOFOLLOW,
                                0600)) {
            new FileData().copy(from, node.upper.size(), to, null, steps);
            Attributes.of(from, node.upper).give(to, steps);
            Io.sync(to);
            applier.placeBeside(name, file.home(), file.homeName());
            Io.syncFileSystem(place.directory());
        } catch (MovingException e) {
            // It will be written as what it is next time.
            return;
        }
    }

    /** Each conflict once, however often it is met. */
    private void tell(Disk.Place place, List<Drift.Found> found) throws IOException {
        if (memory.knows(found)) {
            return;
        }
        Disk.Identity identity = Disk.Identity.of(pin);
        for (Drift.Found f : conflicts.add(place.disk(), identity, pin.id(), found)) {
            reports.add(f.toString());
        }
        memory.told(found);
    }

    /** Notes what is on disk now, so that the next time it need not be compared. */
    private void remember(Disk.Place place, Planner plan, boolean deferred) throws IOException {
        long settled = clean.settled();
        if (deferred) {
            memory.last(plan.digest().newest() < settled ? plan.digest() : null);
            return;
        }
        for (Dir d : plan.directories()) {
            if (d == plan.root() && !upper.wholeDirectory()) {
                continue;
            }
            try (Fd fd =
                    At.openBeneathSameMount(
                            place.directory(), d.newPath(), At.O_PATH | At.O_DIRECTORY, 0)) {
                remember(d.upper, Stat.of(fd), 1, settled);
            } catch (LinuxException e) {
                memory.remove(d.upper.inode());
            }
        }
        plan.removals().forEach(r -> memory.removeBlocks(r.lower().inode()));
        Dir last = null;
        Fd fd = null;
        try {
            for (Node n : plan.nodes()) {
                memory.remove(n.upper.inode());
                if (n.indexName != null) {
                    if (!n.mapped && n.names.isEmpty()) {
                        remember(n.upper, n.lower, 0, settled);
                    }
                    continue;
                }
                Name name = n.names.get(0);
                if (name.dir() != last) {
                    if (fd != null) {
                        fd.close();
                        fd = null;
                    }
                    fd =
                            At.openBeneathSameMount(
                                    place.directory(),
                                    name.dir().newPath(),
                                    At.O_PATH | At.O_DIRECTORY,
                                    0);
                    last = name.dir();
                }
                Stat below = Stat.at(fd, name.name());
                if (n.upper.isRegular()) {
                    capture.remember(n, below);
                }
                if (!n.mapped) {
                    remember(n.upper, below, n.names.size(), settled);
                }
            }
        } catch (LinuxException e) {
            // Others took it away; it will be compared again.
        } finally {
            if (fd != null) {
                fd.close();
            }
        }
        memory.last(plan.digest().newest() < settled ? plan.digest() : null);
    }

    private void remember(Stat above, Stat below, int names, long settled) {
        if (Digest.change(above) < settled) {
            memory.put(
                    above.inode(),
                    new Memory.Entry(
                            Digest.change(above),
                            above.size(),
                            below.inode(),
                            Digest.change(below),
                            names));
        } else {
            memory.remove(above.inode());
        }
    }

    /** Asked for the time anew before each copy. */
    @FunctionalInterface
    interface Clock {
        Clean now() throws IOException;
    }

    /** Holds the programs that write to the target. */
    @FunctionalInterface
    interface Hold {
        Freeze begin() throws IOException;
    }

    /** Up to when change times are past telling two changes as one. */
    @FunctionalInterface
    interface Clean {
        /** Nanoseconds since the epoch: what changed before would show if it changed again. */
        long settled();
    }

    /** The log being written, made when there is something to write. */
    private static final class LogFile implements AutoCloseable {
        private final StagingDirectory staging;
        private Fd fd;

        LogFile(StagingDirectory staging) {
            this.staging = staging;
        }

        Fd open() throws IOException {
            if (fd == null) {
                fd = staging.createLog();
            }
            return fd;
        }

        @Override
        public void close() {
            if (fd != null) {
                fd.close();
            }
        }
    }
}
