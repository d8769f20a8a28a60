package io.rampipe.pin;

import io.rampipe.api.FilePath;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Stat;
import java.io.IOException;

/**
 * A target, opened once: from here on everything goes through these descriptors, whatever happens
 * to its path. They keep the file system busy; close it before unmounting anything below.
 *
 * @param parent directory that holds the target, O_PATH
 * @param self the target, O_PATH
 * @param stat of the target
 * @param mount that it is on
 */
public record Place(Target target, Fd parent, FilePath name, Fd self, Stat stat, MountInfo mount)
        implements AutoCloseable {

    /** Opens a target as it is named: absolute, through no link, of the right kind. */
    public static Place open(Target target) throws IOException {
        FilePath path = target.path();
        if (!path.isAbsolute() || path.name().isEmpty()) {
            throw new RefusedException(
                    Cause.NOT_A_TARGET, path + " is not an absolute path of something below /");
        }
        Fd parent = null;
        Fd self = null;
        try {
            parent = At.openNoLinks(path.parent(), At.O_PATH | At.O_DIRECTORY);
            self = At.open(parent, path.name(), At.O_PATH | At.O_NOFOLLOW, 0);
            Place place = of(target, parent, self);
            parent = null;
            self = null;
            return place;
        } catch (LinuxException e) {
            if (e.is(Errno.ELOOP)) {
                throw new RefusedException(
                        Cause.NOT_A_TARGET, "a symbolic link is on the path " + path, e);
            }
            if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ENAMETOOLONG, Errno.ESTALE)) {
                throw new RefusedException(Cause.NOT_A_TARGET, path + " is not there", e);
            }
            throw new RefusedException(Cause.ERROR, e.getMessage(), e);
        } finally {
            if (parent != null) {
                parent.close();
            }
            if (self != null) {
                self.close();
            }
        }
    }

    private static Place of(Target target, Fd parent, Fd self) throws IOException {
        FilePath path = target.path();
        Stat stat = Stat.of(self);
        if (stat.isSymlink()) {
            throw new RefusedException(Cause.NOT_A_TARGET, path + " is a symbolic link");
        }
        boolean directory = target.kind() == Target.Kind.DIRECTORY;
        if (directory ? !stat.isDirectory() : !stat.isRegular()) {
            throw new RefusedException(
                    Cause.NOT_A_TARGET,
                    path + " is not a " + (directory ? "directory" : "regular file"));
        }
        FilePath current = self.currentPath();
        if (!current.equals(path)) {
            throw new RefusedException(
                    Cause.NOT_A_TARGET, path + " is not a plain path: it is " + current);
        }
        if (stat.mount() == 0) {
            throw new RefusedException(
                    Cause.UNSUPPORTED, "this kernel does not tell mount ids: Linux 5.8 is needed");
        }
        MountInfo mount =
                MountInfo.byId(stat.mount())
                        .orElseThrow(
                                () ->
                                        new RefusedException(
                                                Cause.NOT_A_TARGET,
                                                path + " is on a mount that is gone"));
        if ((stat.attributes() & Stat.MOUNT_ROOT) != 0) {
            throw new RefusedException(
                    Cause.MOUNT_POINT,
                    mount.pin().isPresent()
                            ? path + " is pinned"
                            : path + " is a mount point (" + mount.type() + ")");
        }
        return new Place(target, parent, path.name(), self, stat, mount);
    }

    /** Where the target is in its file system, as {@link MountInfo#root} counts. */
    public FilePath inFileSystem() {
        return below(mount.root(), mount.path().relativize(target.path()));
    }

    public static FilePath below(FilePath root, FilePath rest) {
        return rest.isEmpty() ? root : root.resolve(rest);
    }

    @Override
    public void close() {
        self.close();
        parent.close();
    }
}
