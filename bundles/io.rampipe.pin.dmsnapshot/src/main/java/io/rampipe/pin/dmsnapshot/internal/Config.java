package io.rampipe.pin.dmsnapshot.internal;

import org.osgi.service.metatype.annotations.AttributeDefinition;
import org.osgi.service.metatype.annotations.ObjectClassDefinition;

/** Settings; the method names are the users' keys ({@code dmsnapshot.min_size} and so on). */
@ObjectClassDefinition(
        name = "RamPipe: pinning with dm-snapshot",
        description = "Which single files may be pinned behind a snapshot.")
@interface Config {
    String PID = "io.rampipe.pin.dmsnapshot";

    String DEFAULT_MIN_SIZE = "16M";
    String DEFAULT_GROWTH = "64M";
    String DEFAULT_STORE = "128M";

    @AttributeDefinition(
            name = "Smallest file",
            description =
                    "A file below this size (such as 16M) is better copied to RAM as a whole, which"
                            + " overlayfs does.",
            min = "0",
            max = "1T")
    String dmsnapshot_min__size() default DEFAULT_MIN_SIZE;

    @AttributeDefinition(
            name = "Growth",
            description =
                    "How much a pinned file may grow (such as 64M) until programs are told that the"
                            + " disk is full. Set aside in RAM for as long as it is pinned.",
            min = "1M",
            max = "1T")
    String dmsnapshot_growth() default DEFAULT_GROWTH;

    @AttributeDefinition(
            name = "Store",
            description =
                    "How much RAM is set aside for what changes of one file (such as 128M). For a file that is"
                            + " larger as much as it has is set aside on its disk as well, and what has changed is"
                            + " written to it before the RAM is full.",
            min = "8M",
            max = "1T")
    String dmsnapshot_store() default DEFAULT_STORE;

    @AttributeDefinition(
            name = "Disk images",
            description =
                    "Raw disk images, which are pinned as block devices: patterns as in watch.include. Only"
                            + " for files whose users treat them as disks (mount -o loop, virtual machines):"
                            + " a block device has no size for stat, and cannot be truncated, appended to, renamed"
                            + " or copied as a file.",
            required = false)
    String[] dmsnapshot_block() default {};
}
