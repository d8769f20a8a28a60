package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import io.rampipe.linux.StatFs;
import io.rampipe.sync.journal.internal.LowerFiles.Opened;
import io.rampipe.sync.journal.internal.Planner.Dir;
import io.rampipe.sync.journal.internal.Planner.Name;
import io.rampipe.sync.journal.internal.Planner.Node;
import io.rampipe.sync.journal.internal.Planner.Removal;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.IntPredicate;
import java.util.zip.CRC32C;

/**
 * Writes the log that makes the disk equal to what a planner saw, and stages what is new. Nothing
 * below the target changes, but for room reserved in files. One thread, once.
 */
final class PlanWriter implements AutoCloseable {
    /** More staged files than these are made durable together. */
    private static final int MOST_FSYNCS = 16;

    /** A smaller file that replaces another is never worth staging. */
    static final long WORTH_STAGING = 64 * 1024;

    /** Free disk that is not counted on. */
    private static final long MARGIN = 8 << 20;

    private static final FilePath NO_NAME = FilePath.of("");

    /** Thrown to give up comparing a file that is better written as a whole. */
    private static final class Rather extends IOException {
        private static final long serialVersionUID = 1L;

        Rather() {
            super("most of it changed");
        }
    }

    private final Disk.Place place;
    private final Planner plan;
    private final LowerFiles lower;
    private final Drift drift;
    private final LogWriter log;
    private final StagingDirectory staging;
    private final Staged names;
    private final Capture capture;
    private final Steps steps;
    private final FileData data = new FileData();
    private final UpperDirectories upper;

    private final ByteBuffer buffer = ByteBuffer.allocateDirect(LogFormat.MAX_DATA);
    private final Map<FilePath, Fd> openDirectories = new HashMap<>();
    private final List<Fd> unsynced = new ArrayList<>();
    private long reserved;
    private final Map<Integer, Node> byId = new HashMap<>();
    private final Map<Integer, LogRecord.Was> inPlace = new HashMap<>();
    private final Set<Node> changed = new HashSet<>();
    private boolean syncAll;
    private boolean fromCapture = true;
    private int files;
    private int directoryIds = 1;
    private long bytes;
    private long staged;
    private int stagedFiles;
    private boolean structure;
    private boolean work;

    /** A file to be written as a whole of which only a part was copied; null if there is none. */
    private FilePath incomplete;

    private record Placement(int file, Dir dir, FilePath name, Stat expected, boolean last) {}

    private final List<Placement> filePlacements = new ArrayList<>();

    PlanWriter(
            Disk.Place place,
            Planner plan,
            LowerFiles lower,
            Drift drift,
            LogWriter log,
            StagingDirectory staging,
            Staged names,
            Capture capture,
            Steps steps) {
        this.capture = capture;
        this.place = place;
        this.plan = plan;
        this.lower = lower;
        this.drift = drift;
        this.log = log;
        this.staging = staging;
        this.names = names;
        this.steps = steps;
        this.upper = new UpperDirectories(plan.upper());
    }

    void write(LogRecord.Header header) throws IOException {
        log.write(header);
        Dir root = plan.root();
        root.id = LogRecord.ROOT;
        log.write(
                new LogRecord.Directory(
                        LogRecord.ROOT,
                        root.inode,
                        LogRecord.NONE,
                        NO_NAME,
                        LogRecord.NONE,
                        NO_NAME,
                        NO_NAME));
        for (Dir d : plan.directories()) {
            if (d.isNew()) {
                stage(d);
            }
        }
        List<Step> placements = new ArrayList<>();
        for (Node n : plan.nodes()) {
            write(n, placements);
        }
        if (incomplete != null) {
            // All of them at once: there are only a few attempts.
            throw new MovingException("a copy of all of " + incomplete);
        }
        writeStructure(placements);
    }

    /** Writes records later. */
    @FunctionalInterface
    private interface Step {
        void run() throws IOException;
    }

    // Directories

    private void stage(Dir d) throws IOException {
        boolean top = !d.newParent.isNew();
        d.staged = top ? names.next() : d.newParent.staged.resolve(d.newName);
        Fd parent = top ? staging.fd() : stagedDirectory(d.newParent.staged);
        steps.before("mkdir of a new directory");
        At.mkdir(parent, top ? d.staged : d.newName, 0700);
        stagedFiles++;
    }

    private Fd stagedDirectory(FilePath path) throws IOException {
        if (path.isEmpty()) {
            return staging.fd();
        }
        Fd fd = openDirectories.get(path);
        if (fd == null) {
            if (openDirectories.size() >= 64) {
                openDirectories.values().forEach(Fd::close);
                openDirectories.clear();
            }
            fd = At.openBeneath(staging.fd(), path, At.O_RDONLY | At.O_DIRECTORY, 0);
            openDirectories.put(path, fd);
        }
        return fd;
    }

    /** The number of a directory; it and what it is found by are described in the log. */
    private int ref(Dir d) throws IOException {
        if (d == null) {
            return LogRecord.NONE;
        }
        if (d.id == LogRecord.NONE) {
            d.id = directoryIds++;
            int oldParent = d.oldParent == d.newParent ? LogRecord.NONE : ref(d.oldParent);
            int newParent = ref(d.newParent);
            if (d.moved()) {
                d.staged = names.next();
                oldParent = ref(d.oldParent);
            }
            log.write(
                    new LogRecord.Directory(
                            d.id,
                            d.isNew() ? Stat.at(parentOf(d), lastOf(d)).inode() : d.inode,
                            oldParent,
                            oldParent == LogRecord.NONE ? NO_NAME : d.oldName,
                            newParent,
                            newParent == LogRecord.NONE ? NO_NAME : d.newName,
                            d.staged));
        }
        return d.id;
    }

    private Fd parentOf(Dir d) throws IOException {
        return stagedDirectory(d.staged.parent());
    }

    private static FilePath lastOf(Dir d) {
        return d.staged.name();
    }

    // Files

    private void write(Node n, List<Step> placements) throws IOException {
        if (capture.of(n) != null || n.attributes != null) {
            if (n.lower == null || !change(n, null, null, placements)) {
                n.lower = null;
                create(n, null, null, placements);
            }
        } else if (n.upper.isRegular()) {
            fromCapture = false;
            try (Fd fd = upper.open(n, UpperLayer.READ)) {
                UpperLayer.refuseMetacopy(fd);
                data.expect(n.upper);
                CRC32C crc = n.mapped ? new CRC32C() : null;
                if (n.lower == null || !change(n, fd, crc, placements)) {
                    n.lower = null;
                    create(n, fd, n.mapped ? new CRC32C() : null, placements);
                } else if (crc != null) {
                    n.crc = (int) crc.getValue();
                }
            }
        } else {
            fromCapture = false;
            try (Fd fd = upper.open(n, At.O_PATH | At.O_NOFOLLOW)) {
                if (n.lower == null || !change(n, fd, null, placements)) {
                    n.lower = null;
                    create(n, fd, null, placements);
                }
            }
        }
    }

    /** A name that it has on disk and keeps; null if there is none. */
    private static Name stable(Node n) {
        for (Name m : n.names) {
            if (m.lower() != null && m.lower().inode() == n.lower.inode() && !m.dir().isNew()) {
                return m;
            }
        }
        return null;
    }

    /**
     * Changes the file that is on disk. False if that cannot be done, with nothing written.
     *
     * @param fd the upper one; null if it was copied
     */
    private boolean change(Node n, Fd fd, CRC32C crc, List<Step> placements) throws IOException {
        Name home = stable(n);
        boolean more =
                n.names.stream()
                        .anyMatch(m -> m.lower() == null || m.lower().inode() != n.lower.inode());
        FilePath link = NO_NAME;
        if (home == null || more) {
            link = names.next();
            if (!link(n, link)) {
                return false;
            }
        }
        if (n.replaceable && link.isEmpty()) {
            // Before the mark: what is described behind it may be forgotten.
            ref(home.dir());
        }
        LogWriter.Mark mark = log.mark();
        long reservedBefore = reserved;
        int id = files++;
        long before = bytes;
        FilePath stagedName = link;
        // Only described if there is something to say about it.
        boolean[] described = {false};
        Step describe =
                () -> {
                    if (!described[0]) {
                        described[0] = true;
                        boolean atHome = stagedName.isEmpty();
                        log.write(
                                new LogRecord.File(
                                        id,
                                        n.lower.inode(),
                                        n.lower.type(),
                                        atHome ? ref(home.dir()) : LogRecord.NONE,
                                        atHome ? home.name() : NO_NAME,
                                        stagedName));
                        byId.put(id, n);
                        changed.add(n);
                        work = true;
                    }
                };
        Capture.Image image = capture.of(n);
        Attributes wanted = attributes(n, fd);
        Opened opened = null;
        try {
            Attributes now;
            if (n.upper.isRegular()) {
                opened = open(n, home, link);
                if (opened == null) {
                    return false;
                }
                Stat s = Stat.of(opened.fd());
                inPlace.put(id, LogRecord.Was.of(n.lower));
                if (betterWhole(n, s, image == null || image.whole())) {
                    return false;
                }
                if (image == null) {
                    compare(n, fd, opened.fd(), s.size(), crc, id, describe);
                } else {
                    patch(n, image, opened.fd(), s, id, describe);
                }
                now = Attributes.of(opened.fd(), s);
            } else {
                try (Fd path = openPath(n, home, link)) {
                    Stat s = Stat.of(path);
                    now = Attributes.of(path, s);
                }
            }
            if (described[0] || !wanted.sameAs(now, n.upper.isSymlink())) {
                describe.run();
                placements.add(() -> log.write(new LogRecord.FileAttributes(id, wanted)));
            }
        } catch (Rather e) {
            reserved = reservedBefore;
            log.reset(mark);
            bytes = before;
            byId.remove(id);
            return false;
        } finally {
            if (opened != null) {
                opened.close();
            }
        }
        if (!link.isEmpty()) {
            describe.run();
            place(n, id, n.lower.inode(), link, true);
        }
        return true;
    }

    private Attributes attributes(Node n, Fd fd) throws IOException {
        if (fd != null) {
            return Attributes.of(fd, n.upper);
        }
        Capture.Image image = capture.of(n);
        return image == null ? n.attributes : image.attributes();
    }

    private boolean link(Node n, FilePath link) throws IOException {
        drift.aboutToLink(n.lower.inode());
        try {
            if (n.origin != null) {
                try (Fd below = n.origin.open(place.disk().root(), At.O_PATH)) {
                    steps.before("link a file to the staging directory");
                    At.link(below, staging.fd(), link);
                }
            } else {
                Name m = stable(n);
                try (Fd dir =
                        At.openBeneathSameMount(
                                place.directory(),
                                m.dir().oldPath,
                                At.O_PATH | At.O_DIRECTORY,
                                0)) {
                    steps.before("link a file to the staging directory");
                    At.link(dir, m.name(), staging.fd(), link);
                }
            }
            if (Stat.at(staging.fd(), link).inode() == n.lower.inode()) {
                return true;
            }
            At.unlink(staging.fd(), link);
            return false;
        } catch (LinuxException e) {
            if (e.is(
                    Errno.EPERM,
                    Errno.EOPNOTSUPP,
                    Errno.EMLINK,
                    Errno.ENOENT,
                    Errno.ESTALE,
                    Errno.EXDEV)) {
                return false;
            }
            throw e;
        }
    }

    private Opened open(Node n, Name home, FilePath link) throws IOException {
        try {
            return open(n, home, link, true);
        } catch (LinuxException e) {
            if (e.is(Errno.ETXTBSY)) {
                // It is being run from disk: it gets a successor.
                return null;
            }
            if (e.is(Errno.EROFS)) {
                // If nothing has changed, nothing needs to be written.
                return open(n, home, link, false);
            }
            throw e;
        }
    }

    private Opened open(Node n, Name home, FilePath link, boolean write) throws IOException {
        if (!link.isEmpty()) {
            return lower.open(staging.fd(), link, n.lower.inode(), place.stat().mount(), write)
                    .orElse(null);
        }
        try (Fd dir = lowerDirectory(home.dir())) {
            Optional<Opened> found =
                    lower.open(dir, home.name(), n.lower.inode(), place.stat().mount(), write);
            if (found.isEmpty()) {
                throw new IOException(home.name() + " was replaced on disk while being compared");
            }
            return found.get();
        }
    }

    private Fd lowerDirectory(Dir d) throws IOException {
        return At.openBeneathSameMount(
                place.directory(), d.oldPath, At.O_RDONLY | At.O_DIRECTORY, 0);
    }

    private Fd openPath(Node n, Name home, FilePath link) throws IOException {
        if (!link.isEmpty()) {
            return At.open(staging.fd(), link, At.O_PATH | At.O_NOFOLLOW, 0);
        }
        try (Fd dir = lowerDirectory(home.dir())) {
            return At.open(dir, home.name(), At.O_PATH | At.O_NOFOLLOW, 0);
        }
    }

    /**
     * Growing in place takes the room twice, in the log and in the file. A file that programs may
     * know by its inode number grows in place all the same, unless there is no such room; a file
     * that they may be waiting for, always.
     */
    private boolean betterWhole(Node n, Stat below, boolean whole) throws IOException {
        long size = n.upper.size();
        long growth = size - below.size();
        if (!plan.mounted() || size < WORTH_STAGING || growth <= size / 2 || n.lower.links() != 1) {
            return false;
        }
        StatFs room = StatFs.of(place.directory());
        return n.replaceable && whole || 2 * growth + MARGIN > room.free() * room.blockSize();
    }

    private void compare(Node n, Fd fd, Fd below, long lowerSize, CRC32C crc, int id, Step describe)
            throws IOException {
        long size = n.upper.size();
        long most = n.replaceable && size >= WORTH_STAGING ? size / 2 : Long.MAX_VALUE;
        long before = bytes;
        if (size != lowerSize) {
            describe.run();
            log.write(new LogRecord.Size(id, size));
        }
        data.compare(
                fd,
                size,
                below,
                lowerSize,
                crc,
                new FileData.Changes() {
                    @Override
                    public void data(long offset, ByteBuffer part) throws IOException {
                        int length = part.remaining();
                        if (bytes - before + length > most) {
                            throw new Rather();
                        }
                        describe.run();
                        reserve(below, offset, length);
                        log.write(new LogRecord.Data(id, offset, length), part);
                        bytes += length;
                    }

                    @Override
                    public void hole(long offset, long length) throws IOException {
                        describe.run();
                        log.write(new LogRecord.Hole(id, offset, length));
                    }
                });
    }

    /** The same from a copy, which knows what differs. */
    private void patch(Node n, Capture.Image image, Fd below, Stat lower, int id, Step describe)
            throws IOException {
        // A link that was just made has changed the change time.
        if (lower.links() == n.lower.links() && !image.comparedWith(lower)) {
            throw new MovingException(
                    (n.names.isEmpty() ? below : n.names.get(0).name()) + " on disk");
        }
        long size = image.size();
        if (size != lower.size()) {
            describe.run();
            log.write(new LogRecord.Size(id, size));
        }
        runs(
                image,
                Math.min(size, lower.size()),
                image::opened,
                Long.MAX_VALUE,
                (offset, length) -> {
                    describe.run();
                    log.write(new LogRecord.Hole(id, offset, length));
                });
        long before = bytes;
        long most = n.replaceable && size >= WORTH_STAGING ? size / 2 : Long.MAX_VALUE;
        runs(
                image,
                size,
                image::changed,
                LogFormat.MAX_DATA,
                (offset, length) -> {
                    if (bytes - before + length > most && image.whole()) {
                        throw new Rather();
                    }
                    describe.run();
                    reserve(below, offset, (int) length);
                    buffer.clear().limit((int) length);
                    image.read(offset, buffer);
                    buffer.flip();
                    log.write(new LogRecord.Data(id, offset, (int) length), buffer);
                    bytes += length;
                });
    }

    /** Told of a range of a file. */
    @FunctionalInterface
    private interface Range {
        void range(long offset, long length) throws IOException;
    }

    /** Blocks of a kind that follow each other, up to the end of the file. */
    private static void runs(
            Capture.Image image, long end, IntPredicate which, long most, Range range)
            throws IOException {
        long start = -1;
        for (long at = 0; at < end; at += FileData.BLOCK) {
            boolean in = which.test((int) (at / FileData.BLOCK));
            if (start >= 0 && (!in || at - start >= most)) {
                range.range(start, at - start);
                start = -1;
            }
            if (in && start < 0) {
                start = at;
            }
        }
        if (start >= 0) {
            range.range(start, end - start);
        }
    }

    /** A copied file as a whole. */
    private long copy(Capture.Image image, Fd out) throws IOException {
        long[] copied = {0};
        runs(
                image,
                image.size(),
                block -> !image.isHole(block),
                LogFormat.MAX_DATA,
                (offset, length) -> {
                    buffer.clear().limit((int) length);
                    image.read(offset, buffer);
                    buffer.flip();
                    steps.before("write a staged file");
                    Io.writeFully(out, buffer, offset);
                    copied[0] += length;
                });
        steps.before("truncate a staged file");
        Io.truncate(out, image.size());
        return copied[0];
    }

    /**
     * Once the log is committed, writing what it says must not fail for want of room. Not reserved
     * in the file itself: that would take away its capabilities and change its times ({@code
     * fallocate(2)} counts as a write).
     */
    private void reserve(Fd below, long offset, long length) throws IOException {
        long data = Io.nextData(below, offset);
        if (data != offset || Io.nextHole(below, offset) < offset + length) {
            reserved += length + 2 * FileData.BLOCK;
        }
    }

    private void reserve() throws IOException {
        if (reserved == 0) {
            return;
        }
        steps.before("create the reserve");
        try (Fd fd =
                At.open(
                        staging.fd(),
                        FilePath.of(names.prefix() + Staged.RESERVE),
                        At.O_RDWR | At.O_CREAT | At.O_EXCL | At.O_NOFOLLOW,
                        0600)) {
            steps.before("allocate the reserve");
            Io.allocate(fd, 0, reserved);
        } catch (LinuxException e) {
            if (!e.is(Errno.EOPNOTSUPP, Errno.ENOSYS)) {
                throw e;
            }
        }
    }

    /**
     * Writes it as a new file.
     *
     * @param fd the upper one; null if it was copied
     */
    private void create(Node n, Fd fd, CRC32C crc, List<Step> placements) throws IOException {
        Capture.Image image = capture.of(n);
        if (image != null && !image.whole()) {
            capture.wantWhole(n);
            incomplete = n.names.get(0).name();
            return;
        }
        Name inNew = n.names.stream().filter(m -> m.dir().isNew()).findFirst().orElse(null);
        Fd dir;
        FilePath name;
        if (inNew != null) {
            dir = stagedDirectory(inNew.dir().staged);
            name = inNew.name();
        } else {
            dir = staging.fd();
            name = names.next();
        }
        changed.add(n);
        stagedFiles++;
        if (n.upper.isRegular()) {
            steps.before("create a staged file");
            Fd out = At.open(dir, name, At.O_RDWR | At.O_CREAT | At.O_EXCL | At.O_NOFOLLOW, 0600);
            try {
                staged +=
                        image != null
                                ? copy(image, out)
                                : data.copy(fd, n.upper.size(), out, crc, steps);
                if (crc != null) {
                    n.crc = (int) crc.getValue();
                }
                attributes(n, fd).give(out, steps);
                if (unsynced.size() < MOST_FSYNCS) {
                    unsynced.add(out);
                    out = null;
                } else {
                    syncAll = true;
                }
            } finally {
                if (out != null) {
                    out.close();
                }
            }
        } else {
            if (n.upper.isSymlink()) {
                steps.before("symlink");
                At.symlink(n.text != null ? n.text : At.readLink(fd), dir, name);
            } else {
                steps.before("mknod");
                At.mknod(dir, name, n.upper.type() | 0600, n.upper.deviceNumber());
            }
            try (Fd out = At.open(dir, name, At.O_PATH | At.O_NOFOLLOW, 0)) {
                attributes(n, fd).give(out, steps);
            }
            syncAll = true;
        }
        long inode = Stat.at(dir, name).inode();
        boolean outside = n.names.stream().anyMatch(m -> !m.dir().isNew());
        if (inNew == null) {
            place(n, describeStaged(n, inode, name), inode, name, false);
            return;
        }
        FilePath link = NO_NAME;
        if (outside) {
            link = names.next();
            steps.before("link a staged file");
            At.link(dir, name, staging.fd(), link);
        }
        int id = outside ? describeStaged(n, inode, link) : LogRecord.NONE;
        for (Name m : n.names) {
            if (m != inNew && m.dir().isNew()) {
                steps.before("link a staged file");
                At.link(dir, name, stagedDirectory(m.dir().staged), m.name());
            }
        }
        if (outside) {
            placeOutside(n, id, inode, true);
        }
    }

    private int describeStaged(Node n, long inode, FilePath name) throws IOException {
        int id = files++;
        log.write(new LogRecord.File(id, inode, n.upper.type(), LogRecord.NONE, NO_NAME, name));
        byId.put(id, n);
        return id;
    }

    /** Gives a staged file all names that it does not have yet. */
    private void place(Node n, int id, long inode, FilePath staged, boolean keep)
            throws IOException {
        for (Name m : n.names) {
            if (m.dir().isNew()) {
                steps.before("link a staged file");
                At.link(staging.fd(), staged, stagedDirectory(m.dir().staged), m.name());
            }
        }
        placeOutside(n, id, inode, keep);
    }

    private void placeOutside(Node n, int id, long inode, boolean keep) {
        List<Name> wanted = new ArrayList<>();
        for (Name m : n.names) {
            if (!m.dir().isNew() && (m.lower() == null || m.lower().inode() != inode)) {
                wanted.add(m);
            }
        }
        for (int i = 0; i < wanted.size(); i++) {
            Name m = wanted.get(i);
            structure = true;
            m.dir().touched = true;
            filePlacements.add(
                    new Placement(
                            id, m.dir(), m.name(), m.lower(), !keep && i == wanted.size() - 1));
        }
    }

    // The rest of the log

    private void writeStructure(List<Step> attributes) throws IOException {
        for (Dir d : plan.directories()) {
            if (d.moved()) {
                structure = true;
                log.write(new LogRecord.Detach(ref(d)));
            }
        }
        for (Removal r : plan.removals()) {
            structure = true;
            log.write(
                    new LogRecord.Remove(
                            ref(r.dir()),
                            r.name(),
                            r.lower().inode(),
                            r.lower().isDirectory(),
                            LogRecord.Was.of(r.lower())));
        }
        for (Dir d : plan.directories()) {
            if (d.moved() || d.isNew() && !d.newParent.isNew()) {
                structure = true;
                log.write(new LogRecord.PlaceDirectory(ref(d)));
            }
        }
        for (Placement p : filePlacements) {
            log.write(
                    new LogRecord.PlaceFile(
                            p.file(),
                            ref(p.dir()),
                            p.name(),
                            p.expected() == null ? 0 : p.expected().inode(),
                            p.last(),
                            p.expected() == null
                                    ? LogRecord.Was.UNKNOWN
                                    : LogRecord.Was.of(p.expected())));
        }
        for (Step a : attributes) {
            a.run();
        }
        // Children first: making a staged child complete changes nothing in its parent any more.
        for (int i = plan.directories().size() - 1; i >= 0; i--) {
            Dir d = plan.directories().get(i);
            if (d == plan.root() && !plan.upper().wholeDirectory()) {
                continue;
            }
            if (d.isNew()) {
                finish(d);
            } else if (d.differs || d.touched || d.moved()) {
                work = true;
                log.write(new LogRecord.DirectoryAttributes(ref(d), plan.wanted(d)));
            }
        }
    }

    /** A new directory gets its attributes when everything is in it that is staged. */
    private void finish(Dir d) throws IOException {
        Fd fd = stagedDirectory(d.staged);
        plan.wanted(d).give(fd, steps);
        if (d.touched) {
            log.write(new LogRecord.DirectoryAttributes(ref(d), plan.wanted(d)));
        }
        syncAll |= stagedFiles > MOST_FSYNCS;
        if (!syncAll) {
            steps.before("fsync a new directory");
            Io.sync(fd);
        }
    }

    /** Everything that is staged, and the log, are on disk when this returns. */
    void makeDurable(Fd logFile) throws IOException {
        reserve();
        if (syncAll) {
            steps.before("syncfs");
            Io.syncFileSystem(place.directory());
            return;
        }
        for (Fd fd : unsynced) {
            steps.before("fsync a staged file");
            Io.sync(fd);
        }
        Fd dir = staging.existing();
        if (dir != null) {
            steps.before("fsync of the staging directory");
            Io.sync(dir);
        }
        steps.before("fsync the log");
        Io.sync(logFile);
    }

    /** Whether files with writable mappings still are as they were copied. */
    void checkMapped() throws IOException {
        for (Node n : plan.nodes()) {
            if (n.mapped && n.upper.isRegular() && capture.of(n) == null) {
                try (Fd fd = upper.open(n, UpperLayer.READ)) {
                    data.expect(n.upper);
                    if (data.checksum(fd, n.upper.size()) != n.crc) {
                        throw new MovingException(fd.toString());
                    }
                }
            }
        }
    }

    /** Whether nothing was read from upper, which may have changed since it was copied. */
    boolean fromCapture() {
        return fromCapture;
    }

    /** Whether there is anything to do. */
    boolean empty() {
        return !work && !structure && stagedFiles == 0;
    }

    /** Whether more than data and attributes of files and directories changes. */
    boolean structure() {
        return structure;
    }

    /** Files and directories that are changed or new. */
    int changes() {
        return changed.size() + plan.removals().size();
    }

    /** Bytes of file data in the log. */
    long bytes() {
        return bytes;
    }

    /** Bytes of file data in staged files. */
    long stagedBytes() {
        return staged;
    }

    /** Regular files that are changed in place, by number, as the plan has found them. */
    Map<Integer, LogRecord.Was> changedInPlace() {
        return inPlace;
    }

    /** The file of that number in the log. */
    Node node(int id) {
        return byId.get(id);
    }

    @Override
    public void close() {
        unsynced.forEach(Fd::close);
        openDirectories.values().forEach(Fd::close);
        upper.close();
    }
}
