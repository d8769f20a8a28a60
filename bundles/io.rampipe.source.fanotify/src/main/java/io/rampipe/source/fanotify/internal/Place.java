package io.rampipe.source.fanotify.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Stat;
import io.rampipe.linux.StatFs;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A file system and where it can be seen. Keeps no descriptor: that would keep others from
 * unmounting it. Any thread.
 */
final class Place {
    private final long fileSystem;
    private final long device;
    private volatile List<FilePath> views;

    /**
     * @param fileSystem as {@link StatFs#id}
     * @param device as {@link MountInfo#device}
     * @param views directories on it, best one for each mount
     */
    Place(long fileSystem, long device, List<FilePath> views) {
        this.fileSystem = fileSystem;
        this.device = device;
        this.views = List.copyOf(views);
    }

    long fileSystem() {
        return fileSystem;
    }

    void views(List<FilePath> now) {
        views = List.copyOf(now);
    }

    /** Opens a directory of it; the caller closes it. */
    Fd open() throws IOException {
        Optional<Fd> fd = first(views, this::open);
        if (fd.isEmpty()) {
            fd = first(otherViews(), this::open);
        }
        return fd.orElseThrow(
                () ->
                        new LinuxException(
                                "find a mount of", "the file system of " + this, Errno.ENOENT));
    }

    /** The path of a directory now, through whichever mount shows it. */
    Optional<FilePath> path(FileHandle directory) {
        try {
            Optional<FilePath> path = first(views, view -> path(directory, view));
            // A view may be covered by a pin, or be a bind mount that shows another part.
            return path.isPresent() ? path : first(otherViews(), view -> path(directory, view));
        } catch (IOException e) {
            // Gone (ESTALE), or cannot be looked at: there is no path.
            return Optional.empty();
        }
    }

    private interface Attempt<T> {
        Optional<T> at(FilePath view) throws IOException;
    }

    private static <T> Optional<T> first(List<FilePath> views, Attempt<T> attempt)
            throws IOException {
        for (FilePath view : views) {
            Optional<T> result = attempt.at(view);
            if (result.isPresent()) {
                return result;
            }
        }
        return Optional.empty();
    }

    private Optional<FilePath> path(FileHandle directory, FilePath view) throws IOException {
        Optional<Fd> mount = open(view);
        if (mount.isEmpty()) {
            return Optional.empty();
        }
        try (Fd on = mount.get();
                Fd fd = directory.open(on, At.O_PATH)) {
            Stat stat = Stat.of(fd);
            FilePath path = fd.currentPath();
            // What a bind mount does not show is "(unreachable)" (proc_pid_fd(5)).
            if (stat.links() == 0 || !path.isAbsolute()) {
                return Optional.empty();
            }
            // Something else may be mounted over it, or over a parent.
            return sees(path, stat) ? Optional.of(path) : Optional.empty();
        }
    }

    private static boolean sees(FilePath path, Stat stat) throws LinuxException {
        try {
            return Stat.at(Fd.CWD, path).sameFile(stat);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENOTDIR)) {
                return false;
            }
            throw e;
        }
    }

    private List<FilePath> otherViews() throws IOException {
        List<FilePath> others = new ArrayList<>();
        for (MountInfo mount : MountInfo.all()) {
            if (mount.device() == device && !views.contains(mount.path())) {
                others.add(mount.path());
            }
        }
        return others;
    }

    private Optional<Fd> open(FilePath view) {
        try {
            Fd fd = At.open(view, At.O_RDONLY | At.O_DIRECTORY | At.O_NONBLOCK);
            boolean here = false;
            try {
                here = StatFs.of(fd).id() == fileSystem;
            } finally {
                if (!here) {
                    fd.close();
                }
            }
            return here ? Optional.of(fd) : Optional.empty();
        } catch (LinuxException e) {
            // Not there any more, or no directory now: another view may do.
            return Optional.empty();
        }
    }

    @Override
    public String toString() {
        return views.get(0).toString();
    }
}
