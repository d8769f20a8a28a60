package io.rampipe.source.inotify.internal;

import io.rampipe.api.AccessEvent;
import io.rampipe.api.FilePath;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.util.Optional;

/**
 * A watched directory (or the one file of a pin). Changed by the session's thread; its path can be
 * asked for by any.
 */
final class Node {
    /**
     * Where it is.
     *
     * @param parent null for the top of a tree
     */
    private record Place(Tree tree, Node parent, FilePath name) {}

    private final int watch;
    private final long identity;
    private volatile Place place;

    /** Of its tree; of all names in it. */
    private long base;

    /** As the scan that has seen it last. */
    int generation;

    boolean ignored;

    /**
     * @param identity by device and inode
     */
    Node(int watch, long identity, Tree tree, Node parent, FilePath name) {
        this.watch = watch;
        this.identity = identity;
        place(tree, parent, name);
    }

    /** It is there now. */
    void place(Tree tree, Node parent, FilePath name) {
        Place now = place;
        if (now == null || now.tree != tree || now.parent != parent || !now.name.equals(name)) {
            place = new Place(tree, parent, name);
            base = tree.base(identity);
        }
    }

    int watch() {
        return watch;
    }

    long identity() {
        return identity;
    }

    long base() {
        return base;
    }

    Tree tree() {
        return place.tree;
    }

    FilePath name() {
        return place.name;
    }

    boolean isBelow(Node other) {
        for (Node n = this; n != null; n = n.place.parent) {
            if (n == other) {
                return true;
            }
        }
        return false;
    }

    /** Where it was when last heard of. */
    FilePath path() {
        Place at = place;
        return at.parent == null ? at.tree.path() : at.parent.path().resolve(at.name);
    }

    /** A name in this directory, or the target of the pin whose file this is. */
    AccessEvent.Location locate(FilePath name) {
        return tree().ofFile()
                ? new Location(null, tree().pin().target().path())
                : new Location(this, name);
    }

    /**
     * @param node null if {@code file} is the whole path
     */
    private record Location(Node node, FilePath file) implements AccessEvent.Location {
        @Override
        public Optional<FilePath> directory() {
            FilePath path = node == null ? file.parent() : node.path();
            try {
                Stat stat = Stat.at(Fd.CWD, path);
                // It may have been moved or covered, and another one be there.
                boolean same =
                        node == null
                                || node.tree().pin() != null
                                || Identity.of(stat) == node.identity;
                return same && stat.isDirectory() ? Optional.of(path) : Optional.empty();
            } catch (LinuxException e) {
                return Optional.empty();
            }
        }

        @Override
        public FilePath name() {
            return node == null ? file.name() : file;
        }
    }
}
