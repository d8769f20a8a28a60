package io.rampipe.pin.overlayfs.internal;

import org.osgi.service.metatype.annotations.AttributeDefinition;
import org.osgi.service.metatype.annotations.ObjectClassDefinition;

/** Settings; the method names are the users' keys ({@code pin.allow_network} and so on). */
@ObjectClassDefinition(
        name = "RamPipe: pinning with overlayfs",
        description = "What may be pinned behind an upper layer in RAM.")
@interface Config {
    String PID = "io.rampipe.pin.overlayfs";

    int DEFAULT_MAX_FILES = 20_000;

    @AttributeDefinition(
            name = "Allow network file systems",
            description =
                    "Pin on NFS, SMB and the like, too. Other machines then do not see changes"
                            + " until they are synced, and theirs are lost.")
    boolean pin_allow__network() default false;

    @AttributeDefinition(
            name = "Allow FUSE",
            description = "Pin on file systems that a program serves, too (ntfs-3g, sshfs).")
    boolean pin_allow__fuse() default false;

    @AttributeDefinition(
            name = "Most names in a directory target",
            description =
                    "A directory with more files, links and directories below it is not pinned"
                            + " whole: each file costs a lease for a moment.",
            min = "1",
            max = "500000")
    int overlayfs_max__files() default DEFAULT_MAX_FILES;
}
