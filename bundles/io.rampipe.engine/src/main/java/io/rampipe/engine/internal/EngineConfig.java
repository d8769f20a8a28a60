package io.rampipe.engine.internal;

import org.osgi.service.metatype.annotations.AttributeDefinition;
import org.osgi.service.metatype.annotations.ObjectClassDefinition;
import org.osgi.service.metatype.annotations.Option;

/**
 * What the user sets of the engine. Sizes and times are texts with units, see {@link
 * io.rampipe.api.Units}.
 */
@ObjectClassDefinition(
        id = EngineConfig.PID,
        name = "RamPipe engine",
        description = "What is watched, what is hot, and how much RAM it may take.")
public @interface EngineConfig {
    String PID = "io.rampipe.engine";

    @AttributeDefinition(
            description =
                    "Directories below which files are watched and may be pinned. Empty: nothing is pinned; see"
                            + " observe.directories.",
            required = false)
    String[] watch_directories() default {};

    @AttributeDefinition(
            description =
                    "As long as watch.directories is empty, files below these are watched, and 'rampipe top' tells"
                            + " what would be pinned; nothing is. Empty: nothing is watched.",
            required = false)
    String[] observe_directories() default {"/home", "/root", "/srv", "/var"};

    @AttributeDefinition(
            description =
                    "Only paths that match one of these patterns are pinned (* within a name, ** across, ?"
                            + " one character). Empty: all.",
            required = false)
    String[] watch_include() default {};

    @AttributeDefinition(
            description =
                    "Paths that match one of these patterns are never pinned. A pattern without a slash is"
                            + " matched against names.",
            required = false)
    String[] watch_exclude() default {};

    @AttributeDefinition(
            description =
                    "How long events are left to gather before they are fetched. Longer: less work; rates"
                            + " above 1/tick cannot be told apart.",
            min = "5ms",
            max = "1s")
    String watch_tick() default "50ms";

    @AttributeDefinition(description = "Weight of a write.", min = "0", max = "1000")
    double weight_write() default 1;

    @AttributeDefinition(description = "Weight of an open.", min = "0", max = "1000")
    double weight_open() default 0;

    @AttributeDefinition(description = "Weight of a read.", min = "0", max = "1000")
    double weight_read() default 0;

    @AttributeDefinition(
            description = "Weight of closing a file that was open for writing.",
            min = "0",
            max = "1000")
    double weight_close() default 0;

    @AttributeDefinition(
            description = "Weight of a name that is created, deleted, moved or replaced.",
            min = "0",
            max = "1000")
    double weight_name() default 1;

    @AttributeDefinition(
            description = "Accesses a second at or above which a directory or file is pinned.",
            min = "0.01",
            max = "1000")
    double pin_rate() default 1.0;

    @AttributeDefinition(
            description = "Accesses a second at or below which it is unpinned. Below pin.rate.",
            min = "0",
            max = "1000")
    double unpin_rate() default 0.2;

    @AttributeDefinition(
            description = "Least time between pinning and unpinning for coldness.",
            min = "0s",
            max = "7d")
    String pin_min__time() default "30s";

    @AttributeDefinition(
            description =
                    "Keep in mind, over reboots too, what was hot, and pin it at the start, before programs open"
                            + " it. false: what is known is forgotten.")
    boolean warm_start() default true;

    @AttributeDefinition(
            description = "How long what is pinned so may stay without being used.",
            min = "0s",
            max = "1d")
    String warm_time() default "5m";

    @AttributeDefinition(
            description =
                    "RAM for pinned files: a size, or 'auto' for 1G or a quarter of the machine's memory,"
                            + " whichever is less.",
            options = @Option(label = "auto", value = "auto"),
            min = "1M",
            max = "1T")
    String pool_size() default "auto";

    @AttributeDefinition(
            description =
                    "Percent of the pool that is never planned with, so that pinned files can grow.",
            min = "1",
            max = "50")
    int pool_reserve() default 10;

    @AttributeDefinition(
            description =
                    "Percent of the pool at which files are unpinned to make room (and the pool is enlarged"
                            + " meanwhile, as long as memory.reserve is left).",
            min = "20",
            max = "95")
    int pool_high__water() default 80;

    @AttributeDefinition(
            description =
                    "Memory of the machine that must stay available; below it nothing is pinned and the coldest"
                            + " are unpinned. A size, or 'auto' for a tenth of the machine's memory.",
            options = @Option(label = "auto", value = "auto"),
            min = "0B",
            max = "1T")
    String memory_reserve() default "auto";

    @AttributeDefinition(
            description =
                    "Percent of time that programs wait for memory (some avg10 of /proc/pressure/memory) above"
                            + " which nothing is pinned and the coldest are unpinned.",
            min = "1",
            max = "100")
    int memory_pressure() default 20;

    @AttributeDefinition(
            description =
                    "How often changes in pinned files are written to disk: the most that a power cut can"
                            + " take.",
            min = "1s",
            max = "1d")
    String checkpoint_interval() default "10s";

    @AttributeDefinition(
            description =
                    "Other intervals for some targets: patterns as in watch.include, each with a time from 1s"
                            + " to 1d, such as /home/*/.mozilla=60s, /var/lib/db=2s. The first that matches"
                            + " decides.",
            required = false)
    String[] checkpoint_intervals() default {};

    @AttributeDefinition(
            description =
                    "How long the programs that write to a pinned target may be held still for a checkpoint, if"
                            + " it does not rest by itself. 0: never; then what never rests is not written until"
                            + " it does.",
            min = "0s",
            max = "5s")
    String checkpoint_freeze() default "500ms";

    @AttributeDefinition(
            description = "How long a stop goes on trying to unpin what is in use.",
            min = "0s",
            max = "1h")
    String stop_timeout() default "60s";

    @AttributeDefinition(
            description =
                    "How long a pin strategy or a syncback may take for one step, such as writing a pinned"
                            + " directory to disk, until it is taken to hang: then it gets nothing new, and what"
                            + " is pinned stays. For what takes no more than a look it is a minute at most.",
            min = "1s",
            max = "1d")
    String strategy_timeout() default "10m";

    @AttributeDefinition(
            description =
                    "Event source to use: a name, or 'auto' for fanotify, or inotify where fanotify does not"
                            + " work.")
    String source_use() default "auto";

    @AttributeDefinition(description = "Rate estimator to use: a name.")
    String rate_use() default "ema";

    @AttributeDefinition(
            description =
                    "Pin strategies in the order in which they are asked; each takes only what it is good for, and"
                            + " the first that takes a target pins it. What is not named here makes no new pins. 'rampipe"
                            + " why PATH' shows what each says.")
    String[] strategy_order() default {"overlayfs"};

    @AttributeDefinition(
            description =
                    "Syncbacks in the order of preference: a new pin gets the first that understands it, one that is"
                            + " not named here only if none of these does.",
            required = false)
    String[] sync_order() default {};
}
