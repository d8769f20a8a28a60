package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Stat;
import io.rampipe.sync.journal.internal.LogRecord.Data;
import io.rampipe.sync.journal.internal.LogRecord.Detach;
import io.rampipe.sync.journal.internal.LogRecord.Directory;
import io.rampipe.sync.journal.internal.LogRecord.DirectoryAttributes;
import io.rampipe.sync.journal.internal.LogRecord.File;
import io.rampipe.sync.journal.internal.LogRecord.FileAttributes;
import io.rampipe.sync.journal.internal.LogRecord.Header;
import io.rampipe.sync.journal.internal.LogRecord.Hole;
import io.rampipe.sync.journal.internal.LogRecord.PlaceDirectory;
import io.rampipe.sync.journal.internal.LogRecord.PlaceFile;
import io.rampipe.sync.journal.internal.LogRecord.Remove;
import io.rampipe.sync.journal.internal.LogRecord.Size;
import java.io.IOException;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/** A whole, undamaged log: its header, and the directories and files it speaks of. */
record LogContents(Header header, Map<Integer, Directory> directories, Map<Integer, File> files) {

    /**
     * Reads it to its end and checks that it makes sense. Applies nothing. Uses as much memory as
     * the log is large, within a small factor.
     *
     * @throws DamagedLogException if it is not what was written; nothing else, whatever it contains
     */
    static LogContents read(Fd fd) throws IOException {
        return read(new LogReader(fd));
    }

    static LogContents read(LogReader reader) throws IOException {
        if (!(reader.next() instanceof Header header)) {
            throw new DamagedLogException("no header");
        }
        LogContents contents = new LogContents(header, new HashMap<>(), new HashMap<>());
        Set<Integer> used = new HashSet<>();
        used.add(LogRecord.ROOT);
        LogRecord record;
        while ((record = reader.next()) != null) {
            contents.take(record, used);
        }
        for (int id : used) {
            check(contents.directories.containsKey(id), "a directory that is not described");
        }
        return contents;
    }

    private void take(LogRecord record, Set<Integer> used) throws DamagedLogException {
        if (record instanceof Header) {
            throw new DamagedLogException("a second header");
        } else if (record instanceof Directory r) {
            check(directories.put(r.id(), r) == null, "a directory twice");
            check(
                    r.id() != LogRecord.ROOT || r.inode() == header.inode(),
                    "another directory than the target's");
            check(
                    r.id() == LogRecord.ROOT || !header.file(),
                    "a directory in the log of a single file");
            ofThisLog(r.staged());
            use(r.oldParent(), used);
            use(r.newParent(), used);
        } else if (record instanceof File r) {
            check(files.put(r.id(), r) == null, "a file twice");
            ofThisLog(r.staged());
            if (r.home() != LogRecord.NONE) {
                ofTheTarget(r.homeName());
            }
            use(r.home(), used);
        } else if (record instanceof Size r) {
            regular(r.file());
        } else if (record instanceof Data r) {
            regular(r.file());
        } else if (record instanceof Hole r) {
            regular(r.file());
        } else if (record instanceof Detach r) {
            staged(r.directory());
        } else if (record instanceof PlaceDirectory r) {
            staged(r.directory());
        } else if (record instanceof Remove r) {
            ofTheTarget(r.name());
            use(r.directory(), used);
        } else if (record instanceof PlaceFile r) {
            check(!file(r.file()).staged().isEmpty(), "a file is placed that was not staged");
            ofTheTarget(r.name());
            use(r.directory(), used);
        } else if (record instanceof FileAttributes r) {
            file(r.file());
        } else if (record instanceof DirectoryAttributes r) {
            check(!header.file(), "attributes of a directory in the log of a single file");
            use(r.directory(), used);
        }
    }

    private void ofThisLog(FilePath staged) throws DamagedLogException {
        check(
                staged.isEmpty() || staged.raw().startsWith(Staged.prefix(header.sequence())),
                "a staged file of another log");
    }

    /** Of a single file's directory nothing else is the log's business. */
    private void ofTheTarget(FilePath name) throws DamagedLogException {
        check(
                !header.file()
                        || name.equals(header.target().name())
                        || Drift.isCopy(header.pin(), header.target().name(), name),
                "a name beside the single file");
    }

    private static void use(int directory, Set<Integer> used) {
        if (directory != LogRecord.NONE) {
            used.add(directory);
        }
    }

    private File file(int id) throws DamagedLogException {
        File file = files.get(id);
        check(file != null, "a file that is not described");
        return file;
    }

    private void regular(int id) throws DamagedLogException {
        check(file(id).type() == Stat.REGULAR, "data for a file that has none");
    }

    private void staged(int id) throws DamagedLogException {
        Directory d = directories.get(id);
        check(d != null, "a directory that is not described");
        check(
                !d.staged().isEmpty()
                        && d.staged().raw().indexOf('/') < 0
                        && !d.newName().isEmpty(),
                "a directory is moved that has no place to go to");
    }

    private static void check(boolean good, String otherwise) throws DamagedLogException {
        if (!good) {
            throw new DamagedLogException(otherwise);
        }
    }
}
