package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.Baseline;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * What others have changed on disk behind a pin: whatever is not as the pin's {@link Baseline} has
 * it. The syncback's own changes are told to it when they have been applied ({@link #learn}). One
 * thread, for one syncback.
 */
final class Drift {
    private static final String CONFLICT = ".rampipe-conflict-";

    /** What is told of a conflict. Paths are below the target. */
    record Found(FilePath path, FilePath copy, String what) {
        @Override
        public String toString() {
            return path + " " + what + (copy.isEmpty() ? "" : " " + copy);
        }
    }

    private final FilePath file;
    private final Baseline baseline;
    private final String pin;
    private final Set<Long> frozen = new HashSet<>();
    private final List<Found> found = new ArrayList<>();

    private Drift(FilePath file, Baseline baseline, String pin) {
        this.file = file;
        this.baseline = baseline;
        this.pin = pin;
    }

    /** Reads the pin's baseline. Without one, whatever is on disk is taken to be as it should. */
    static Drift of(Pin pin) throws IOException {
        String path = pin.attributes().get(Pin.BASELINE);
        FilePath file = path == null ? null : FilePath.ofRaw(path);
        return new Drift(file, file == null ? null : Baseline.load(file).orElse(null), pin.id());
    }

    /** Makes a directory under a conflict name that is free; returns the name. */
    static FilePath makeDirectory(Fd parent, String pin, FilePath name) throws IOException {
        for (int i = 1; ; i++) {
            FilePath beside = conflictName(pin, name, i);
            try {
                At.mkdir(parent, beside, 0700);
                return beside;
            } catch (LinuxException e) {
                if (!e.is(Errno.EEXIST)) {
                    throw e;
                }
            }
        }
    }

    /** From now on the pin's directory on disk is this one, as it is now. */
    static void startAnew(Pin pin, Fd directory) throws IOException {
        String path = pin.attributes().get(Pin.BASELINE);
        if (path != null) {
            Baseline baseline = new Baseline();
            baseline.tree(directory);
            baseline.save(FilePath.ofRaw(path));
        }
    }

    boolean known() {
        return baseline != null;
    }

    /** Whether others have changed what has that name. */
    boolean changed(long directory, FilePath name, Stat now) {
        return baseline != null && !baseline.same(directory, name, now);
    }

    /** What others have changed, in brackets; for people. */
    String difference(long directory, FilePath name, Stat now) {
        return " (" + baseline.difference(directory, name, now) + ")";
    }

    /** Whether there was anything of that name. */
    boolean had(long directory, FilePath name) {
        return baseline != null && baseline.inode(directory, name) != 0;
    }

    /** Whether others have changed the file, under whichever name; of a directory, its mode. */
    boolean changed(Stat now) {
        return baseline != null && !baseline.untouched(now);
    }

    /** Whether the file or directory was there, whichever names it had. */
    boolean knows(Stat now) {
        return baseline != null && baseline.knows(now.inode());
    }

    /** Whether a directory in RAM has another owner or mode than the one on disk had. */
    boolean changed(Stat now, Stat inRam) {
        return !baseline.hadModeOf(now.inode(), inRam);
    }

    /**
     * Whether a directory on disk has anything below it that others have changed or added.
     *
     * @param inodes gets the numbers of what is below it
     */
    boolean changedBelow(Fd parent, FilePath name, Set<Long> inodes) throws IOException {
        if (baseline == null) {
            return false;
        }
        try (Fd dir = At.openDirectory(parent, name)) {
            long inode = Stat.of(dir).inode();
            for (FilePath n : At.list(dir)) {
                Stat s = Stat.at(dir, n);
                inodes.add(s.inode());
                if (changed(inode, n, s)
                        || isConflictName(n)
                        || s.isDirectory() && changedBelow(dir, n, inodes)) {
                    return true;
                }
            }
            return false;
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                return true;
            }
            throw e;
        }
    }

    /** The name of the version in RAM beside that on disk. */
    static FilePath conflictName(String pin, FilePath name, int number) {
        String end = CONFLICT + pin + (number == 1 ? "" : "-" + number);
        String raw = name.raw();
        return FilePath.ofRaw(raw.substring(0, Math.min(raw.length(), 255 - end.length())) + end);
    }

    /** Whether that is the name of a copy of a file of that name. */
    static boolean isCopy(String pin, FilePath name, FilePath copy) {
        String raw = copy.raw();
        int digits = raw.length();
        while (digits > 0
                && raw.length() - digits < 6
                && Character.isDigit(raw.charAt(digits - 1))) {
            digits--;
        }
        boolean numbered = digits < raw.length() && digits > 0 && raw.charAt(digits - 1) == '-';
        int number = numbered ? Integer.parseInt(raw.substring(digits)) : 1;
        return copy.equals(conflictName(pin, name, number));
    }

    FilePath conflictName(FilePath name, int number) {
        return conflictName(pin, name, number);
    }

    /** Whether it is one of that pin's. */
    static boolean isConflictName(String pin, FilePath name) {
        return name.raw().contains(CONFLICT + pin);
    }

    boolean isConflictName(FilePath name) {
        return isConflictName(pin, name);
    }

    void report(FilePath path, FilePath copy, String what) {
        found.add(new Found(path, copy, what));
    }

    List<Found> found() {
        return found;
    }

    /**
     * The directory's mode and owner are not the pin's any more: others changed them, and theirs
     * stay.
     */
    void keepAttributes(long directory) {
        frozen.add(directory);
    }

    /** What is on disk equals what is in RAM, however it came there. */
    void agreed(long directory, FilePath name, Stat now) {
        baseline.name(directory, name, now);
    }

    /** A name is about to be given to, and taken from, a file on disk. */
    void aboutToLink(long inode) throws IOException {
        if (baseline != null) {
            baseline.loosen(inode);
            baseline.save(file);
        }
    }

    /** Takes what a log has put on disk for what should be there. */
    void learn(Applier applier, LogContents log) throws IOException {
        if (baseline == null) {
            return;
        }
        for (LogRecord.Directory d : log.directories().values()) {
            learn(applier, d);
        }
        for (LogRecord.File f : log.files().values()) {
            learn(applier, f);
        }
        for (LogRecord.PlaceFile p : applier.placements()) {
            Fd dir = applier.directory(p.directory());
            if (dir != null) {
                learn(dir, p.name(), log.files().get(p.file()).inode());
            }
        }
        for (LogRecord.Remove r : applier.removals()) {
            Fd dir = applier.directory(r.directory());
            if (dir != null && statOrNull(dir, r.name()) == null) {
                baseline.remove(Stat.of(dir).inode(), r.name());
            }
        }
        for (Applier.Beside b : applier.beside()) {
            Fd dir = applier.directory(b.directory());
            Stat s = dir == null ? null : statOrNull(dir, b.name());
            if (s != null) {
                baseline.name(Stat.of(dir).inode(), b.name(), s);
                learnTree(dir, b.name(), s);
            }
        }
        for (int id : applier.attributed()) {
            Fd dir = applier.directory(id);
            Stat s = dir == null ? null : Stat.of(dir);
            if (s != null && !frozen.contains(s.inode())) {
                baseline.refresh(s);
            }
        }
    }

    private void learn(Applier applier, LogRecord.Directory d) throws IOException {
        Fd fd = applier.directory(d.id());
        if (fd == null || d.newParent() == LogRecord.NONE) {
            return;
        }
        Fd parent = applier.directory(d.newParent());
        Stat self = Stat.of(fd);
        Stat there = parent == null ? null : statOrNull(parent, d.newName());
        if (there == null || !there.sameFile(self)) {
            return;
        }
        baseline.name(Stat.of(parent).inode(), d.newName(), self);
        if (d.oldParent() == LogRecord.NONE) {
            if (!d.staged().isEmpty()) {
                baseline.tree(fd);
            }
            return;
        }
        Fd old = applier.directory(d.oldParent());
        if (old != null && statOrNull(old, d.oldName()) == null) {
            baseline.remove(Stat.of(old).inode(), d.oldName());
        }
    }

    private void learn(Applier applier, LogRecord.File f) throws IOException {
        if (applier.lost().contains(f.id())) {
            return;
        }
        Fd dir = f.staged().isEmpty() ? applier.directory(f.home()) : applier.staging();
        FilePath name = f.staged().isEmpty() ? f.homeName() : f.staged();
        Stat s = dir == null ? null : statOrNull(dir, name);
        if (s != null && s.inode() == f.inode()) {
            baseline.refresh(s);
        }
    }

    private void learn(Fd dir, FilePath name, long inode) throws IOException {
        Stat s = statOrNull(dir, name);
        if (s != null && s.inode() == inode) {
            baseline.name(Stat.of(dir).inode(), name, s);
        }
    }

    private void learnTree(Fd dir, FilePath name, Stat s) throws IOException {
        if (s.isDirectory()) {
            try (Fd sub = At.openDirectory(dir, name)) {
                baseline.tree(sub);
            }
        }
    }

    void save() throws IOException {
        if (baseline != null) {
            baseline.save(file);
        }
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
}
