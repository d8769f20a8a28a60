package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Compares an upper layer with the directory on disk and finds out which directories and files of
 * the merged tree are which on disk. Changes nothing. One thread, once.
 */
final class Planner {
    private static final FilePath NO_NAME = FilePath.of("");

    /** A directory of the merged tree, or one on disk that others are found below. */
    static final class Dir {
        /** 0: not on disk yet. */
        long inode;

        Dir oldParent;
        FilePath oldName = NO_NAME;
        FilePath oldPath = NO_NAME;
        Dir newParent;
        FilePath newName = NO_NAME;
        FilePath upperPath = NO_NAME;
        long upperInode;

        /** What it shall have; null if upper does not say. */
        Attributes attributes;

        Stat upper;
        boolean differs;

        /** Something is put into it or taken out of it on disk. */
        boolean touched;

        FilePath staged = NO_NAME;
        int id = LogRecord.NONE;

        boolean isNew() {
            return inode == 0;
        }

        boolean moved() {
            return !isNew()
                    && newParent != null
                    && oldParent != null
                    && (newParent != oldParent || !newName.equals(oldName));
        }

        /** Path below the target when all is done. */
        FilePath newPath() {
            return newParent == null ? NO_NAME : newParent.newPath().resolve(newName);
        }
    }

    /**
     * A name of a file.
     *
     * @param lower what has that name on disk; null if nothing
     */
    record Name(Dir dir, FilePath name, Stat lower) {}

    /** Anything but a directory, with all its names. */
    static final class Node {
        final Stat upper;
        final List<Name> names = new ArrayList<>(1);

        /** Its name in the index if it has no name in upper; else null. */
        FilePath indexName;

        FileHandle origin;

        /** The file on disk that it is; null if it is new. */
        Stat lower;

        /** May be replaced on disk instead of being changed in place. */
        boolean replaceable;

        boolean mapped;
        int crc;

        /** Copied while it was at rest; for a regular file they are in its copy. */
        Attributes attributes;

        /** Of a symbolic link. */
        FilePath text;

        Node(Stat upper) {
            this.upper = upper;
        }
    }

    /** A name on disk that goes. */
    record Removal(Dir dir, FilePath name, Stat lower) {}

    private final Disk.Place place;
    private final UpperLayer upper;
    private final Memory memory;
    private final Set<Long> mapped;
    private final boolean mounted;

    private final Dir root = new Dir();
    private final Map<Long, Dir> byLower = new HashMap<>();
    private final Map<Long, Dir> redirected = new HashMap<>();
    private final Set<Long> claimed = new HashSet<>();

    private final List<Dir> directories = new ArrayList<>();
    private final Map<Long, Node> nodes = new LinkedHashMap<>();
    private final Map<Long, List<Name>> cleanNames = new HashMap<>();
    private final List<Removal> removals = new ArrayList<>();
    private final Digest digest = new Digest();

    /**
     * @param mapped inode numbers of files whose times are not to be believed
     * @param mounted whether the overlay is there. Without it, programs may be waiting for files on
     *     disk that are held with leases; once let go they have the very file that they looked up,
     *     so that its successor would miss what they write: files must stay the same then
     */
    Planner(Disk.Place place, UpperLayer upper, Memory memory, Set<Long> mapped, boolean mounted) {
        this.mounted = mounted;
        this.place = place;
        this.upper = upper;
        this.memory = memory;
        this.mapped = mapped;
    }

    /** A fresh one for the same. */
    Planner again() {
        return new Planner(place, upper, memory, mapped, mounted);
    }

    void look() throws IOException {
        root.inode = place.stat().inode();
        byLower.put(root.inode, root);
        if (upper.wholeDirectory()) {
            findRedirects(upper.root(), root, root);
        }
        Stat s = Stat.of(upper.root());
        digest.add(0, NO_NAME, s);
        root.upper = s;
        root.upperInode = s.inode();
        directories.add(root);
        walk(upper.root(), root, place.directory(), false);
        if (upper.wholeDirectory()) {
            compareAttributes(upper.root(), root, place.directory());
        }
        lookAtIndex();
        identify();
        markTouched();
    }

    // Renamed directories

    /**
     * Which directories on disk are parts of renamed ones, and so are not what their names say.
     *
     * @param lower what {@code dir} merges with; null if nothing
     * @param here what is on disk where {@code dir} belongs; null if nothing
     */
    private void findRedirects(Fd dir, Dir lower, Dir here) throws IOException {
        for (FilePath name : At.listDirectories(dir)) {
            try (Fd sub = openSub(dir, name)) {
                if (sub == null) {
                    continue;
                }
                Dir below = null;
                FilePath redirect = UpperLayer.redirect(sub).orElse(null);
                if (UpperLayer.isOpaque(sub)) {
                    redirect = null;
                } else if (redirect != null) {
                    Dir before = lower(redirect.isAbsolute() ? root : lower, redirect);
                    below = renamed(origin(sub), before, here, name);
                } else if (lower != null) {
                    below = lower(lower, name);
                }
                if (redirect != null && below != null) {
                    redirected.put(Stat.of(sub).inode(), below);
                    claimed.add(below.inode);
                }
                Dir there = below;
                if (there == null && here != null) {
                    there = lower(here, name);
                }
                findRedirects(sub, below, there);
            }
        }
    }

    /**
     * The directory on disk that a renamed one is: where its redirect leads. Unless an attempt that
     * was cut short has taken it to its place already, where another may be now.
     *
     * @param here what is on disk where the one belongs that it is in; null if nothing
     */
    private Dir renamed(long origin, Dir before, Dir here, FilePath name) throws IOException {
        if (origin == 0 || before != null && before.inode == origin) {
            return before;
        }
        Dir after = here == null ? null : lower(here, name);
        return after != null && after.inode == origin ? after : before;
    }

    /** Inode number of the directory on disk that it was copied up from; 0 if it is not known. */
    private long origin(Fd sub) throws IOException {
        FileHandle handle = UpperLayer.origin(sub).orElse(null);
        if (handle == null) {
            return 0;
        }
        try (Fd below = handle.open(place.disk().root(), At.O_PATH)) {
            Stat s = Stat.of(below);
            return s.device() == place.stat().device() ? s.inode() : 0;
        } catch (LinuxException e) {
            if (!e.is(Errno.ESTALE, Errno.ENOENT, Errno.EOPNOTSUPP, Errno.EINVAL)) {
                throw e;
            }
            return 0;
        }
    }

    private static Fd openSub(Fd dir, FilePath name) throws IOException {
        try {
            return At.open(dir, name, UpperLayer.READ | At.O_DIRECTORY, 0);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOTDIR, Errno.ELOOP)) {
                return null;
            }
            if (e.is(Errno.ENOENT)) {
                throw new MovingException(name.toString());
            }
            throw e;
        }
    }

    /** A directory on disk by its path there, or null if there is none. */
    private Dir lower(Dir from, FilePath path) throws IOException {
        Dir dir = from;
        for (String component : path.raw().split("/")) {
            if (component.isEmpty()) {
                continue;
            }
            FilePath name = FilePath.ofRaw(component);
            if (dir == null || !LogFormat.isName(name)) {
                return null;
            }
            dir = lowerChild(dir, name);
        }
        return dir;
    }

    private Dir lowerChild(Dir dir, FilePath name) throws IOException {
        FilePath path = dir.oldPath.resolve(name);
        try (Fd fd =
                At.openBeneathSameMount(place.directory(), path, At.O_PATH | At.O_DIRECTORY, 0)) {
            return lowerDir(dir, name, Stat.of(fd));
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                return null;
            }
            throw e;
        }
    }

    private Dir lowerDir(Dir parent, FilePath name, Stat stat) {
        return byLower.computeIfAbsent(
                stat.inode(),
                i -> {
                    Dir d = new Dir();
                    d.inode = i;
                    d.oldParent = parent;
                    d.oldName = name;
                    d.oldPath = parent.oldPath.resolve(name);
                    return d;
                });
    }

    // Names

    /**
     * @param disk the directory on disk; null if there is none yet
     * @param complete whether nothing but what is in upper shall remain
     */
    private void walk(Fd dir, Dir self, Fd disk, boolean complete) throws IOException {
        Set<FilePath> rest = complete && disk != null ? new HashSet<>(At.list(disk)) : Set.of();
        for (FilePath name : upper.names(dir)) {
            Stat s = UpperLayer.stat(dir, name);
            digest.add(self.upperInode, name, s);
            Stat below = disk == null ? null : statOrNull(disk, name);
            if (complete && disk != null) {
                rest.remove(name);
            }
            if (s.isDirectory()) {
                directory(dir, self, disk, complete, name, s, below);
            } else if (UpperLayer.isWhiteout(dir, name, s)) {
                remove(self, name, below);
            } else {
                file(self, name, s, below);
            }
        }
        for (FilePath name : rest) {
            remove(self, name, statOrNull(disk, name));
        }
    }

    private void directory(
            Fd dir, Dir self, Fd disk, boolean complete, FilePath name, Stat s, Stat below)
            throws IOException {
        try (Fd sub = UpperLayer.open(dir, name, UpperLayer.READ | At.O_DIRECTORY)) {
            Dir child = redirected.get(s.inode());
            boolean childComplete = false;
            if (child == null) {
                if (below != null && below.isDirectory() && !claimed.contains(below.inode())) {
                    sameMount(name, below);
                    child = lowerDir(self, name, below);
                    childComplete = complete || UpperLayer.isOpaque(sub);
                } else {
                    child = new Dir();
                    childComplete = true;
                }
            }
            if (child.newParent != null) {
                throw new IOException(
                        "two directories in RAM are the same on disk: "
                                + child.newPath()
                                + " and "
                                + self.newPath().resolve(name));
            }
            if (below != null && below.inode() != child.inode) {
                remove(self, name, below);
            }
            child.newParent = self;
            child.newName = name;
            child.upperPath = self.upperPath.resolve(name);
            child.upperInode = s.inode();
            child.upper = s;
            directories.add(child);
            if (child.isNew()) {
                walk(sub, child, null, true);
                compareAttributes(sub, child, null);
                return;
            }
            try (Fd childDisk = openLower(child)) {
                walk(sub, child, childDisk, childComplete);
                compareAttributes(sub, child, childDisk);
            }
        }
    }

    private Fd openLower(Dir dir) throws IOException {
        Fd fd =
                At.openBeneathSameMount(
                        place.directory(), dir.oldPath, At.O_RDONLY | At.O_DIRECTORY, 0);
        if (Stat.of(fd).inode() != dir.inode) {
            fd.close();
            throw new IOException(dir.oldPath + " was replaced on disk while being compared");
        }
        return fd;
    }

    private void sameMount(FilePath name, Stat below) throws IOException {
        if (below.mount() != place.stat().mount() || below.device() != place.stat().device()) {
            throw new IOException(name + " on disk is on another file system than the target");
        }
    }

    private void compareAttributes(Fd sub, Dir dir, Fd disk) throws IOException {
        Memory.Entry known = memory.get(dir.upperInode);
        if (disk != null
                && known != null
                && known.matches(dir.upper)
                && known.onDisk(Stat.of(disk))
                && !dir.moved()) {
            return;
        }
        dir.attributes = Attributes.of(sub, Stat.of(sub));
        dir.differs =
                disk == null || !dir.attributes.sameAs(Attributes.of(disk, Stat.of(disk)), false);
    }

    private void remove(Dir dir, FilePath name, Stat below) throws IOException {
        if (below == null || below.isDirectory() && claimed.contains(below.inode())) {
            // A renamed directory is not removed here; it is taken to its new place.
            return;
        }
        if (below.isDirectory()) {
            sameMount(name, below);
        }
        removals.add(new Removal(dir, name, below));
    }

    private void file(Dir dir, FilePath name, Stat s, Stat below) throws IOException {
        if (below != null && below.isDirectory()) {
            remove(dir, name, below);
        }
        Name n = new Name(dir, name, below == null || below.isDirectory() ? null : below);
        Memory.Entry known = memory.get(s.inode());
        if (known != null
                && known.matches(s)
                && known.onDisk(below)
                && !mapped.contains(s.inode())
                && !mapped.contains(below.inode())) {
            if (known.names() > 1) {
                cleanNames.computeIfAbsent(s.inode(), k -> new ArrayList<>(2)).add(n);
            }
            return;
        }
        nodes.computeIfAbsent(s.inode(), k -> new Node(s)).names.add(n);
    }

    private static Stat statOrNull(Fd dir, FilePath name) throws IOException {
        try {
            return Stat.at(dir, name);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return null;
            }
            throw e;
        }
    }

    // Which file is which

    private void lookAtIndex() throws IOException {
        if (!upper.indexed()) {
            return;
        }
        for (FilePath name : At.list(upper.index())) {
            Stat s = UpperLayer.stat(upper.index(), name);
            if (!UpperLayer.onlyInIndex(s)) {
                continue;
            }
            digest.add(-1, name, s);
            Memory.Entry known = memory.get(s.inode());
            if (known != null && known.matches(s) && !mapped.contains(s.inode())) {
                continue;
            }
            Node node = new Node(s);
            node.indexName = name;
            nodes.put(s.inode(), node);
        }
    }

    private void identify() throws IOException {
        Set<Long> taken = new HashSet<>();
        UpperDirectories dirs = new UpperDirectories(upper);
        try {
            for (Node n : nodes.values()) {
                List<Name> more = cleanNames.get(n.upper.inode());
                if (more != null) {
                    n.names.addAll(more);
                }
                byOrigin(n, dirs, taken);
            }
        } finally {
            dirs.close();
        }
        for (Node n : nodes.values()) {
            if (n.lower == null && n.indexName == null && n.upper.isRegular()) {
                byName(n, taken);
            }
            n.mapped =
                    mapped.contains(n.upper.inode())
                            || n.lower != null && mapped.contains(n.lower.inode())
                            || n.names.stream()
                                    .anyMatch(
                                            m ->
                                                    m.lower() != null
                                                            && mapped.contains(m.lower().inode()));
        }
        nodes.values().removeIf(n -> n.indexName != null && n.lower == null);
    }

    /** It was copied up from there. */
    private void byOrigin(Node n, UpperDirectories dirs, Set<Long> taken) throws IOException {
        try (Fd fd = dirs.openToLook(n)) {
            UpperLayer.refuseMetacopy(fd);
            FileHandle origin = UpperLayer.origin(fd).orElse(null);
            if (origin == null) {
                return;
            }
            try (Fd below = origin.open(place.disk().root(), At.O_PATH)) {
                Stat s = Stat.of(below);
                boolean linksKept =
                        upper.indexed() || s.links() == countNames(n, s.inode()) || s.links() == 1;
                if (s.device() == place.stat().device()
                        && s.type() == n.upper.type()
                        && s.links() > 0
                        && linksKept
                        && same(n, fd, below, s)
                        && taken.add(s.inode())) {
                    n.lower = s;
                    n.origin = origin;
                }
            } catch (LinuxException e) {
                if (!e.is(Errno.ESTALE, Errno.ENOENT, Errno.EOPNOTSUPP, Errno.EINVAL)) {
                    throw e;
                }
            }
        }
    }

    /** What makes a file of a kind without data what it is. */
    private static boolean same(Node n, Fd fd, Fd below, Stat s) throws IOException {
        return switch (s.type()) {
            case Stat.SYMLINK -> At.readLink(fd).equals(At.readLink(below));
            case Stat.CHARACTER, Stat.BLOCK -> s.deviceNumber() == n.upper.deviceNumber();
            default -> true;
        };
    }

    private static int countNames(Node n, long inode) {
        int count = 0;
        for (Name m : n.names) {
            if (m.lower() != null && m.lower().inode() == inode) {
                count++;
            }
        }
        return count;
    }

    /**
     * It has replaced a file of the same name, which has no other names: then that file may as well
     * get the new data, where that is less to write.
     */
    private void byName(Node n, Set<Long> taken) {
        for (Name m : n.names) {
            Stat s = m.lower();
            if (s != null
                    && s.isRegular()
                    && s.links() == countNames(n, s.inode())
                    && taken.add(s.inode())) {
                n.lower = s;
                n.replaceable = mounted;
                return;
            }
        }
    }

    private void markTouched() {
        for (Removal r : removals) {
            r.dir().touched = true;
        }
        for (Dir d : directories) {
            if (d.newParent != null && (d.isNew() ? !d.newParent.isNew() : d.moved())) {
                d.newParent.touched = true;
            }
            if (d.moved()) {
                d.oldParent.touched = true;
                d.touched = true;
            }
        }
    }

    // What was found

    /** The attributes that a directory shall have. */
    Attributes wanted(Dir d) throws IOException {
        if (d.attributes == null) {
            try (Fd fd = upper.openDirectory(d.upperPath)) {
                Stat now = Stat.of(fd);
                if (!now.unchangedSince(d.upper)) {
                    throw new MovingException(d.upperPath.toString());
                }
                d.attributes = Attributes.of(fd, now);
            }
        }
        return d.attributes;
    }

    boolean mounted() {
        return mounted;
    }

    Digest digest() {
        return digest;
    }

    Dir root() {
        return root;
    }

    /** Parents before children, the root first. */
    List<Dir> directories() {
        return directories;
    }

    Iterable<Node> nodes() {
        return nodes.values();
    }

    List<Removal> removals() {
        return removals;
    }

    /** Whether directories that are on disk change places. */
    boolean moves() {
        return directories.stream().anyMatch(Dir::moved);
    }

    UpperLayer upper() {
        return upper;
    }
}
