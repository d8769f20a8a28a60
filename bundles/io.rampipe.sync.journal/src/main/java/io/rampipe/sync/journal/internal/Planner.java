package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.ByteBuffer;
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

        /** Where the overlay looks for more below upper; null if it does not. */
        FilePath below;

        boolean differs;

        /** Something is put into it or taken out of it on disk. */
        boolean touched;

        /** The overlay finds more of it under a former path. */
        boolean leans;

        /** Others have taken away, or the place of, what it was on disk. */
        boolean lost;

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
     * @param name on disk
     * @param lower what has that name on disk; null if nothing
     * @param above its name in upper: another one if others have taken that on disk
     */
    record Name(Dir dir, FilePath name, Stat lower, FilePath above) {}

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
    private final Drift drift;
    private final Set<Long> mapped;
    private final boolean mounted;

    private final Dir root = new Dir();
    private final Map<Long, Dir> byLower = new HashMap<>();
    private final Map<Long, Dir> redirected = new HashMap<>();
    private final Set<Long> astray = new HashSet<>();

    /** Former paths of directories that are opaque by {@link Absorber}; null: not looked for. */
    private List<FilePath> absorbed;

    /** What is removed on disk, with all that is in it. */
    private final Set<Long> going = new HashSet<>();

    private final Set<Long> claimed = new HashSet<>();

    /** Files on disk that are known to be ones in upper. */
    private final Set<Long> taken = new HashSet<>();

    private final List<Dir> directories = new ArrayList<>();
    private final Map<Long, Node> nodes = new LinkedHashMap<>();
    private final Map<Long, List<Name>> cleanNames = new HashMap<>();
    private final List<Removal> removals = new ArrayList<>();
    private final Digest digest = new Digest();

    /**
     * @param drift what others have changed on disk
     * @param mapped inode numbers of files whose times are not to be believed
     * @param mounted whether the overlay is there. Without it, programs may be waiting for files on
     *     disk that are held with leases; once let go they have the very file that they looked up,
     *     so that its successor would miss what they write: files must stay the same then
     */
    Planner(
            Disk.Place place,
            UpperLayer upper,
            Memory memory,
            Drift drift,
            Set<Long> mapped,
            boolean mounted) {
        this.drift = drift;
        this.mounted = mounted;
        this.place = place;
        this.upper = upper;
        this.memory = memory;
        this.mapped = mapped;
    }

    /** A fresh one for the same. */
    Planner again() {
        return new Planner(place, upper, memory, drift, mapped, mounted);
    }

    void look() throws IOException {
        root.inode = place.stat().inode();
        byLower.put(root.inode, root);
        root.below = NO_NAME;
        if (upper.wholeDirectory()) {
            findRedirects(upper.root(), root, root, NO_NAME);
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
     * @param path where the overlay looks for more below {@code dir}; null if it does not
     */
    private void findRedirects(Fd dir, Dir lower, Dir here, FilePath path) throws IOException {
        for (FilePath name : At.listDirectories(dir)) {
            try (Fd sub = openSub(dir, name)) {
                if (sub == null) {
                    continue;
                }
                Dir below = null;
                FilePath more = below(path, name, sub);
                FilePath redirect = UpperLayer.redirect(sub).orElse(null);
                if (redirect != null && (more != null || upper.mask() != null)) {
                    below = renamed(sub, lower, here, path, name, redirect);
                } else if (lower != null && !UpperLayer.isOpaque(sub)) {
                    below = lower(lower, name);
                }
                Dir there = below;
                if (there == null && here != null) {
                    there = there(here, name);
                }
                findRedirects(sub, below, there, more);
            }
        }
    }

    /**
     * Where the overlay looks for more of a directory: where its redirect leads, or by its name.
     *
     * @param path the same of the one that it is in; null if nowhere
     * @return null if nowhere
     */
    private static FilePath below(FilePath path, FilePath name, Fd sub) throws IOException {
        if (UpperLayer.isOpaque(sub)) {
            return null;
        }
        return below(path, UpperLayer.redirect(sub).orElse(name));
    }

    private static FilePath below(FilePath path, FilePath redirect) {
        if (redirect.isAbsolute()) {
            return FilePath.ofRaw(redirect.raw().replaceFirst("^/+", ""));
        }
        return path == null ? null : path.resolve(redirect);
    }

    /**
     * The directory on disk that a renamed one is: where its redirect leads. Unless it has been
     * taken to its place already, where another may be now: by an attempt that was cut short, or
     * because it has been absorbed.
     *
     * @param lower what the one merges with that it is in; null if nothing
     * @param here what is on disk where that one belongs; null if nothing
     */
    private Dir renamed(
            Fd sub, Dir lower, Dir here, FilePath path, FilePath name, FilePath redirect)
            throws IOException {
        Dir from = redirect.isAbsolute() ? root : lower;
        FilePath was = below(path, redirect);
        long origin = origin(sub, was);
        Dir below = from == null ? null : lower(from, redirect);
        if (origin != 0 && (below == null || below.inode != origin)) {
            Dir after = here == null ? null : there(here, name);
            below = after != null && after.inode == origin ? after : below;
        }
        boolean ours = below(path, name, sub) == null || isAbsorbed(was);
        if (origin != 0 && upper.mask() != null && (below == null || below.inode != origin)) {
            FilePath now = wherever(was, origin);
            Dir found = now == null || now.isEmpty() ? null : lower(root, now);
            // What has the name by now is another one.
            below = found != null && found.inode == origin ? found : null;
            ours |= now != null && now.isEmpty();
        } else if (origin == 0 && ours) {
            below = null;
        }
        long inode = Stat.of(sub).inode();
        if (redirected.containsKey(inode)) {
            throw new MovingException(name.toString());
        }
        if (below != null && !claimed.add(below.inode)) {
            // Others renamed it on disk, and it was renamed once more in RAM, from there: it shows
            // under both names, and can have but one on disk.
            below = null;
            ours = false;
        }
        if (below != null) {
            redirected.put(inode, below);
        } else if (!ours) {
            astray.add(inode);
        }
        return below;
    }

    /**
     * Where a directory on disk is now that had a path there.
     *
     * @return below the target; empty if an earlier syncback has taken it away; null if it is gone,
     *     or elsewhere, or cannot be found
     */
    private FilePath wherever(FilePath was, long origin) throws IOException {
        FileHandle handle = upper.mask().handle(was).orElse(null);
        if (handle == null) {
            return null;
        }
        try (Fd found = handle.open(place.disk().root(), At.O_PATH)) {
            String target = place.directory().currentPath().raw() + "/";
            String path = found.currentPath().raw();
            if (Stat.of(found).inode() != origin) {
                return null;
            }
            if (path.startsWith(target)) {
                return FilePath.ofRaw(path.substring(target.length()));
            }
            return path.startsWith("/" + Disk.HOME + "/") ? NO_NAME : null;
        } catch (LinuxException e) {
            if (!e.is(Errno.ESTALE, Errno.ENOENT, Errno.EOPNOTSUPP, Errno.EINVAL)) {
                throw e;
            }
            return null;
        }
    }

    /** Whether a directory, or one that it was in, has been absorbed. */
    private boolean isAbsorbed(FilePath was) throws IOException {
        if (upper.mask() == null) {
            return false;
        }
        if (absorbed == null) {
            absorbed = new ArrayList<>();
            findAbsorbed(upper.root(), NO_NAME);
        }
        return absorbed.stream().anyMatch(a -> a.contains(was));
    }

    private void findAbsorbed(Fd dir, FilePath path) throws IOException {
        for (FilePath name : At.listDirectories(dir)) {
            try (Fd sub = openSub(dir, name)) {
                if (sub != null) {
                    FilePath redirect = UpperLayer.redirect(sub).orElse(null);
                    FilePath was = redirect == null ? null : below(path, redirect);
                    if (was != null && UpperLayer.isOpaque(sub)) {
                        absorbed.add(was);
                    }
                    findAbsorbed(sub, below(path, name, sub));
                }
            }
        }
    }

    /** Inode number of the directory on disk that it was copied up from; 0 if it is not known. */
    private long origin(Fd sub, FilePath path) throws IOException {
        if (upper.mask() != null) {
            return path == null ? 0 : upper.mask().inode(path);
        }
        FileHandle handle = FileHandle.copiedUpFrom(sub).orElse(null);
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

    /**
     * The directory on disk under that name, or, if others have taken the name, under that of a
     * copy; null if there is none.
     */
    private Dir there(Dir dir, FilePath name) throws IOException {
        Dir found = lowerChild(dir, name);
        if (found != null || !drift.known()) {
            return found;
        }
        try (Fd disk = openLower(dir)) {
            for (int i = 1; found == null; i++) {
                FilePath copy = drift.conflictName(name, i);
                if (statOrNull(disk, copy) == null) {
                    return null;
                }
                found = lowerChild(dir, copy);
            }
        }
        return found;
    }

    private Dir lowerChild(Dir dir, FilePath name) throws IOException {
        FilePath path = dir.oldPath.resolve(name);
        try (Fd fd =
                At.openBeneathSameMount(place.directory(), path, At.O_PATH | At.O_DIRECTORY, 0)) {
            Stat stat = Stat.of(fd);
            return drift.changed(dir.inode, name, stat) ? null : lowerDir(dir, name, stat);
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
        List<FilePath> names = upper.names(dir);
        Set<FilePath> rest = complete && disk != null ? new HashSet<>(At.list(disk)) : Set.of();
        for (FilePath name : names) {
            Stat s = UpperLayer.stat(dir, name);
            digest.add(self.upperInode, name, s);
            if (!rest.isEmpty()) {
                rest.remove(name);
            }
            boolean gone = !s.isDirectory() && UpperLayer.isWhiteout(dir, name, s);
            Spot at = new Spot(name, disk == null ? null : statOrNull(disk, name));
            if (gone) {
                remove(self, disk, at);
                continue;
            }
            if (disk != null) {
                at = place(dir, self, disk, names, at, s);
            }
            if (s.isDirectory()) {
                directory(dir, self, disk, complete, name, s, at);
            } else {
                file(self, name, s, disk, at);
            }
        }
        if (disk != null && !complete && self.below != null && upper.mask() != null) {
            // Deleted since they were put on disk, and hidden there.
            rest = new HashSet<>(upper.mask().hidden(self.below, new HashSet<>(names)));
        }
        for (FilePath name : rest) {
            if (!drift.isConflictName(name)) {
                remove(self, disk, new Spot(name, statOrNull(disk, name)));
            }
        }
    }

    /**
     * A name on disk.
     *
     * @param below what has it; null if nothing
     */
    private record Spot(FilePath name, Stat below) {}

    /** Where something in upper goes on disk: to its own name, unless others have changed that. */
    private Spot place(Fd dir, Dir self, Fd disk, List<FilePath> names, Spot own, Stat s)
            throws IOException {
        Stat below = own.below();
        if (!drift.known() || !conflict(self, disk, own, s)) {
            return own;
        }
        FilePath path = self.newPath().resolve(own.name());
        if (below == null) {
            drift.report(
                    path,
                    NO_NAME,
                    "was moved or removed on disk by others; "
                            + (s.isDirectory()
                                    ? "what had been changed in it in RAM is there again"
                                    : "it is there again, as it is in RAM"));
            return own;
        }
        if (agrees(dir, own.name(), s, disk, below)) {
            drift.agreed(self.inode, own.name(), below);
            return own;
        }
        for (int i = 1; ; i++) {
            FilePath name = drift.conflictName(own.name(), i);
            Stat there = statOrNull(disk, name);
            if (!names.contains(name)
                    && (there == null || !drift.changed(self.inode, name, there))) {
                drift.report(
                        path,
                        self.newPath().resolve(name),
                        "was changed on disk by others; the version in RAM is kept as");
                return new Spot(name, there);
            }
        }
    }

    /** Whether others have changed what has the name on disk, where it is in the way. */
    private boolean conflict(Dir self, Fd disk, Spot own, Stat s) throws IOException {
        Stat below = own.below();
        boolean changed = drift.changed(self.inode, own.name(), below);
        if (below == null || !below.isDirectory()) {
            return changed;
        }
        if (claimed.contains(below.inode())) {
            // It goes elsewhere.
            return false;
        }
        Dir child = redirected.get(s.inode());
        boolean stays = s.isDirectory() && (child == null || child.inode == below.inode());
        return changed || !stays && drift.changedBelow(disk, own.name(), new HashSet<>());
    }

    /** Whether a file is the same on disk and in RAM, whoever has put it there. */
    private static boolean agrees(Fd dir, FilePath name, Stat s, Fd disk, Stat below)
            throws IOException {
        if (s.type() != below.type() || s.isDirectory() || s.size() != below.size()) {
            return false;
        }
        int flags = s.isRegular() ? UpperLayer.READ | At.O_NONBLOCK : At.O_PATH | At.O_NOFOLLOW;
        try (Fd above = UpperLayer.open(dir, name, flags);
                Fd lower = At.open(disk, name, flags, 0)) {
            Stat now = Stat.of(lower);
            if (!now.unchangedSince(below)
                    || !Attributes.of(above, s).sameAs(Attributes.of(lower, now), s.isSymlink())) {
                return false;
            }
            return switch (s.type()) {
                case Stat.REGULAR -> sameData(above, lower, s.size());
                case Stat.SYMLINK -> At.readLink(above).equals(At.readLink(lower));
                default -> s.deviceNumber() == below.deviceNumber();
            };
        } catch (LinuxException e) {
            // Whatever keeps it from being looked at: it is not known to agree.
            return false;
        }
    }

    private static boolean sameData(Fd above, Fd below, long size) throws IOException {
        boolean[] differs = {false};
        new FileData()
                .compare(
                        above,
                        size,
                        below,
                        size,
                        null,
                        new FileData.Changes() {
                            @Override
                            public void data(long offset, ByteBuffer bytes) {
                                differs[0] = true;
                            }

                            @Override
                            public void hole(long offset, long length) {
                                differs[0] = true;
                            }
                        });
        return !differs[0];
    }

    private void directory(
            Fd dir, Dir self, Fd disk, boolean complete, FilePath name, Stat s, Spot at)
            throws IOException {
        Stat below = at.below();
        try (Fd sub = UpperLayer.open(dir, name, UpperLayer.READ | At.O_DIRECTORY)) {
            Dir child = redirected.get(s.inode());
            boolean childComplete = UpperLayer.isOpaque(sub);
            if (child == null) {
                if (below != null && below.isDirectory() && !claimed.contains(below.inode())) {
                    sameMount(name, below);
                    child = lowerDir(self, at.name(), below);
                    childComplete |= complete || !at.name().equals(name);
                } else {
                    child = new Dir();
                    child.lost =
                            self.lost
                                    || below == null && drift.had(self.inode, name)
                                    || !at.name().equals(name)
                                    || astray.contains(s.inode());
                    childComplete = true;
                    if (astray.contains(s.inode())) {
                        drift.report(
                                self.newPath().resolve(at.name()),
                                NO_NAME,
                                "was moved or removed on disk by others under its former name; here"
                                        + " is only what had been changed in RAM");
                    }
                }
            }
            if (child.newParent != null) {
                // Renamed while it was looked at, to a name that was still to come: in RAM, or on
                // disk by others.
                throw new MovingException(name.toString());
            }
            if (below != null && below.inode() != child.inode) {
                remove(self, disk, at);
            }
            child.newParent = self;
            child.below = below(self.below, name, sub);
            child.leans =
                    child.below != null
                            && !astray.contains(s.inode())
                            && UpperLayer.redirect(sub).isPresent();
            child.newName = at.name();
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
        Stat now = disk == null ? null : Stat.of(disk);
        if (now != null && drift.knows(now) && drift.changed(now)) {
            // Others gave it another owner or mode, and theirs stay.
            dir.attributes = Attributes.of(disk, now);
            drift.keepAttributes(now.inode());
            if (drift.changed(now, Stat.of(sub))) {
                drift.report(
                        dir.newPath(),
                        NO_NAME,
                        "has another owner or mode since others changed it on disk, which stays;"
                                + " so that from RAM is lost");
            }
            return;
        }
        dir.attributes = Attributes.of(sub, Stat.of(sub));
        dir.differs =
                disk == null || !dir.attributes.sameAs(Attributes.of(disk, Stat.of(disk)), false);
    }

    private void remove(Dir dir, Fd disk, Spot at) throws IOException {
        Stat below = at.below();
        if (below == null || below.isDirectory() && claimed.contains(below.inode())) {
            // A renamed directory is not removed here; it is taken to its new place.
            return;
        }
        if (below.isDirectory()) {
            sameMount(at.name(), below);
        }
        Set<Long> inside = new HashSet<>();
        if (drift.changed(dir.inode, at.name(), below)
                || below.isDirectory() && drift.changedBelow(disk, at.name(), inside)) {
            drift.report(
                    dir.newPath().resolve(at.name()),
                    NO_NAME,
                    "was removed in RAM, but changed on disk by others, and stays"
                            + (below.isDirectory()
                                    ? ""
                                    : drift.difference(dir.inode, at.name(), below)));
            return;
        }
        going.addAll(inside);
        going.add(below.inode());
        removals.add(new Removal(dir, at.name(), below));
    }

    private void file(Dir dir, FilePath name, Stat s, Fd disk, Spot at) throws IOException {
        Stat below = at.below();
        if (below != null && below.isDirectory()) {
            remove(dir, disk, at);
            below = null;
        }
        Name n = new Name(dir, at.name(), below, name);
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
                // Not to be changed into another file, though all its names may be taken by now.
                taken.add(known.lower());
                continue;
            }
            Node node = new Node(s);
            node.indexName = name;
            nodes.put(s.inode(), node);
        }
    }

    private void identify() throws IOException {
        UpperDirectories dirs = new UpperDirectories(upper);
        try {
            for (Node n : nodes.values()) {
                List<Name> more = cleanNames.get(n.upper.inode());
                if (more != null) {
                    n.names.addAll(more);
                }
                byOrigin(n, dirs);
            }
        } finally {
            dirs.close();
        }
        for (Node n : nodes.values()) {
            if (n.lower == null && !n.names.isEmpty() && n.upper.isRegular()) {
                byName(n);
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
        nodes.values().removeIf(n -> n.names.isEmpty() && n.lower == null);
    }

    /** It was copied up from there. */
    private void byOrigin(Node n, UpperDirectories dirs) throws IOException {
        try (Fd fd = dirs.openToLook(n)) {
            UpperLayer.refuseMetacopy(fd);
            FileHandle origin = FileHandle.copiedUpFrom(fd).orElse(null);
            if (origin == null) {
                return;
            }
            try (Fd below = origin.open(place.disk().root(), At.O_PATH)) {
                Stat s = Stat.of(below);
                boolean linksKept =
                        upper.indexed() || s.links() == countNames(n, s.inode()) || s.links() == 1;
                if (drift.changed(s)) {
                    keepIndexed(n, s);
                } else if (s.device() == place.stat().device()
                        && s.type() == n.upper.type()
                        && s.links() > 0
                        && linksKept
                        && isOurs(n, s)
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

    /**
     * A file in the index has no name in upper by which it could be kept beside that on disk, which
     * others have changed: it gets one in the target's own directory.
     */
    private void keepIndexed(Node n, Stat below) throws IOException {
        if (n.indexName == null || below.links() == 0 || !upper.wholeDirectory()) {
            return;
        }
        FilePath name = FilePath.of("inode-" + Long.toUnsignedString(below.inode()));
        for (int i = 1; ; i++) {
            FilePath copy = drift.conflictName(name, i);
            Stat there = statOrNull(place.directory(), copy);
            if (there == null || !drift.changed(root.inode, copy, there)) {
                drift.report(
                        name,
                        copy,
                        "(a file by the number of its inode, all of whose names are on disk) was"
                                + " changed on disk by others; the version in RAM is kept as");
                n.names.add(new Name(root, copy, there, copy));
                return;
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

    /**
     * Whether the file below, which others have not changed, is still where it was: else it would
     * be changed where they have put it. A name of its own, or one that is removed, shows that; of
     * several names others may be nobody's business here. What is in the index only has its names
     * on disk, in directories that need not be in upper, even if there is just one left.
     */
    private boolean isOurs(Node n, Stat below) {
        return !drift.known()
                || n.names.stream().noneMatch(m -> m.dir().lost)
                        && (below.links() > 1
                                || n.indexName != null
                                || countNames(n, below.inode()) > 0
                                || going.contains(below.inode()));
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
    private void byName(Node n) {
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

    /** Directories that must not change places on disk as long as the overlay is mounted. */
    List<Dir> leaning() {
        return directories.stream().filter(d -> d.leans && (d.isNew() || d.moved())).toList();
    }

    UpperLayer upper() {
        return upper;
    }
}
