package io.rampipe.source.fanotify.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;

/** A file on disk that is active all the time, and so is looked at in samples only. */
final class HotFile {
    private static final int MOST_STRAYS = 8;

    private final Watch watch;
    private final FileHandle directory;
    private final FilePath name;
    private final int entry;
    private final Samples samples = new Samples();
    private FileHandle handle;
    private int strays;

    /**
     * @param entry in {@link Activity}
     */
    HotFile(Watch watch, FileHandle directory, FilePath name, int entry) {
        this.watch = watch;
        this.directory = directory;
        this.name = name;
        this.entry = entry;
    }

    Watch watch() {
        return watch;
    }

    int entry() {
        return entry;
    }

    Samples samples() {
        return samples;
    }

    /** An event came although it is being ignored. */
    void stray() {
        strays++;
    }

    /**
     * Whether ignoring it does not work: the name is another file's now, as after a save by rename.
     */
    boolean escaped() {
        return strays > MOST_STRAYS;
    }

    /**
     * Finds the file behind the name. A file with several names is refused: accesses through the
     * other names would be ignored too, and nobody would count them.
     */
    boolean find(Fd mount) throws IOException {
        try (Fd dir = directory.open(mount, At.O_PATH);
                Fd file = At.open(dir, name, At.O_PATH | At.O_NOFOLLOW, 0)) {
            Stat stat = Stat.of(file);
            if (!stat.isRegular() || stat.links() != 1) {
                return false;
            }
            handle = FileHandle.of(file);
            return true;
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ESTALE, Errno.ENOTDIR)) {
                return false;
            }
            throw e;
        }
    }

    /** Ignores it from now on. False if it is gone. */
    boolean ignore(Fd mount) throws IOException {
        try (Fd file = handle.open(mount, At.O_PATH)) {
            watch.ignore(file);
            strays = 0;
            return true;
        } catch (LinuxException e) {
            if (e.is(Errno.ESTALE, Errno.ENOENT)) {
                return false;
            }
            throw e;
        }
    }
}
