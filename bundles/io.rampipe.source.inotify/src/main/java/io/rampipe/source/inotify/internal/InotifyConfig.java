package io.rampipe.source.inotify.internal;

import org.osgi.service.metatype.annotations.AttributeDefinition;
import org.osgi.service.metatype.annotations.ObjectClassDefinition;

/** What is watched beyond writes and names, and how much. */
@ObjectClassDefinition(
        name = "RamPipe event source: inotify",
        description = "Which accesses the kernel is asked to report, in how many directories.")
@interface InotifyConfig {
    String PID = "io.rampipe.source.inotify";

    @AttributeDefinition(
            name = "watch.opens",
            description = "Also report each time a file is opened. Costs the programs a little.")
    boolean watch_opens() default false;

    @AttributeDefinition(
            name = "watch.reads",
            description = "Also report each read. Costs programs that read in small pieces.")
    boolean watch_reads() default false;

    @AttributeDefinition(
            name = "inotify.max_watches",
            description =
                    "Directories that inotify watches at most; each takes about 1 KiB of the kernel's memory"
                            + " and 200 bytes of the daemon's. The kernel's own limit is the sysctl"
                            + " fs.inotify.max_user_watches.",
            min = "16",
            max = "1000000")
    int inotify_max__watches() default 65_536;
}
