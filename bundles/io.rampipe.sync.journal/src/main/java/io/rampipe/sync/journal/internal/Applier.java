package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Mask;
import io.rampipe.linux.Stat;
import io.rampipe.sync.journal.internal.Drift.Found;
import io.rampipe.sync.journal.internal.LogRecord.Data;
import io.rampipe.sync.journal.internal.LogRecord.Detach;
import io.rampipe.sync.journal.internal.LogRecord.Directory;
import io.rampipe.sync.journal.internal.LogRecord.DirectoryAttributes;
import io.rampipe.sync.journal.internal.LogRecord.File;
import io.rampipe.sync.journal.internal.LogRecord.FileAttributes;
import io.rampipe.sync.journal.internal.LogRecord.Hole;
import io.rampipe.sync.journal.internal.LogRecord.PlaceDirectory;
import io.rampipe.sync.journal.internal.LogRecord.PlaceFile;
import io.rampipe.sync.journal.internal.LogRecord.Remove;
import io.rampipe.sync.journal.internal.LogRecord.Size;
import io.rampipe.sync.journal.internal.LowerFiles.Opened;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Carries out a committed log. Idempotent: whatever part of it has been done before, in any run,
 * the result is the same. What is on disk is touched only if it is what the log speaks of, by inode
 * number; what others have put in its place is left alone and reported. One thread, once.
 */
final class Applier implements AutoCloseable {
    /** More files and directories than these are made durable together, by syncfs. */
    private static final int MOST_FSYNCS = 16;

    private static final int MOST_OPEN = 64;
    private static final FilePath NO_NAME = FilePath.of("");

    /** No path that the kernel takes is longer: 4096 bytes. */
    private static final int MOST_NESTED = 2048;

    private final Disk.Place place;
    private final Fd staging;
    private final LowerFiles lower;
    private final LogContents log;
    private final Steps steps;

    private final Map<Integer, Fd> open =
            new LinkedHashMap<>(MOST_OPEN, 0.75f, true) {
                private static final long serialVersionUID = 1L;

                @Override
                protected boolean removeEldestEntry(Map.Entry<Integer, Fd> eldest) {
                    if (size() > MOST_OPEN) {
                        retired.add(eldest.getValue());
                        return true;
                    }
                    return false;
                }
            };

    /** Closed later: a caller up the stack may still use them. */
    private final List<Fd> retired = new ArrayList<>();

    private final Set<Long> known = new HashSet<>();
    private final Map<Integer, List<PlaceFile>> placed = new HashMap<>();
    private final Set<Integer> lost = new LinkedHashSet<>();
    private final List<Beside> beside = new ArrayList<>();
    private final List<Remove> removals = new ArrayList<>();
    private final Set<Integer> attributed = new LinkedHashSet<>();
    private final Map<Integer, LogRecord.Was> expected = new HashMap<>();
    private final Teller teller;
    private final Set<Integer> changedDirectories = new LinkedHashSet<>();
    private final Set<Integer> changedFiles = new LinkedHashSet<>();
    private boolean syncAll;
    private long bytes;
    private int removed;
    private boolean moving;
    private int currentFile = LogRecord.NONE;
    private Opened current;
    private UpperLayer upper;
    private boolean changing;
    private boolean skipped;
    private boolean dataThere;
    private final Set<Integer> heldBack = new HashSet<>();

    /**
     * @param staging the pin's staging directory
     * @param teller is told of conflicts
     */
    Applier(
            Disk.Place place,
            Fd staging,
            LowerFiles lower,
            LogContents log,
            Teller teller,
            Steps steps) {
        this.place = place;
        this.staging = staging;
        this.lower = lower;
        this.log = log;
        this.teller = teller;
        this.steps = steps;
        log.directories().values().forEach(d -> known.add(d.inode()));
        log.files().values().forEach(f -> known.add(f.inode()));
    }

    /**
     * Applies and makes durable.
     *
     * @param fd the log
     * @param dataOnly leaves everything but the data and attributes of files that stay where they
     *     are
     */
    void apply(Fd fd, boolean dataOnly) throws IOException {
        freeReserve();
        LogReader reader = new LogReader(fd);
        LogRecord record;
        while ((record = reader.next()) != null) {
            if (record instanceof Data r) {
                if (!dataThere) {
                    data(r, reader);
                }
            } else if (record instanceof Size r) {
                size(r);
            } else if (record instanceof Hole r) {
                hole(r);
            } else if (record instanceof FileAttributes r) {
                attributes(r);
            } else if (!dataOnly) {
                if (record instanceof Detach r) {
                    detach(r);
                } else if (record instanceof Remove r) {
                    remove(r);
                } else if (record instanceof PlaceDirectory r) {
                    place(r);
                } else if (record instanceof PlaceFile r) {
                    place(r);
                } else if (record instanceof DirectoryAttributes r) {
                    attributes(r);
                }
            }
            close(retired);
        }
        closeCurrent();
        makeDurable();
    }

    /**
     * There is a pin, and so an overlay that must not show what programs have deleted there since:
     * names that are put on disk are hidden first ({@link Mask}). In directories that have come to
     * the disk since it was mounted they cannot be hidden, and are left out, as are those that have
     * been deleted already.
     *
     * @param layer the pin's upper layer
     * @param mounted whether programs may change it
     */
    void below(UpperLayer layer, boolean mounted) {
        upper = layer;
        changing = mounted;
    }

    /** Data of files has been written by other means. */
    void dataIsThere() {
        dataThere = true;
    }

    /** Whether names were left out: the log must stay. */
    boolean skipped() {
        return skipped;
    }

    /**
     * Whether something may be put under a name that is free on disk.
     *
     * @param moved whether it is a directory that has been taken from its old place already
     */
    private boolean mayAppear(int directory, FilePath name, boolean moved) throws IOException {
        String pin = log.header().pin();
        if (upper == null || Drift.isConflictName(pin, name)) {
            // A copy beside what others have changed is to be seen.
            return true;
        }
        for (Directory d : before(directory)) {
            boolean stays = d.oldParent() == LogRecord.NONE;
            if (stays && !d.staged().isEmpty() || Drift.isConflictName(pin, d.newName())) {
                // As new as the name, which is hidden with it.
                return true;
            }
        }
        boolean hidden = upper.mask() != null && upper.mask().hide(masked(directory), name);
        if (!changing) {
            return hidden || !isGone(directory, name);
        }
        // An overlay lists a directory layer by layer. A listing that found the name gone, and came
        // to the mask before it was hidden there, would find it on disk.
        return hidden && (moved || !isGone(directory, name));
    }

    /**
     * The path of a directory on disk in the mask: it is where it was at first even if it has been
     * moved on disk since, which the overlay need not have noticed.
     */
    private FilePath masked(int directory) throws IOException {
        if (directory == LogRecord.ROOT) {
            return NO_NAME;
        }
        FilePath first = upper.mask().paths().get(log.directories().get(directory).inode());
        return first == null ? below(directory) : first;
    }

    /** The path on disk of a directory before anything moves. */
    private FilePath below(int directory) throws IOException {
        FilePath path = NO_NAME;
        for (Directory d : before(directory)) {
            FilePath name = d.oldParent() == LogRecord.NONE ? d.newName() : d.oldName();
            path = path.isEmpty() ? name : name.resolve(path);
        }
        return path;
    }

    /** A directory and those that it was in, up to but not including the target's own. */
    private List<Directory> before(int directory) throws IOException {
        List<Directory> way = new ArrayList<>();
        for (int id = directory; id > LogRecord.ROOT; ) {
            Directory d = log.directories().get(id);
            if (d == null || way.size() > MOST_NESTED) {
                throw new IOException("directories in the redo log are nested too deep");
            }
            way.add(d);
            id = d.oldParent() == LogRecord.NONE ? d.newParent() : d.oldParent();
        }
        return way;
    }

    /** Whether the upper layer has no such name any more. */
    private boolean isGone(int directory, FilePath name) throws IOException {
        FilePath path = null;
        for (int id = directory, n = 0; id != LogRecord.ROOT; n++) {
            Directory d = log.directories().get(id);
            if (d == null || d.newParent() == LogRecord.NONE || n > MOST_NESTED) {
                return true;
            }
            if (Drift.isConflictName(log.header().pin(), d.newName())) {
                return false;
            }
            path = path == null ? d.newName() : d.newName().resolve(path);
            id = d.newParent();
        }
        if (path == null) {
            return inode(upper.root(), name) == 0;
        }
        try (Fd dir = At.openBeneathSameMount(upper.root(), path, At.O_PATH | At.O_DIRECTORY, 0)) {
            return inode(dir, name) == 0;
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                return true;
            }
            throw e;
        }
    }

    private void freeReserve() throws IOException {
        FilePath reserve = FilePath.of(Staged.prefix(log.header().sequence()) + Staged.RESERVE);
        if (inode(staging, reserve) != 0) {
            steps.before("free the reserve");
            At.unlink(staging, reserve);
        }
    }

    /** What is to be changed in place must still be like this; for a log applied the first time. */
    void expect(Map<Integer, LogRecord.Was> files) {
        expected.putAll(files);
    }

    /** Told of what is not done because others changed the disk, before anything is put beside. */
    @FunctionalInterface
    interface Teller {
        void tell(Found conflict) throws IOException;
    }

    /** Files that were to be changed in place and are not there any more. */
    Set<Integer> lost() {
        return lost;
    }

    /** A name under which something was put because its own was taken. */
    record Beside(int directory, FilePath name) {}

    List<Beside> beside() {
        return beside;
    }

    /** What was asked for so far, done or not. */
    List<PlaceFile> placements() {
        return placed.values().stream().flatMap(List::stream).toList();
    }

    List<Remove> removals() {
        return removals;
    }

    /** Directories that were given attributes. */
    Set<Integer> attributed() {
        return attributed;
    }

    Fd staging() {
        return staging;
    }

    /**
     * Whether a directory has left its place: from then on an overlay that has renamed it does not
     * find it any more.
     */
    boolean moving() {
        return moving;
    }

    /** Bytes of data written. */
    long bytes() {
        return bytes;
    }

    // Finding things

    /**
     * A directory wherever it is by now, or null if it is nowhere where it could be. Stays open in
     * here.
     */
    Fd directory(int id) throws IOException {
        return directory(id, new HashSet<>(), new HashSet<>());
    }

    /**
     * @param onTheWay those that are being looked for, up the stack: old and new places may lead in
     *     a circle
     * @param nowhere those that were not found; each could be reached in as many ways as there are
     *     old and new places above it, and is looked for once
     */
    private Fd directory(int id, Set<Integer> onTheWay, Set<Integer> nowhere) throws IOException {
        if (id == LogRecord.ROOT) {
            return place.directory();
        }
        Fd fd = open.get(id);
        if (fd != null || nowhere.contains(id) || !onTheWay.add(id)) {
            return fd;
        }
        if (onTheWay.size() > MOST_NESTED) {
            throw new IOException("directories in the redo log are nested too deep");
        }
        Directory d = log.directories().get(id);
        if (!d.staged().isEmpty()) {
            fd = child(staging, d.staged(), d.inode());
        }
        if (fd == null && d.newParent() != LogRecord.NONE) {
            Fd parent = directory(d.newParent(), onTheWay, nowhere);
            fd = parent == null ? null : child(parent, d.newName(), d.inode());
        }
        if (fd == null && d.oldParent() != LogRecord.NONE) {
            Fd parent = directory(d.oldParent(), onTheWay, nowhere);
            fd = parent == null ? null : child(parent, d.oldName(), d.inode());
        }
        onTheWay.remove(id);
        if (fd != null) {
            open.put(id, fd);
            // What was only to be reached through it may be now.
            nowhere.clear();
        } else {
            nowhere.add(id);
        }
        return fd;
    }

    private Fd child(Fd parent, FilePath path, long inode) throws IOException {
        Fd fd;
        try {
            fd = At.openBeneathSameMount(parent, path, At.O_RDONLY | At.O_DIRECTORY, 0);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.EXDEV)) {
                return null;
            }
            throw e;
        }
        boolean right = false;
        try {
            Stat stat = Stat.of(fd);
            right = stat.inode() == inode && stat.device() == place.stat().device();
        } finally {
            if (!right) {
                fd.close();
            }
        }
        return right ? fd : null;
    }

    /** Inode number of a name; 0 if there is none. */
    private static long inode(Fd dir, FilePath name) throws IOException {
        try {
            return Stat.at(dir, name).inode();
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return 0;
            }
            throw e;
        }
    }

    /** A regular file, open for writing, or null. */
    private Opened file(int id) throws IOException {
        if (id == currentFile) {
            return current;
        }
        closeCurrent();
        if (lost.contains(id)) {
            return null;
        }
        File f = log.files().get(id);
        Fd dir = f.staged().isEmpty() ? directory(f.home()) : staging;
        FilePath name = f.staged().isEmpty() ? f.homeName() : f.staged();
        Optional<Opened> found =
                dir == null
                        ? Optional.empty()
                        : lower.open(dir, name, f.inode(), place.stat().mount(), true);
        LogRecord.Was was = expected.remove(id);
        if (found.isPresent() && was != null && !was.is(Stat.of(found.get().fd()))) {
            found.get().close();
            found = Optional.empty();
        }
        if (found.isEmpty()) {
            lose(f);
            return null;
        }
        currentFile = id;
        current = found.get();
        return current;
    }

    private void closeCurrent() {
        if (current != null) {
            current.close();
        }
        current = null;
        currentFile = LogRecord.NONE;
    }

    private void lose(File f) {
        lost.add(f.id());
    }

    /** What is to be told of a lost file whose new version is not kept beside. */
    Found loss(File f) {
        return new Found(
                f.staged().isEmpty() ? path(f.home(), f.homeName()) : f.staged(),
                NO_NAME,
                "was changed or removed on disk by others; what is there now was not touched");
    }

    /** Where the name is meant to be, below the target. */
    private FilePath path(int directory, FilePath name) {
        FilePath path = name;
        int id = directory;
        for (int i = 0; id > LogRecord.ROOT && i <= log.directories().size(); i++) {
            Directory d = log.directories().get(id);
            boolean placed = d.newParent() != LogRecord.NONE;
            path = (placed ? d.newName() : d.oldName()).resolve(path);
            id = placed ? d.newParent() : d.oldParent();
        }
        return path;
    }

    // Data

    private void size(Size r) throws IOException {
        Opened f = file(r.file());
        if (f != null && Stat.of(f.fd()).size() != r.size()) {
            steps.before("truncate");
            Io.truncate(f.fd(), r.size());
        }
        changedFiles.add(r.file());
    }

    private void data(Data r, LogReader reader) throws IOException {
        Opened f = file(r.file());
        if (f != null) {
            steps.before("write");
            Io.writeFully(f.fd(), reader.data(), r.offset());
            bytes += r.length();
        }
        changedFiles.add(r.file());
    }

    private void hole(Hole r) throws IOException {
        Opened f = file(r.file());
        if (f != null) {
            steps.before("punch a hole");
            Holes.make(f.fd(), r.offset(), r.length());
        }
        changedFiles.add(r.file());
    }

    // Structure

    private void detach(Detach r) throws IOException {
        Directory d = log.directories().get(r.directory());
        if (d.oldParent() == LogRecord.NONE) {
            return;
        }
        if (!moving && log.header().deferred()) {
            // A disk that fails shows it here, where the overlay can still be put back.
            closeCurrent();
            makeDurable();
            moving = true;
        }
        if (inode(staging, d.staged()) == d.inode()) {
            return;
        }
        Fd target = d.newParent() == LogRecord.NONE ? null : directory(d.newParent());
        if (target != null && inode(target, d.newName()) == d.inode()) {
            return;
        }
        Fd from = directory(d.oldParent());
        if (from == null || inode(from, d.oldName()) != d.inode()) {
            teller.tell(
                    new Found(
                            path(d.oldParent(), d.oldName()),
                            NO_NAME,
                            "is a directory that was moved or removed on disk by others"));
            return;
        }
        steps.before("rename a directory out");
        At.renameNoReplace(from, d.oldName(), staging, d.staged());
        changedDirectories.add(d.oldParent());
    }

    private void remove(Remove r) throws IOException {
        int number = removed++;
        removals.add(r);
        Fd dir = directory(r.directory());
        if (dir == null) {
            return;
        }
        changedDirectories.add(r.directory());
        long now = inode(dir, r.name());
        if (now == 0 || known.contains(now) && now != r.inode()) {
            return;
        }
        // The number alone may belong to a new file already.
        if (now != r.inode() || !isStill(dir, r)) {
            teller.tell(
                    new Found(
                            path(r.directory(), r.name()),
                            NO_NAME,
                            "was removed in RAM, but changed on disk by others, and stays"));
            return;
        }
        try {
            if (r.isDirectory()) {
                steps.before("rename away a directory that goes");
                At.renameNoReplace(
                        dir,
                        r.name(),
                        staging,
                        FilePath.of(Staged.prefix(log.header().sequence()) + "r" + number));
            } else {
                steps.before("unlink");
                At.unlink(dir, r.name());
            }
        } catch (LinuxException e) {
            if (!e.is(Errno.ENOENT)) {
                throw e;
            }
        }
    }

    private boolean isStill(Fd dir, Remove r) throws IOException {
        Stat stat = Stat.at(dir, r.name());
        return stat.isDirectory() == r.isDirectory()
                && (known.contains(r.inode()) || r.was().is(stat));
    }

    private void place(PlaceDirectory r) throws IOException {
        Directory d = log.directories().get(r.directory());
        changedDirectories.add(d.newParent());
        changedDirectories.add(d.id());
        Fd dir = directory(d.newParent());
        if (dir == null) {
            if (inode(staging, d.staged()) == d.inode()) {
                steps.before("rename a directory in elsewhere");
                placeBeside(d.staged(), LogRecord.ROOT, d.newName());
            } else {
                findBeside(d.inode(), LogRecord.ROOT, d.newName());
            }
            return;
        }
        long now = inode(dir, d.newName());
        if (now == d.inode()) {
            return;
        }
        if (inode(staging, d.staged()) != d.inode()) {
            findBeside(d.inode(), d.newParent(), d.newName());
            return;
        }
        if (now == 0 && !mayAppear(d.newParent(), d.newName(), d.oldParent() != LogRecord.NONE)) {
            skipped = true;
            return;
        }
        steps.before("rename a directory in");
        if (now == 0) {
            At.renameNoReplace(staging, d.staged(), dir, d.newName());
        } else {
            placeBeside(d.staged(), d.newParent(), d.newName());
        }
    }

    private void place(PlaceFile r) throws IOException {
        File f = log.files().get(r.file());
        changedDirectories.add(r.directory());
        Fd dir = directory(r.directory());
        if (dir == null) {
            if (inode(staging, f.staged()) == f.inode()) {
                steps.before("rename a new file in elsewhere");
                placeBeside(f.staged(), LogRecord.ROOT, r.name());
            } else {
                findBeside(f.inode(), LogRecord.ROOT, r.name());
            }
            placed.computeIfAbsent(r.file(), k -> new ArrayList<>(1)).add(r);
            return;
        }
        long now = inode(dir, r.name());
        if (now == 0 && !mayAppear(r.directory(), r.name(), false)) {
            skipped = true;
            heldBack.add(r.file());
            return;
        }
        placed.computeIfAbsent(r.file(), k -> new ArrayList<>(1)).add(r);
        if (now == f.inode()) {
            return;
        }
        if (inode(staging, f.staged()) != f.inode()) {
            findBeside(f.inode(), r.directory(), r.name());
            return;
        }
        FilePath from = f.staged();
        if (!r.last() || heldBack.contains(r.file())) {
            from = FilePath.ofRaw(f.staged().raw() + "l");
            if (inode(staging, from) == 0) {
                steps.before("link");
                At.link(staging, f.staged(), staging, from);
            }
        }
        if (now == 0) {
            steps.before("rename a new file in");
            At.renameNoReplace(staging, from, dir, r.name());
        } else if (mayReplace(dir, r, now)) {
            steps.before("rename a new file over");
            At.rename(staging, from, dir, r.name());
        } else {
            steps.before("rename a new file in beside");
            placeBeside(from, r.directory(), r.name());
        }
    }

    /** Inode numbers are used again: a directory is never what was there. */
    private boolean mayReplace(Fd dir, PlaceFile r, long now) throws IOException {
        Stat there = Stat.at(dir, r.name());
        return !there.isDirectory()
                && (known.contains(now) || now == r.expected() && r.was().is(there));
    }

    /**
     * Others put something where this was to go, or took the directory away: both are kept.
     *
     * @param from name in the staging directory
     * @param directory where it was to go; if that is gone, the target's own directory
     */
    void placeBeside(FilePath from, int directory, FilePath name) throws IOException {
        Fd dir = directory(directory);
        int there = dir == null ? LogRecord.ROOT : directory;
        long itself = inode(staging, from);
        for (int i = 1; ; i++) {
            FilePath copy = Drift.conflictName(log.header().pin(), name, i);
            long taken = inode(directory(there), copy);
            if (taken == itself && taken != 0) {
                // Put there by a run that was cut later, from another link.
                At.unlink(staging, from);
                beside.add(new Beside(there, copy));
                return;
            }
            if (taken != 0) {
                continue;
            }
            teller.tell(
                    new Found(
                            path(directory, name),
                            path(there, copy),
                            "was changed, or its directory taken away, on disk by others;"
                                    + " the version from RAM is kept as"));
            try {
                At.renameNoReplace(staging, from, directory(there), copy);
                syncAll = true;
                beside.add(new Beside(there, copy));
                return;
            } catch (LinuxException e) {
                if (!e.is(Errno.EEXIST)) {
                    throw e;
                }
            }
        }
    }

    /** What an earlier run has put beside, if it has, is known to this one. */
    private void findBeside(long inode, int directory, FilePath name) throws IOException {
        Fd dir = directory(directory);
        long taken = -1;
        for (int i = 1; taken != 0 && taken != inode; i++) {
            FilePath copy = Drift.conflictName(log.header().pin(), name, i);
            taken = inode(dir, copy);
            if (taken == inode) {
                beside.add(new Beside(directory, copy));
            }
        }
    }

    // Attributes

    private void attributes(FileAttributes r) throws IOException {
        closeCurrent();
        File f = log.files().get(r.file());
        if (lost.contains(f.id())) {
            return;
        }
        Fd dir;
        FilePath name;
        if (f.staged().isEmpty()) {
            dir = directory(f.home());
            name = f.homeName();
        } else {
            dir = staging;
            name = f.staged();
            for (PlaceFile p : placed.getOrDefault(f.id(), List.of())) {
                Fd d = directory(p.directory());
                if (d != null && inode(d, p.name()) == f.inode()) {
                    dir = d;
                    name = p.name();
                }
            }
        }
        if (dir == null || inode(dir, name) != f.inode()) {
            lose(f);
            return;
        }
        try (Fd fd = At.open(dir, name, At.O_PATH | At.O_NOFOLLOW, 0)) {
            Stat stat = Stat.of(fd);
            LogRecord.Was was = expected.remove(f.id());
            if (stat.inode() != f.inode()
                    || stat.device() != place.stat().device()
                    || stat.type() != f.type()
                    || was != null && !was.is(stat)) {
                lose(f);
                return;
            }
            r.attributes().give(fd, steps);
        }
        if (f.type() == Stat.REGULAR) {
            changedFiles.add(f.id());
        } else {
            // There is nothing that could be opened for an fsync.
            syncAll = true;
        }
    }

    private void attributes(DirectoryAttributes r) throws IOException {
        Fd dir = directory(r.directory());
        if (dir != null) {
            r.attributes().give(dir, steps);
            changedDirectories.add(r.directory());
            attributed.add(r.directory());
        }
    }

    /**
     * One fsync each for a few, else one for the file system: each fsync of a changed file is a
     * commit of the file system's own journal, and on slow disks a few of them take as long as
     * writing everything back.
     */
    private void makeDurable() throws IOException {
        changedFiles.removeAll(lost);
        changedDirectories.remove(LogRecord.NONE);
        if (syncAll || changedFiles.size() + changedDirectories.size() > MOST_FSYNCS) {
            steps.before("syncfs");
            Io.syncFileSystem(place.directory());
            return;
        }
        for (int id : changedFiles) {
            File f = log.files().get(id);
            if (!f.staged().isEmpty() && inode(staging, f.staged()) != f.inode()) {
                steps.before("syncfs");
                Io.syncFileSystem(place.directory());
                return;
            }
            Opened o = file(id);
            if (o != null) {
                steps.before("fsync a file");
                Io.sync(o.fd());
            }
        }
        closeCurrent();
        for (int id : changedDirectories) {
            Fd dir = directory(id);
            if (dir != null) {
                steps.before("fsync a directory");
                Io.sync(dir);
            }
        }
        close(retired);
    }

    private static void close(List<Fd> fds) {
        fds.forEach(Fd::close);
        fds.clear();
    }

    @Override
    public void close() {
        closeCurrent();
        open.values().forEach(Fd::close);
        open.clear();
        close(retired);
    }
}
