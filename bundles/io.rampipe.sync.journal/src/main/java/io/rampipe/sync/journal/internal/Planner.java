package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Compares an upper directory with the lower one, writes what is to be done to the log, and puts
 * whole new files into staging. Changes nothing that anyone can see. One use, one thread.
 */
final class Planner {
    private static final int BLOCK = 4096;

    private final Fd root;
    private final Target target;
    private final Staging staging;
    private final RedoLog.Sink log;
    private final Scan clean;
    private final Map<String, Fd> open;

    private final ByteBuffer upperData = ByteBuffer.allocateDirect(RedoLog.PIECE);
    private final ByteBuffer lowerData = ByteBuffer.allocateDirect(RedoLog.PIECE);

    /** Renamed directories by their inode in upper, and the identities of all of them on disk. */
    private final Map<Long, Moved> moved = new HashMap<>();

    private final Set<String> movedIdentities = new HashSet<>();

    /**
     * Upper inodes with several names: where the first went in staging, or -1 if it stays the file
     * that it is.
     */
    private final Map<Long, Integer> links = new HashMap<>();

    private final List<Op.Attributes> directoryAttributes = new ArrayList<>();

    /**
     * What files that have no origin became on disk: identity by upper inode. From earlier
     * syncbacks, and from this one.
     */
    private final Map<Long, String> known;

    private final Map<Long, String> placed = new HashMap<>();
    private int numbers;
    private int files;
    private long changed;
    private long staged;

    /** A directory that was renamed in the overlay. */
    private record Moved(int number, FilePath from, String identity) {}

    /**
     * @param root the lower directory
     * @param clean how upper was when it was equal to the disk; null if that is not known
     * @param known what files that programs made became on disk, as {@link #placed} told before
     * @param open lower files that are held open for writing, by identity: others must not open
     *     them now
     */
    Planner(
            Fd root,
            Target target,
            Staging staging,
            RedoLog.Sink log,
            Scan clean,
            Map<Long, String> known,
            Map<String, Fd> open) {
        this.known = known;
        this.root = root;
        this.target = target;
        this.staging = staging;
        this.log = log;
        this.clean = clean;
        this.open = open;
    }

    void plan(Fd upper) throws IOException {
        if (target.kind() == Target.Kind.FILE) {
            FilePath name = target.path().name();
            if (!Identity.of(upper, name).equals(Identity.NONE)) {
                entry(upper, root, name, name);
            }
            return;
        }
        findMoved(upper, FilePath.of(""), FilePath.of(""));
        List<Moved> order = new ArrayList<>(moved.values());
        order.sort(
                Comparator.comparingLong(
                                (Moved m) -> m.from.raw().chars().filter(c -> c == '/').count())
                        .reversed());
        for (Moved m : order) {
            emit(new Op.MoveOut(m.number, m.from, m.identity));
        }
        boolean touched = directory(upper, root, FilePath.of(""));
        attributes(upper, root, FilePath.of(""), touched);
        // Children before parents: to place a child changes its parent's times.
        for (int i = 0; i < directoryAttributes.size(); i++) {
            emit(directoryAttributes.get(i));
        }
    }

    /** Names changed on disk. */
    int files() {
        return files;
    }

    /** What new files will be on disk: identity by upper inode. */
    Map<Long, String> placed() {
        return placed;
    }

    /** File data that will differ. */
    long changed() {
        return changed;
    }

    /** File data written to staging. */
    long staged() {
        return staged;
    }

    private void emit(Op op) throws IOException {
        files +=
                op instanceof Op.Write || op instanceof Op.Punch || op instanceof Op.Resize ? 0 : 1;
        log.accept(op, null);
    }

    /**
     * @param lowerPath where the directory's lower part is, null if it has none
     */
    private void findMoved(Fd upper, FilePath path, FilePath lowerPath) throws IOException {
        for (FilePath name : At.list(upper)) {
            if (!Stat.at(upper, name).isDirectory()) {
                continue;
            }
            try (Fd child = At.openDirectory(upper, name)) {
                FilePath childPath = path.resolve(name);
                FilePath natural = lowerPath == null ? null : lowerPath.resolve(name);
                Optional<FilePath> redirect = Overlay.redirect(child);
                FilePath from = natural;
                if (redirect.isPresent()) {
                    FilePath r = redirect.get();
                    from =
                            r.isAbsolute()
                                    ? FilePath.ofRaw(r.raw().substring(1))
                                    : lowerPath == null ? null : lowerPath.resolve(r);
                } else if (Overlay.isOpaque(child)) {
                    from = null;
                }
                if (redirect.isPresent() && from != null && !from.equals(natural)) {
                    String identity = identityOfDirectory(from);
                    if (!identity.isEmpty()) {
                        moved.put(Stat.of(child).inode(), new Moved(numbers++, from, identity));
                        movedIdentities.add(identity);
                    } else {
                        from = null;
                    }
                }
                findMoved(child, childPath, from);
            }
        }
    }

    private String identityOfDirectory(FilePath path) throws LinuxException {
        try (Fd d =
                At.openBeneathSameMount(
                        root, path, At.O_RDONLY | At.O_DIRECTORY | At.O_NOFOLLOW, 0)) {
            return Identity.of(d);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                return Identity.NONE;
            }
            throw e;
        }
    }

    /**
     * @param lower the directory on disk that will be at that path; null if it will be new. Returns
     *     true if its entries change.
     */
    private boolean directory(Fd upper, Fd lower, FilePath path) throws IOException {
        boolean touched = false;
        List<FilePath> names = At.list(upper);
        names.sort(null);
        for (FilePath name : names) {
            touched |= entry(upper, lower, name, path.resolve(name));
        }
        return touched;
    }

    /** Returns true if the directory that holds it changes on disk. */
    private boolean entry(Fd upper, Fd lower, FilePath name, FilePath path) throws IOException {
        Stat stat = Stat.at(upper, name);
        String there = lower == null ? Identity.NONE : Identity.of(lower, name);
        if (movedIdentities.contains(there)) {
            there = Identity.NONE;
        }
        if (Overlay.isWhiteout(stat)) {
            return trash(path, there);
        }
        if (stat.isDirectory()) {
            try (Fd child = At.openDirectory(upper, name)) {
                return directoryEntry(child, lower, name, path, there);
            }
        }
        if (stat.isRegular()) {
            return regular(upper, lower, name, path, stat, there);
        }
        return other(upper, lower, name, path, stat, there);
    }

    private boolean trash(FilePath path, String there) throws IOException {
        if (there.isEmpty()) {
            return false;
        }
        emit(new Op.Trash(numbers++, path, there));
        return true;
    }

    private boolean directoryEntry(Fd child, Fd lower, FilePath name, FilePath path, String there)
            throws IOException {
        Moved m = moved.get(Stat.of(child).inode());
        if (m != null) {
            trash(path, there);
            emit(new Op.MoveIn(m.number, path));
            try (Fd origin =
                    At.openBeneathSameMount(
                            root, m.from, At.O_RDONLY | At.O_DIRECTORY | At.O_NOFOLLOW, 0)) {
                directory(child, origin, path);
                attributes(child, origin, path, true);
            }
            return true;
        }
        boolean merged =
                !there.isEmpty() && Stat.at(lower, name).isDirectory() && !Overlay.isOpaque(child);
        if (merged) {
            try (Fd below = At.openDirectory(lower, name)) {
                attributes(child, below, path, directory(child, below, path));
            }
            return false;
        }
        trash(path, there);
        emit(new Op.MakeDirectory(path));
        directory(child, null, path);
        attributes(child, null, path, true);
        return true;
    }

    private void attributes(Fd upper, Fd lower, FilePath path, boolean touched) throws IOException {
        if (touched || lower == null || !sameAttributes(upper, lower)) {
            directoryAttributes.add(
                    attributesOf(upper, path, lower == null ? Identity.NONE : Identity.of(lower)));
        }
    }

    private static Op.Attributes attributesOf(Fd upper, FilePath path, String identity)
            throws IOException {
        Stat s = Stat.of(upper);
        return new Op.Attributes(
                path,
                identity,
                s.uid(),
                s.gid(),
                s.permissions(),
                s.accessSeconds(),
                s.accessNanos(),
                s.modifySeconds(),
                s.modifyNanos(),
                Overlay.xattrs(upper));
    }

    private static boolean sameAttributes(Fd upper, Fd lower) throws IOException {
        Stat u = Stat.of(upper);
        Stat l = Stat.of(lower);
        if (u.mode() != l.mode()
                || u.uid() != l.uid()
                || u.gid() != l.gid()
                || u.modifySeconds() != l.modifySeconds()
                || u.modifyNanos() != l.modifyNanos()) {
            return false;
        }
        Map<String, byte[]> a = Overlay.xattrs(upper);
        Map<String, byte[]> b = Overlay.xattrs(lower);
        return a.keySet().equals(b.keySet())
                && a.entrySet().stream()
                        .allMatch(e -> java.util.Arrays.equals(e.getValue(), b.get(e.getKey())));
    }

    private boolean regular(
            Fd upper, Fd lower, FilePath name, FilePath path, Stat stat, String there)
            throws IOException {
        if (!there.isEmpty() && clean != null && clean.certainlyUnchanged(path, stat)) {
            return false;
        }
        try (Fd source = At.open(upper, name, At.O_RDONLY | At.O_NOFOLLOW | At.O_NONBLOCK, 0)) {
            String origin =
                    Overlay.origin(source)
                            .orElseGet(() -> known.getOrDefault(stat.inode(), Identity.NONE));
            Optional<Fd> same =
                    origin.isEmpty() ? Optional.empty() : lowerFile(origin, there, lower, name);
            if (same.isPresent()) {
                try (Fd file = same.get()) {
                    // Other names of the file on disk must not change with it unless the overlay
                    // keeps them together too.
                    boolean alone = Stat.of(file).links() == 1 || Overlay.linksKept(source);
                    if (alone) {
                        return staysTheSame(source, file, origin, path, stat, there);
                    }
                }
            }
            return place(upper, name, path, stat, there);
        }
    }

    /** The file on disk that the upper file came from, if it still exists. */
    private Optional<Fd> lowerFile(String origin, String there, Fd lower, FilePath name)
            throws LinuxException {
        Fd held = open.get(origin);
        if (held != null) {
            return Optional.of(held.duplicate());
        }
        try {
            Fd file =
                    origin.equals(there)
                            ? At.open(lower, name, At.O_RDONLY | At.O_NOFOLLOW | At.O_NONBLOCK, 0)
                            : io.rampipe.linux.FileHandle.parse(origin)
                                    .open(root, At.O_RDONLY | At.O_NONBLOCK);
            if (Stat.of(file).isRegular() && Stat.of(file).links() > 0) {
                return Optional.of(file);
            }
            file.close();
            return Optional.empty();
        } catch (LinuxException e) {
            if (e.is(Errno.ESTALE, Errno.ENOENT, Errno.ELOOP, Errno.ENXIO)) {
                return Optional.empty();
            }
            throw e;
        }
    }

    /** The file on disk remains, perhaps under a new name; only its changed blocks are written. */
    private boolean staysTheSame(
            Fd source, Fd file, String identity, FilePath path, Stat stat, String there)
            throws IOException {
        boolean newName = !identity.equals(there);
        if (newName) {
            int number = numbers++;
            staging.link(file, Staging.file(number));
            emit(new Op.Place(number, path, there));
        }
        Integer before = stat.links() > 1 ? links.putIfAbsent(stat.inode(), -1) : null;
        if (before == null) {
            boolean data = blocks(source, file, path, identity, stat);
            if (data || newName || !sameAttributes(source, file)) {
                emit(attributesOf(source, path, identity));
            }
        }
        return newName;
    }

    /** A whole new file, or another name of one. */
    private boolean place(Fd upper, FilePath name, FilePath path, Stat stat, String there)
            throws IOException {
        int number = numbers++;
        Integer first = stat.links() > 1 ? links.get(stat.inode()) : null;
        if (first != null && first >= 0) {
            try (Fd copy =
                    At.open(
                            staging.directory(),
                            Staging.file(first),
                            At.O_PATH | At.O_NOFOLLOW,
                            0)) {
                staging.link(copy, Staging.file(number));
            }
        } else {
            staged += staging.copy(upper, name, stat, Staging.file(number));
            if (stat.isRegular()) {
                placed.put(stat.inode(), Identity.of(staging.directory(), Staging.file(number)));
            }
            if (stat.links() > 1) {
                links.put(stat.inode(), number);
            }
        }
        changed += stat.isRegular() ? stat.size() : 0;
        if (isDirectory(there)) {
            trash(path, there);
            emit(new Op.Place(number, path, Identity.NONE));
        } else {
            emit(new Op.Place(number, path, there));
        }
        return true;
    }

    private boolean isDirectory(String identity) throws LinuxException {
        if (identity.isEmpty()) {
            return false;
        }
        try (Fd d = io.rampipe.linux.FileHandle.parse(identity).open(root, At.O_PATH)) {
            return Stat.of(d).isDirectory();
        }
    }

    /** A link, device, FIFO or socket. */
    private boolean other(Fd upper, Fd lower, FilePath name, FilePath path, Stat stat, String there)
            throws IOException {
        if (!there.isEmpty() && clean != null && clean.certainlyUnchanged(path, stat)) {
            return false;
        }
        if (!there.isEmpty() && stat.links() == 1) {
            Stat old = Stat.at(lower, name);
            try (Fd u = At.open(upper, name, At.O_PATH | At.O_NOFOLLOW, 0);
                    Fd l = At.open(lower, name, At.O_PATH | At.O_NOFOLLOW, 0)) {
                boolean equal =
                        stat.type() == old.type()
                                && stat.deviceNumber() == old.deviceNumber()
                                && old.links() == 1
                                && sameAttributes(u, l)
                                && (!stat.isSymlink() || At.readLink(u).equals(At.readLink(l)));
                if (equal) {
                    return false;
                }
            }
        }
        return place(upper, name, path, stat, there);
    }

    /** Changed blocks, new holes, another size. Returns true if there is anything. */
    private boolean blocks(Fd source, Fd file, FilePath path, String identity, Stat stat)
            throws IOException {
        long oldSize = Stat.of(file).size();
        long size = stat.size();
        boolean any = false;
        if (oldSize != size) {
            emit(new Op.Resize(path, identity, size));
            any = true;
        }
        long at = 0;
        while (at < size) {
            long data = Io.nextData(source, at);
            long holeEnd = data < 0 ? size : Math.min(size, data);
            if (holeEnd > at) {
                any |= hole(file, path, identity, at, Math.min(holeEnd, oldSize));
            }
            if (holeEnd >= size) {
                break;
            }
            long dataEnd = Math.min(size, Io.nextHole(source, holeEnd));
            any |= data(source, file, path, identity, holeEnd, dataEnd);
            at = dataEnd;
        }
        return any;
    }

    private boolean hole(Fd file, FilePath path, String identity, long from, long to)
            throws IOException {
        if (from >= to) {
            return false;
        }
        long data = Io.nextData(file, from);
        if (data < 0 || data >= to) {
            return false;
        }
        emit(new Op.Punch(path, identity, from, to - from));
        return true;
    }

    private boolean data(Fd source, Fd file, FilePath path, String identity, long from, long to)
            throws IOException {
        boolean any = false;
        for (long at = from; at < to; at += RedoLog.PIECE) {
            int length = (int) Math.min(RedoLog.PIECE, to - at);
            upperData.clear().limit(length);
            int n = Io.readFully(source, upperData, at);
            lowerData.clear().limit(n);
            int m = Io.readFully(file, lowerData, at);
            int start = -1;
            for (int block = 0; block < n; block += BLOCK) {
                int end = Math.min(n, block + BLOCK);
                boolean differs =
                        end > m
                                || upperData
                                                .slice(block, end - block)
                                                .mismatch(lowerData.slice(block, end - block))
                                        >= 0;
                if (differs && start < 0) {
                    start = block;
                }
                if (start >= 0 && (!differs || end == n)) {
                    int stop = differs ? end : block;
                    write(file, path, identity, at + start, upperData.slice(start, stop - start));
                    start = -1;
                    any = true;
                }
            }
            if (n < length) {
                break;
            }
        }
        return any;
    }

    private void write(Fd file, FilePath path, String identity, long offset, ByteBuffer data)
            throws IOException {
        int length = data.remaining();
        // Room for what is a hole on disk now, so that applying the committed log cannot fail for
        // lack of it.
        boolean allocated =
                offset + length <= Stat.of(file).size()
                        && Io.nextData(file, offset) == offset
                        && Io.nextHole(file, offset) >= offset + length;
        if (!allocated) {
            reserve(file, identity, offset, length);
        }
        log.accept(new Op.Write(path, identity, offset, length), data);
        changed += length;
    }

    private void reserve(Fd file, String identity, long offset, int length) throws LinuxException {
        try (Fd writable =
                open.containsKey(identity) ? file.duplicate() : At.reopen(file, At.O_WRONLY)) {
            Io.reserve(writable, offset, length);
        } catch (LinuxException e) {
            if (!e.is(Errno.EOPNOTSUPP)) {
                throw e;
            }
        }
    }
}
