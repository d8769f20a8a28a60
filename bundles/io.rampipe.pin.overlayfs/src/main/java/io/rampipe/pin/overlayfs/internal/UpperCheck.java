package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import io.rampipe.linux.Xattrs;
import java.io.IOException;
import java.util.Map;

/** Whether an upper layer holds only what the daemon itself copied up. */
final class UpperCheck {
    private static final String OPAQUE = "trusted.overlay.opaque";
    private static final String REDIRECT = "trusted.overlay.redirect";

    private UpperCheck() {}

    /**
     * Whether every file in it is one of {@code copied}, unchanged since then, and every directory
     * as on disk. Errs towards "no".
     */
    static boolean holdsOnly(PoolDirectory pool, Map<FilePath, Stat> copied, Fd lower)
            throws IOException {
        try (Fd upper = At.openDirectory(pool.fd(), PoolDirectory.UPPER)) {
            return holdsOnly(upper, FilePath.of(""), copied, lower);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.EMFILE)) {
                return false;
            }
            throw e;
        }
    }

    private static boolean holdsOnly(Fd dir, FilePath path, Map<FilePath, Stat> copied, Fd lower)
            throws IOException {
        try (Fd below = At.openBeneath(lower, path, At.O_PATH | At.O_DIRECTORY, 0)) {
            Stat was = Stat.of(below);
            Stat is = Stat.of(dir);
            if (is.mode() != was.mode()
                    || is.uid() != was.uid()
                    || is.gid() != was.gid()
                    || is.modifySeconds() != was.modifySeconds()
                    || is.modifyNanos() != was.modifyNanos()
                    || Xattrs.get(dir, OPAQUE).isPresent()
                    || Xattrs.get(dir, REDIRECT).isPresent()) {
                return false;
            }
        }
        for (FilePath name : At.list(dir)) {
            FilePath child = path.resolve(name);
            Stat stat = Stat.at(dir, name);
            if (stat.isDirectory()) {
                try (Fd sub = At.openDirectory(dir, name)) {
                    if (!holdsOnly(sub, child, copied, lower)) {
                        return false;
                    }
                }
            } else {
                Stat ours = copied.get(child);
                if (ours == null || !stat.unchangedSince(ours)) {
                    return false;
                }
            }
        }
        return true;
    }
}
