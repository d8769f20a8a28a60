package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import io.rampipe.linux.Xattrs;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Carries out a committed log. It may be stopped between any two system calls and started over; see
 * {@link Op}. Where somebody else has put another file since the log was written, that file is left
 * alone and ours is put beside it.
 */
final class Applier implements RedoLog.Sink, AutoCloseable {
    /** How many files may stay open until they are synced together. */
    private static final int MANY = 64;

    private final Fd root;
    private final Fd staging;
    private final String pin;
    private final Map<String, Fd> open;
    private final Set<FilePath> directories = new LinkedHashSet<>();
    private final List<FilePath> conflicts = new ArrayList<>();

    /** The file that was written to last: pieces of one file follow each other. */
    private FilePath currentPath;

    private Fd current;
    private boolean currentIsConflict;
    private int synced;

    /**
     * @param open lower files that are held open for writing, by identity
     */
    Applier(Fd root, Fd staging, String pin, Map<String, Fd> open) {
        this.root = root;
        this.staging = staging;
        this.pin = pin;
        this.open = open;
    }

    /** Paths at which somebody else's file was found, and ours is not. */
    List<FilePath> conflicts() {
        return conflicts;
    }

    @Override
    public void accept(Op op, ByteBuffer data) throws IOException {
        if (op instanceof Op.Write w) {
            Fd file = writable(w.path(), w.identity());
            if (file != null) {
                Io.writeFully(file, data, w.offset());
            }
        } else if (op instanceof Op.Punch p) {
            Fd file = writable(p.path(), p.identity());
            if (file != null) {
                Io.punchHole(file, p.offset(), p.length());
            }
        } else if (op instanceof Op.Resize r) {
            Fd file = writable(r.path(), r.identity());
            if (file != null) {
                Io.truncate(file, r.size());
            }
        } else if (op instanceof Op.Attributes a) {
            attributes(a);
        } else if (op instanceof Op.MoveOut m) {
            moveOut(m.path(), m.identity(), Staging.moved(m.number()));
        } else if (op instanceof Op.Trash t) {
            moveOut(t.path(), t.identity(), Staging.trash(t.number()));
        } else if (op instanceof Op.MoveIn m) {
            moveIn(m);
        } else if (op instanceof Op.MakeDirectory m) {
            makeDirectory(m.path());
        } else if (op instanceof Op.Place p) {
            place(p);
        }
    }

    /** The directory that holds a path, reached without a link on the way. */
    private Fd parent(FilePath path) throws IOException {
        FilePath parent = path.parent();
        directories.add(parent);
        return At.openBeneathSameMount(root, parent, At.O_RDONLY | At.O_DIRECTORY, 0);
    }

    private boolean staged(FilePath name) throws IOException {
        return !Identity.of(staging, name).isEmpty();
    }

    private void moveOut(FilePath path, String identity, FilePath to) throws IOException {
        if (staged(to)) {
            return;
        }
        try (Fd parent = parent(path)) {
            if (Identity.of(parent, path.name()).equals(identity)) {
                At.rename(parent, path.name(), staging, to);
            }
        } catch (LinuxException e) {
            // Its parent went the same way before: what is below it is out of sight already.
            if (!e.is(Errno.ENOENT, Errno.ENOTDIR)) {
                throw e;
            }
        }
    }

    private void moveIn(Op.MoveIn m) throws IOException {
        FilePath from = Staging.moved(m.number());
        if (!staged(from)) {
            return;
        }
        try (Fd parent = parent(m.path())) {
            setAside(parent, m.path());
            At.rename(staging, from, parent, m.path().name());
        }
    }

    private void makeDirectory(FilePath path) throws IOException {
        try (Fd parent = parent(path)) {
            try {
                At.mkdir(parent, path.name(), 0700);
            } catch (LinuxException e) {
                if (!e.is(Errno.EEXIST)) {
                    throw e;
                }
                if (!Stat.at(parent, path.name()).isDirectory()) {
                    setAside(parent, path);
                    At.mkdir(parent, path.name(), 0700);
                }
            }
        }
    }

    private void place(Op.Place p) throws IOException {
        FilePath from = Staging.file(p.number());
        String ours = Identity.of(staging, from);
        if (ours.isEmpty()) {
            return;
        }
        try (Fd parent = parent(p.path())) {
            String there = Identity.of(parent, p.path().name());
            if (!there.isEmpty() && !there.equals(p.identity()) && !there.equals(ours)) {
                conflicts.add(p.path());
                At.rename(staging, from, parent, beside(p.path()));
                return;
            }
            At.rename(staging, from, parent, p.path().name());
        }
    }

    /** Keeps what somebody else has put where a directory of ours has to be. */
    private void setAside(Fd parent, FilePath path) throws IOException {
        if (!Identity.of(parent, path.name()).isEmpty()) {
            conflicts.add(path);
            At.rename(parent, path.name(), parent, beside(path));
        }
    }

    private FilePath beside(FilePath path) {
        return FilePath.ofRaw(path.name().raw() + ".rampipe-conflict-" + pin);
    }

    /**
     * The file of that identity at that path, for writing; null if another is there. Valid until
     * the next call.
     */
    private Fd writable(FilePath path, String identity) throws IOException {
        if (path.equals(currentPath)) {
            return currentIsConflict ? null : current;
        }
        finishCurrent();
        currentPath = path;
        Fd held = open.get(identity);
        if (held != null) {
            current = held.duplicate();
            return current;
        }
        try (Fd parent = parent(path)) {
            directories.remove(path.parent());
            Fd file = At.open(parent, path.name(), At.O_WRONLY | At.O_NOFOLLOW | At.O_NONBLOCK, 0);
            if (Identity.of(file).equals(identity)) {
                current = file;
                return file;
            }
            file.close();
        } catch (LinuxException e) {
            if (!e.is(Errno.ENOENT, Errno.ELOOP, Errno.EISDIR, Errno.ENXIO, Errno.ENOTDIR)) {
                throw e;
            }
        }
        currentIsConflict = true;
        conflicts.add(path);
        return null;
    }

    private void finishCurrent() throws IOException {
        try {
            if (current != null && ++synced <= MANY) {
                Io.sync(current);
            }
        } finally {
            if (current != null) {
                current.close();
            }
            current = null;
            currentPath = null;
            currentIsConflict = false;
        }
    }

    private void attributes(Op.Attributes a) throws IOException {
        if (!a.path().equals(currentPath) || current == null) {
            finishCurrent();
        }
        try (Fd file = forAttributes(a)) {
            Stat stat = Stat.of(file);
            if (!a.identity().isEmpty() && !Identity.of(file).equals(a.identity())
                    || stat.isSymlink()) {
                return;
            }
            At.chown(file, a.uid(), a.gid());
            for (String name : Overlay.xattrs(file).keySet()) {
                if (!a.xattrs().containsKey(name)) {
                    Xattrs.remove(file, name);
                }
            }
            for (Map.Entry<String, byte[]> x : a.xattrs().entrySet()) {
                Xattrs.set(file, x.getKey(), x.getValue());
            }
            At.chmod(file, a.permissions());
            At.setTimes(file, times(a));
            if (stat.isDirectory()) {
                directories.add(a.path());
            } else if (currentPath == null && ++synced <= MANY) {
                try (Fd readable =
                        open.containsKey(a.identity())
                                ? file.duplicate()
                                : At.reopen(file, At.O_RDONLY | At.O_NONBLOCK)) {
                    Io.sync(readable);
                }
            }
        } catch (LinuxException e) {
            if (!e.is(Errno.ENOENT, Errno.ELOOP, Errno.ENOTDIR)) {
                throw e;
            }
        }
    }

    private Fd forAttributes(Op.Attributes a) throws IOException {
        Fd held = open.get(a.identity());
        if (held != null) {
            return held.duplicate();
        }
        if (a.path().isEmpty()) {
            return root.duplicate();
        }
        FilePath parent = a.path().parent();
        try (Fd directory =
                At.openBeneathSameMount(root, parent, At.O_RDONLY | At.O_DIRECTORY, 0)) {
            return At.open(directory, a.path().name(), At.O_PATH | At.O_NOFOLLOW, 0);
        }
    }

    private static Stat times(Op.Attributes a) {
        return new Stat(
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                a.accessSeconds(),
                a.accessNanos(),
                a.modifySeconds(),
                a.modifyNanos(),
                0,
                0,
                0,
                0,
                0);
    }

    /** Makes everything durable. */
    void sync() throws IOException {
        finishCurrent();
        if (synced + directories.size() > MANY) {
            Io.syncFileSystem(root);
            return;
        }
        for (FilePath d : directories) {
            try (Fd directory = At.openBeneathSameMount(root, d, At.O_RDONLY | At.O_DIRECTORY, 0)) {
                Io.sync(directory);
            } catch (LinuxException e) {
                if (!e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                    throw e;
                }
            }
        }
        Io.sync(staging);
    }

    @Override
    public void close() {
        if (current != null) {
            current.close();
            current = null;
        }
    }
}
