package io.rampipe.pin;

import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import io.rampipe.linux.Xattrs;
import java.io.IOException;
import java.util.Optional;

/** Owner, mode, times and extended attributes, from disk to RAM. */
public final class CopiedAttributes {
    private CopiedAttributes() {}

    /**
     * Gives what one file or directory has to another one in RAM.
     *
     * @throws RefusedException if the file system there cannot hold it
     */
    public static void give(Fd from, Fd to) throws IOException {
        Stat stat = Stat.of(from);
        At.chown(to, stat.uid(), stat.gid());
        At.chmod(to, stat.permissions());
        for (String name : Xattrs.list(from)) {
            if (name.startsWith("trusted.overlay.")) {
                continue;
            }
            Optional<byte[]> value = Xattrs.get(from, name);
            if (value.isEmpty()) {
                continue;
            }
            try {
                Xattrs.set(to, name, value.get());
            } catch (LinuxException e) {
                // A security module may reserve its attributes to itself; then it sets them, too.
                if (!name.startsWith("security.") || !e.is(Errno.EOPNOTSUPP, Errno.EPERM)) {
                    throw e.is(Errno.EOPNOTSUPP, Errno.ENOSPC, Errno.ERANGE)
                            ? new RefusedException(
                                    Cause.UNSUPPORTED,
                                    from
                                            + " has the attribute "
                                            + name
                                            + ", which the file system in RAM cannot hold",
                                    e)
                            : e;
                }
            }
        }
        At.setTimes(to, stat);
    }
}
