package io.rampipe.pin;

import io.rampipe.api.FilePath;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.linux.MountInfo;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;

/** Which file systems targets can be on. */
public final class FileSystems {
    private static final Set<String> NETWORK =
            Set.of(
                    "9p",
                    "afs",
                    "beegfs",
                    "ceph",
                    "cifs",
                    "coda",
                    "gfs2",
                    "lustre",
                    "ncpfs",
                    "nfs",
                    "nfs4",
                    "ocfs2",
                    "orangefs",
                    "smb2",
                    "smb3",
                    "smbfs",
                    "virtiofs");

    /** Disks that the kernel flags {@code nodev} all the same. */
    private static final Set<String> DISKS_WITHOUT_DEVICE = Set.of("jffs2", "ubifs", "zfs");

    /** Names that differ in case are one name there; overlayfs rejects them as layers. */
    private static final Set<String> CASE_BLIND =
            Set.of("exfat", "hfs", "hfsplus", "msdos", "ntfs", "vfat");

    private final boolean allowNetwork;
    private final boolean allowFuse;
    private final boolean settable;

    /** What users have allowed by {@code pin.allow_network} and {@code pin.allow_fuse}. */
    public FileSystems(boolean allowNetwork, boolean allowFuse) {
        this(allowNetwork, allowFuse, true);
    }

    private FileSystems(boolean allowNetwork, boolean allowFuse, boolean settable) {
        this.allowNetwork = allowNetwork;
        this.allowFuse = allowFuse;
        this.settable = settable;
    }

    /** Disks of this machine, whatever users have allowed. */
    public static FileSystems disks() {
        return new FileSystems(false, false, false);
    }

    /** Refuses a target on a mount that cannot or should not be a lower layer. */
    public void check(FilePath target, MountInfo mount) throws IOException {
        String type = mount.type();
        if (mount.pin().isPresent()) {
            throw new RefusedException(
                    Cause.MOUNT_POINT, target + " is inside " + mount.path() + ", which is pinned");
        }
        if (type.equals("overlay")) {
            throw new RefusedException(
                    Cause.UNSUPPORTED,
                    target
                            + " is on an overlay ("
                            + mount.path()
                            + "), which cannot carry another");
        }
        if (CASE_BLIND.contains(type)) {
            throw new RefusedException(
                    Cause.UNSUPPORTED,
                    target + " is on " + type + ", where names that differ in case are one");
        }
        if (type.equals("fuse") || type.equals("fuseblk") || type.startsWith("fuse.")) {
            if (!allowFuse) {
                throw refused(target, "FUSE", type, "; pin.allow_fuse=true allows it");
            }
        } else if (NETWORK.contains(type)) {
            if (!allowNetwork) {
                throw refused(target, "a network", type, "; pin.allow_network=true allows it");
            }
        } else if (!DISKS_WITHOUT_DEVICE.contains(type) && !onBlockDevice(type)) {
            throw refused(target, "a kernel or RAM", type, "");
        }
        List<String> flags = List.of(mount.flags().split(","));
        if (flags.contains("ro")) {
            throw new RefusedException(
                    Cause.FILE_SYSTEM,
                    target + " is on a file system mounted read-only at " + mount.path());
        }
        if (flags.contains("idmapped")) {
            throw new RefusedException(
                    Cause.UNSUPPORTED, target + " is on an id-mapped mount (" + mount.path() + ")");
        }
    }

    private RefusedException refused(FilePath target, String kind, String type, String remedy) {
        return new RefusedException(
                Cause.FILE_SYSTEM,
                target
                        + " is on "
                        + kind
                        + " file system ("
                        + type
                        + ")"
                        + (settable ? remedy : ""));
    }

    /** {@code proc_filesystems(5)}: what needs no block device is marked so. */
    private static boolean onBlockDevice(String type) throws IOException {
        return Files.readAllLines(Path.of("/proc/filesystems")).contains("\t" + type);
    }
}
