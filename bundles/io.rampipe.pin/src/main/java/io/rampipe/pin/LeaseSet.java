package io.rampipe.pin;

import io.rampipe.api.FilePath;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Leases;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Processes;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.LockSupport;

/**
 * Write leases on the files concerned: proof that nobody has them open, and a stop to whoever would
 * open them on disk while the pin is being made. Held for as short as can be, since openers wait.
 */
public final class LeaseSet implements AutoCloseable {
    private static final long POLL_NANOS = 500_000;

    private final FilePath target;
    private final List<Held> all = new ArrayList<>();

    private record Held(Fd fd, FilePath path, Stat stat) {}

    public LeaseSet(FilePath target) {
        this.target = target;
    }

    /**
     * Takes one more.
     *
     * @param seen what the walk found there
     * @return the file, open for reading until this is closed
     */
    public Fd take(Fd dir, FilePath name, FilePath path, Stat seen) throws IOException {
        Fd fd = open(dir, name, path, seen);
        try {
            Leases.takeWrite(fd);
            Stat stat = Stat.of(fd);
            if (!stat.unchangedSince(seen)) {
                throw changed(path);
            }
            all.add(new Held(fd, path, stat));
            return fd;
        } catch (LinuxException e) {
            fd.close();
            throw e.is(Errno.EAGAIN) ? inUse(path, seen, e) : unsupported(e);
        } catch (IOException e) {
            fd.close();
            throw e;
        }
    }

    /**
     * Takes one on a file that is open already, once nobody else has it open.
     *
     * @param fd stays the caller's
     * @param patience nanoseconds to wait for that at most
     * @return what the file is like from then on
     */
    public Stat hold(Fd fd, FilePath path, Stat seen, long patience) throws IOException {
        long start = System.nanoTime();
        while (true) {
            try {
                Leases.takeWrite(fd);
                Stat stat = Stat.of(fd);
                all.add(new Held(fd.duplicate(), path, stat));
                return stat;
            } catch (LinuxException e) {
                if (!e.is(Errno.EAGAIN)) {
                    throw unsupported(e);
                }
                if (System.nanoTime() - start > patience) {
                    throw inUse(path, seen, e);
                }
                LockSupport.parkNanos(POLL_NANOS);
            }
        }
    }

    private Fd open(Fd dir, FilePath name, FilePath path, Stat seen) throws IOException {
        try {
            // Never waits: neither for the lease of another nor, if a FIFO has taken the name, for
            // its other end.
            return At.open(
                    dir, name, At.O_RDONLY | At.O_NOFOLLOW | At.O_NOATIME | At.O_NONBLOCK, 0);
        } catch (LinuxException e) {
            if (e.is(Errno.EAGAIN)) {
                throw inUse(path, seen, e);
            }
            if (e.is(Errno.ENOENT, Errno.ELOOP, Errno.ENXIO, Errno.ENOTDIR)) {
                throw changed(path);
            }
            if (e.is(Errno.EMFILE, Errno.ENFILE)) {
                throw new RefusedException(
                        Cause.TOO_LARGE,
                        target + " has more files than this process may open for a moment",
                        e);
            }
            throw e;
        }
    }

    /** The first file that somebody waits for, in whatever way; null if there is none. */
    public FilePath wanted() throws LinuxException {
        for (Held held : all) {
            if (Leases.state(held.fd) != Leases.State.HELD) {
                return held.path;
            }
        }
        return null;
    }

    /**
     * The first file that somebody waits to write on disk; null if there is none. An opener that
     * comes through the overlay waits as well, but as a reader: overlayfs opens what is below for
     * reading only, even to copy it up. So a waiting writer always comes past the overlay.
     */
    public FilePath wantedForWriting() throws LinuxException {
        for (Held held : all) {
            if (Leases.state(held.fd) == Leases.State.WRITER_WAITS) {
                return held.path;
            }
        }
        return null;
    }

    /** The first file that is not as it was when its lease was taken; null if there is none. */
    public FilePath changed() throws LinuxException {
        for (Held held : all) {
            Stat now = Stat.of(held.fd);
            if (!now.unchangedSince(held.stat) || now.links() != held.stat.links()) {
                return held.path;
            }
        }
        return null;
    }

    private RefusedException inUse(FilePath path, Stat seen, LinuxException because) {
        String who = "";
        try {
            List<Processes.Holder> holders = Processes.using(seen, true, 1);
            who = holders.isEmpty() ? "" : " by " + holders.get(0);
        } catch (IOException e) {
            because.addSuppressed(e);
        }
        return new RefusedException(Cause.IN_USE, full(path) + " is in use" + who, because);
    }

    private RefusedException changed(FilePath path) {
        return new RefusedException(
                Cause.CHANGED, full(path) + " changed while it was being pinned");
    }

    private RefusedException unsupported(LinuxException e) {
        return new RefusedException(
                e.is(Errno.EINVAL) ? Cause.UNSUPPORTED : Cause.ERROR, e.getMessage(), e);
    }

    private FilePath full(FilePath path) {
        return Place.below(target, path);
    }

    /**
     * Lets all openers go on. Idempotent. A lease outlives its descriptor where something in the
     * kernel, such as a loop device, has the same open file.
     */
    @Override
    public void close() {
        for (Held held : all) {
            try {
                Leases.release(held.fd);
            } catch (LinuxException e) {
                // It goes with the descriptor.
            }
            held.fd.close();
        }
        all.clear();
    }
}
