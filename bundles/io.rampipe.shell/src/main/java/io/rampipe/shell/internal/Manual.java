package io.rampipe.shell.internal;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** What there is to say about each command. */
enum Manual {
    PINS(
            Manual.DO_PINS,
            "[--json]",
            """
            A row for each pinned file or directory, hottest first:
              STATE     pinned; syncing; busy: to be unpinned, but in use; failing: see the line
                        below it; orphaned: the bundle of its strategy is not there
              BY        rate: it was hot; hand: by the command pin
              RATE      accesses a second
              SIZE      held in RAM
              UNSYNCED  would be lost now at a power cut, at most
              OLDEST    no change is missing on disk that is older
              EVERY     its checkpoint.interval
              SINCE     pinned for how long
            """),
    TOP(
            Manual.DO_TOP,
            "[-n NUMBER] [--json]",
            """
              -n NUMBER  how many; 20 unless given
            A row for each, hottest first: pinned; hot: it will be pinned; warm: not hot enough;
            refused: with the reason below it.
            """),
    WHY(
            Manual.DO_WHY,
            "PATH... [--json]",
            """
            Says whether PATH is watched, how hot it is, and each reason why it is pinned or not.
            """),
    PIN(
            Manual.DO_PIN,
            "PATH... [--json]",
            """
            Whatever its rate. It stays until it is unpinned, or until room is needed.
            """),
    UNPIN(
            Manual.DO_UNPIN,
            "PATH...|--all [--json]",
            """
            Fails for what is in use: that was written to disk, and stays pinned.
            """),
    SYNC(
            Manual.DO_SYNC,
            "PATH...|--all [--json]",
            """
            Returns when everything is on disk. Fails for a target that is being written to all
            the time, so that there is no moment at which a copy would be consistent.
            """),
    CONFLICTS(
            Manual.DO_CONFLICTS,
            "[--json]",
            """
            What others have changed on disk, past RamPipe, while it was pinned and changed in RAM:
            both versions are kept, that from RAM as NAME.rampipe-conflict-ID beside the other.
            Compare them, take what is right, and remove the copy: then it is not listed any more.
            An entry without a copy is listed for a week.
            """),
    STATUS(Manual.DO_STATUS, "[--json]", ""),
    STRATEGIES(
            Manual.DO_STRATEGIES,
            "[--json]",
            """
            A row for each, those in use first:
              KIND    source: tells which files are used; rate: how much; pin: puts them into RAM;
                      sync: writes them back
              STATE   active; unusable: this machine does not let it work; inactive: its bundle
                      runs, but not the strategy; stopped; unresolved: its bundle lacks something;
                      missing: the configuration or a pin names it, and no bundle has it
              IN USE  for what is done from now on; pin strategies are asked in this order
              PINS    that it holds, whether in use or not
            """),
    USE(
            Manual.DO_USE,
            "KIND NAME [--json]",
            """
            KIND is source, rate, pin or sync, NAME one of those that strategies lists, or for source
            auto: the first that works. Takes effect at once, and is written into the configuration
            file, where everything else stays as it is: the keys source.use, rate.use, strategy.order
            and sync.order. In an order NAME comes first, and what it does not take is left to the
            others. Pins stay with the strategies that made them.
            """),
    MIGRATE(
            Manual.DO_MIGRATE,
            "PATH NAME [--json]",
            """
            Writes to disk what changed in the pinned PATH, takes it out of RAM, and pins it with the
            strategy NAME. If that does not take it, it goes back to the one that it had, and the
            command fails with the reason. Fails for what is in use: that was written to disk, and
            stays as it is.
            """),
    CONFIG(
            Manual.DO_CONFIG,
            "[KEY...] [--template] [--json]",
            """
              --template  print a complete configuration file, every key described
            Without KEY: all keys with their values, and why the file was refused, if it was.
            With KEY, which may end in *: everything about these.
            """),
    RELOAD(
            Manual.DO_RELOAD,
            "[--json]",
            """
            Reads the configuration file again now; by itself that happens within two seconds. Fails
            if the file is refused, with the reasons: the last valid configuration stays in force.
            """),
    FREEZE(
            Manual.DO_FREEZE,
            "[--for TIME] [--json]",
            """
              --for TIME  thaw by itself after that time; 10m if not given, 1d at most
            For backups. Nothing is pinned from now on; every pin is written to disk and taken out
            of RAM, so that programs write to the disk itself. A pin that is in use stays: it is
            written to disk every second (the most that RAM holds alone), and taken away as soon as
            it is free. These are listed, and the exit status is 1: for them, stop the program, or
            copy from the target's path rather than from the disk. A restarted daemon is not frozen.
            """),
    THAW(
            Manual.DO_THAW,
            "[--json]",
            """
            Ends freeze. What was pinned by hand is pinned again, and what is hot.
            """),
    SHUTDOWN(
            Manual.DO_SHUTDOWN,
            "[--json]",
            """
            Unpins everything and stops the daemon. If something cannot be unpinned, the daemon
            runs on, without pinning anything new: end the programs that use it, and try again.
            """),
    HELP(Manual.DO_HELP, "[COMMAND]", "");

    static final String DO_PINS = "list what is pinned";
    static final String DO_TOP = "list the hottest files and directories";
    static final String DO_WHY = "explain why something is pinned or not";
    static final String DO_PIN = "put a file or directory into RAM now";
    static final String DO_UNPIN = "write to disk what changed, and take it out of RAM";
    static final String DO_SYNC = "write to disk what changed; it stays in RAM";
    static final String DO_CONFLICTS = "list what others changed behind RamPipe's back";
    static final String DO_STATUS = "show how the daemon is";
    static final String DO_STRATEGIES = "list event sources, estimators, pin and sync strategies";
    static final String DO_USE = "use another strategy from now on";
    static final String DO_MIGRATE = "move a pin to another pin strategy";
    static final String DO_CONFIG = "show the configuration in force";
    static final String DO_RELOAD = "put the configuration file in force now";
    static final String DO_FREEZE = "write everything to disk and pin nothing for a while";
    static final String DO_THAW = "end freeze";
    static final String DO_SHUTDOWN = "write everything to disk and stop the daemon";
    static final String DO_HELP = "list the commands, or describe one";

    private static final String JSON =
            """
              --json     for programs: sizes in bytes, rates a second, times in milliseconds since the
                         epoch. A path that is not UTF-8 comes escaped, and as hex beside it
            """;

    private final String summary;
    private final String arguments;
    private final String details;

    Manual(String summary, String arguments, String details) {
        this.summary = summary;
        this.arguments = arguments;
        this.details = details;
    }

    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }

    String summary() {
        return summary;
    }

    String synopsis() {
        return "rampipe " + this + (arguments.isEmpty() ? "" : " " + arguments);
    }

    /** The options it takes, but for --help. */
    List<String> options() {
        return options(arguments);
    }

    String arguments() {
        return arguments;
    }

    String details() {
        return details;
    }

    static List<String> options(String arguments) {
        return Arrays.stream(arguments.split("[\\[\\]| .]+"))
                .filter(word -> word.startsWith("-"))
                .toList();
    }

    String text() {
        return (synopsis()
                        + "\n"
                        + Character.toUpperCase(summary.charAt(0))
                        + summary.substring(1)
                        + ".\n"
                        + (arguments.contains("--json") ? JSON : "")
                        + details)
                .stripTrailing();
    }

    static String all() {
        Table table = new Table("", "");
        for (Manual manual : values()) {
            table.row("  " + manual, manual.summary);
        }
        return table + "\n'help COMMAND' or 'COMMAND --help' says more.";
    }
}
