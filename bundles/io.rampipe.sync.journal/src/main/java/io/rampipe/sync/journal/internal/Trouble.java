package io.rampipe.sync.journal.internal;

import io.rampipe.api.DiskFullException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Units;
import io.rampipe.linux.Errno;
import io.rampipe.linux.LinuxException;
import java.io.IOException;

/** Says what is wrong with a disk, and what to do about it. */
final class Trouble {
    private Trouble() {}

    /**
     * The exception for people: what could not be done, why, and what helps.
     *
     * @param mount where the disk is mounted
     */
    static IOException explained(Pin pin, FilePath mount, LinuxException e) {
        String what = pin.target() + " cannot be written to its disk, mounted at " + mount + ": ";
        String call = " (" + e.getMessage() + ")";
        return switch (e.errno()) {
            case Errno.ENOSPC ->
                    new DiskFullException(
                            what
                                    + "the disk is full, of data or of inodes (df, df -i); make room"
                                    + call,
                            e);
            case Errno.EDQUOT ->
                    new DiskFullException(
                            what
                                    + "the quota of the files' owner is used up; raise it, or remove"
                                    + " other files of that owner"
                                    + call,
                            e);
            case Errno.EROFS ->
                    new IOException(
                            what
                                    + "it is read-only; if nobody wanted that, it has met errors (see"
                                    + " dmesg) and needs a check; else: mount -o remount,rw "
                                    + mount
                                    + call,
                            e);
            case Errno.EIO,
                    Errno.ENXIO,
                    Errno.ENODEV,
                    Errno.EUCLEAN,
                    Errno.EBADMSG,
                    Errno.ESHUTDOWN,
                    Errno.EREMOTEIO,
                    Errno.ETIMEDOUT ->
                    new IOException(
                            what
                                    + "it fails or is gone; dmesg has details. Mend it, or save what"
                                    + " is in RAM: copy it from "
                                    + pin.target()
                                    + " to another disk"
                                    + call,
                            e);
            default -> new IOException(what + e.getMessage(), e);
        };
    }

    /**
     * A full disk, with figures.
     *
     * @param needed bytes, as {@link Need} has found them
     * @param available bytes that are free
     */
    static DiskFullException full(
            Pin pin, FilePath mount, long needed, long available, Throwable because) {
        return new DiskFullException(
                pin.target()
                        + " cannot be written to its disk, mounted at "
                        + mount
                        + ": about "
                        + Units.bytes(needed)
                        + " are needed and "
                        + Units.bytes(available)
                        + " are free; make room on it"
                        + (because == null ? "" : " (" + because.getMessage() + ")"),
                because);
    }
}
