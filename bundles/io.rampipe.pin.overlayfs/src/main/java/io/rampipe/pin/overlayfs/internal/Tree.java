package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.linux.At;
import io.rampipe.linux.Baseline;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.InodeFlags;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import io.rampipe.pin.Place;
import io.rampipe.pin.SingleFile;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Everything below a directory target as it was seen on one walk, every part of which may be under
 * a pin. Walks by descriptors, one level at a time, so that no link and no renaming leads out.
 */
final class Tree {
    /** Each level costs an open descriptor during a walk. */
    private static final int MOST_LEVELS = 128;

    private static final int TO_LIST = At.O_RDONLY | At.O_DIRECTORY | At.O_NOFOLLOW | At.O_NOATIME;

    private final FilePath target;
    private final Stat root;
    private final Map<Long, FilePath> swapFiles;
    private final int mostNames;
    private final Map<FilePath, Stat> files = new HashMap<>();
    private final Map<FilePath, Stat> others = new HashMap<>();
    private final List<Directory> directories = new ArrayList<>();
    private final Map<Long, Integer> linked = new HashMap<>();
    private final Set<Long> inodes = new HashSet<>();
    private final Baseline baseline = new Baseline();
    private int names;

    /** A directory, with a digest of the names in it: time stamps alone are too coarse. */
    private record Directory(FilePath path, Stat stat, long digest) {}

    /** Takes part in a walk. */
    @FunctionalInterface
    interface Visitor {
        /** Called once for each regular file, whatever number of names it has. */
        void regular(Fd dir, FilePath name, FilePath path, Stat stat) throws IOException;
    }

    private Tree(FilePath target, Stat root, Map<Long, FilePath> swapFiles, int mostNames) {
        this.target = target;
        this.root = root;
        this.swapFiles = swapFiles;
        this.mostNames = mostNames;
    }

    /**
     * Walks.
     *
     * @param target path for messages
     * @param directory the target, O_PATH will do
     * @param swapFiles inode numbers and names of the swap files on its device
     * @throws RefusedException if anything below forbids pinning
     */
    static Tree walk(
            FilePath target,
            Fd directory,
            Map<Long, FilePath> swapFiles,
            int mostNames,
            Visitor visitor)
            throws IOException {
        try (Fd top = At.reopen(directory, TO_LIST & ~At.O_NOFOLLOW)) {
            Tree tree = new Tree(target, Stat.of(top), swapFiles, mostNames);
            tree.directory(top, FilePath.of(""), tree.root, 0, visitor);
            tree.checkLinks();
            return tree;
        }
    }

    /** The target itself, as it was when the walk began. */
    Stat root() {
        return root;
    }

    /** Regular files by their paths below the target. */
    Map<FilePath, Stat> files() {
        return files;
    }

    /** Links, device nodes and directories by their paths below the target. */
    Map<FilePath, Stat> others() {
        return others;
    }

    /** Number of directories, the target included. */
    int count() {
        return directories.size();
    }

    /** All that was seen. */
    Baseline baseline() {
        return baseline;
    }

    boolean hasFile(long inode) {
        return inodes.contains(inode);
    }

    /**
     * Whether the directories are as they were, names included; files are the visitor's to compare.
     *
     * @param directory opened before anything covered it
     * @return what changed; empty if nothing
     */
    String changed(Fd directory) throws IOException {
        for (Directory before : directories) {
            try (Fd now = At.openBeneathSameMount(directory, before.path, TO_LIST, 0)) {
                if (!Stat.of(now).unchangedSince(before.stat)
                        || digest(At.list(now)) != before.digest) {
                    return path(before.path);
                }
            } catch (LinuxException e) {
                if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.EXDEV)) {
                    return path(before.path);
                }
                throw e;
            }
        }
        return "";
    }

    private void directory(Fd dir, FilePath path, Stat stat, int level, Visitor visitor)
            throws IOException {
        if (level > MOST_LEVELS) {
            throw new RefusedException(
                    Cause.TOO_LARGE,
                    target + " has directories more than " + MOST_LEVELS + " levels deep");
        }
        checkDirectory(dir, path, stat);
        List<FilePath> here = At.list(dir);
        directories.add(new Directory(path, stat, digest(here)));
        baseline.directory(stat);
        names += here.size();
        if (names > mostNames) {
            throw new RefusedException(
                    Cause.TOO_LARGE,
                    target
                            + " has more than "
                            + mostNames
                            + " files and directories (overlayfs.max_files)");
        }
        for (FilePath name : here) {
            FilePath child = path.resolve(name);
            try {
                entry(dir, stat.inode(), name, child, level, visitor);
            } catch (LinuxException e) {
                // Removed or replaced since it was listed: the directory's change time tells.
                if (!e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                    throw e;
                }
            }
        }
    }

    private void entry(Fd dir, long inode, FilePath name, FilePath path, int level, Visitor visitor)
            throws IOException {
        Stat stat = Stat.at(dir, name);
        if (stat.mount() != root.mount()) {
            throw new RefusedException(Cause.MOUNT_POINT, path(path) + " is a mount point");
        }
        if (stat.device() != root.device()) {
            throw new RefusedException(
                    Cause.MOUNT_POINT, path(path) + " is the root of another volume");
        }
        baseline.name(inode, name, stat);
        if (!stat.isRegular()) {
            others.put(path, stat);
        }
        switch (stat.type()) {
            case Stat.DIRECTORY -> {
                try (Fd sub = At.open(dir, name, TO_LIST, 0)) {
                    directory(sub, path, Stat.of(sub), level + 1, visitor);
                }
            }
            case Stat.REGULAR -> {
                if (checkRegular(path, stat)) {
                    visitor.regular(dir, name, path, stat);
                }
            }
            case Stat.SOCKET ->
                    throw new RefusedException(
                            Cause.SPECIAL_FILE,
                            path(path)
                                    + " is a socket: connections through an overlay would not reach"
                                    + " its owner");
            case Stat.FIFO ->
                    throw new RefusedException(
                            Cause.SPECIAL_FILE,
                            path(path) + " is a FIFO: its two ends could be on different layers");
            default -> {
                // Links and device nodes mean the same through an overlay.
            }
        }
    }

    private void checkDirectory(Fd dir, FilePath path, Stat stat) throws IOException {
        SingleFile.checkAttributes(path(path), stat);
        if ((InodeFlags.of(dir) & InodeFlags.CASEFOLD) != 0) {
            throw new RefusedException(
                    Cause.UNSUPPORTED,
                    path(path) + " ignores case in names (chattr +F), which overlayfs does not");
        }
    }

    /** True at the first name of the file. */
    private boolean checkRegular(FilePath path, Stat stat) throws RefusedException {
        SingleFile.checkAttributes(path(path), stat);
        if (swapFiles.containsKey(stat.inode())) {
            throw new RefusedException(Cause.SWAP_FILE, path(path) + " is a swap file in use");
        }
        files.put(path, stat);
        boolean first = inodes.add(stat.inode());
        if (stat.links() > 1) {
            linked.merge(stat.inode(), 1, Integer::sum);
        }
        return first;
    }

    /** All names of a file must be inside: copying up would split the links. */
    private void checkLinks() throws RefusedException {
        for (Map.Entry<FilePath, Stat> file : files.entrySet()) {
            Stat stat = file.getValue();
            if (stat.links() > 1 && linked.get(stat.inode()) < stat.links()) {
                throw new RefusedException(
                        Cause.LINKED_OUTSIDE,
                        path(file.getKey())
                                + " has "
                                + stat.links()
                                + " hard links, of which only "
                                + linked.get(stat.inode())
                                + " are in "
                                + target);
            }
        }
    }

    private String path(FilePath below) {
        return Place.below(target, below).toString();
    }

    /** Independent of order, which directories do not promise. */
    private static long digest(List<FilePath> names) {
        long digest = names.size();
        for (FilePath name : names) {
            long h = name.hashCode() * 0x9e3779b97f4a7c15L;
            digest += h ^ h >>> 32;
        }
        return digest;
    }
}
