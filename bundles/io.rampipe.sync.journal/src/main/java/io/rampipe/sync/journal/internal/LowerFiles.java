package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * Opens regular files on disk. Those that are held with a lease are used through the descriptor
 * that holds it: any other open would wait for our own lease ({@code fcntl(2)}).
 */
final class LowerFiles {
    /** An open file; closing it leaves a leased one open. */
    record Opened(Fd fd, boolean own) implements AutoCloseable {
        @Override
        public void close() {
            if (own) {
                fd.close();
            }
        }
    }

    private final long device;
    private final Map<Long, Fd> leased = new HashMap<>();

    LowerFiles(long device) {
        this.device = device;
    }

    /** From now on that file is used through that descriptor. */
    void hold(long inode, Fd fd) {
        leased.put(inode, fd);
    }

    Map<Long, Fd> leased() {
        return leased;
    }

    /**
     * The file of that name if it is a regular file with that inode number on the right disk.
     *
     * @param mount id of the mount that it must be on
     */
    Optional<Opened> open(Fd dir, FilePath name, long inode, long mount, boolean write)
            throws IOException {
        try {
            Stat now = Stat.at(dir, name);
            if (!is(now, inode, mount)) {
                return Optional.empty();
            }
            Fd held = leased.get(inode);
            if (held != null) {
                return Optional.of(new Opened(held, false));
            }
            Fd fd =
                    At.open(
                            dir,
                            name,
                            (write ? At.O_RDWR : At.O_RDONLY) | At.O_NOFOLLOW | At.O_NONBLOCK,
                            0);
            if (is(Stat.of(fd), inode, mount)) {
                return Optional.of(new Opened(fd, true));
            }
            fd.close();
            return Optional.empty();
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.ENXIO)) {
                return Optional.empty();
            }
            throw e;
        }
    }

    private boolean is(Stat stat, long inode, long mount) {
        return stat.isRegular()
                && stat.inode() == inode
                && stat.device() == device
                && stat.mount() == mount;
    }
}
