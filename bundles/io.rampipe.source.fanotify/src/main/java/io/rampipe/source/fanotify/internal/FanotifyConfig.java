package io.rampipe.source.fanotify.internal;

import org.osgi.service.metatype.annotations.AttributeDefinition;
import org.osgi.service.metatype.annotations.ObjectClassDefinition;

/** What is watched beyond writes and names. */
@ObjectClassDefinition(
        name = "RamPipe event source: fanotify",
        description = "Which accesses the kernel is asked to report.")
@interface FanotifyConfig {
    String PID = "io.rampipe.source.fanotify";

    @AttributeDefinition(
            name = "watch.opens",
            description = "Also report each time a file is opened. Costs the programs a little.")
    boolean watch_opens() default false;

    @AttributeDefinition(
            name = "watch.reads",
            description = "Also report each read. Costs programs that read in small pieces.")
    boolean watch_reads() default false;
}
