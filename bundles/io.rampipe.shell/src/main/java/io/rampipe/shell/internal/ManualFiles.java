package io.rampipe.shell.internal;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * The man page rampipe(1) and the completions for bash and zsh, made from {@link Manual} when the
 * distribution is built: so that none of them knows other commands than the daemon.
 */
final class ManualFiles {
    /** What the client does without the daemon. */
    private static final List<Entry> OF_THE_CLIENT =
            List.of(
                    new Entry(
                            "doctor",
                            "[--conf DIR] [--json]",
                            "check what RamPipe needs of this machine",
                            "Needs no daemon. The exit status is 1 if something keeps RamPipe from working."),
                    new Entry("gogo", "LINE", "run a line of the OSGi shell in the daemon", ""),
                    new Entry("shell", "", "an OSGi shell in the daemon, line by line", ""));

    private static final List<String> OPTIONS = List.of("--runtime", "--version", "--help");

    /** A command as users see it. */
    record Entry(String name, String arguments, String summary, String details) {
        List<String> options() {
            List<String> options = new ArrayList<>(Manual.options(arguments));
            options.add("--help");
            return options;
        }

        boolean takesPaths() {
            return arguments.contains("PATH");
        }
    }

    private ManualFiles() {}

    /**
     * Writes the files.
     *
     * @param args the distribution's directory; the version
     */
    public static void main(String[] args) throws IOException {
        Path home = Path.of(args[0]);
        write(home.resolve("man/rampipe.1"), page(args[1]));
        write(home.resolve("completion/rampipe.bash"), bash());
        write(home.resolve("completion/_rampipe"), zsh());
    }

    private static void write(Path file, String text) throws IOException {
        Files.createDirectories(file.getParent());
        Files.writeString(file, text);
    }

    static List<Entry> entries() {
        return Stream.concat(
                        Stream.of(Manual.values())
                                .map(
                                        m ->
                                                new Entry(
                                                        m.toString(),
                                                        m.arguments(),
                                                        m.summary(),
                                                        m.details())),
                        OF_THE_CLIENT.stream())
                .toList();
    }

    static String page(String version) {
        StringBuilder out = new StringBuilder();
        out.append(".TH RAMPIPE 1 \"\" \"RamPipe ")
                .append(version)
                .append("\" \"User commands\"\n");
        out.append(
                """
                .SH NAME
                rampipe \\- tell the RamPipe daemon what to do, and show what it does
                .SH SYNOPSIS
                .B rampipe
                .RB [ \\-\\-runtime
                .IR DIR ]
                .I COMMAND
                .RI [ ARGUMENT ]...
                .SH DESCRIPTION
                RamPipe finds the files that a machine uses most, serves them from RAM while they are hot, and
                writes them back to disk.
                This program talks to its daemon,
                .BR rampiped (8).
                Only root may do that.
                .SH OPTIONS
                .TP
                .BI \\-\\-runtime " DIR"
                Where the daemon's socket is.
                .TP
                .B \\-\\-version
                Print the version, and exit.
                .TP
                .B \\-\\-help
                Print a list of the commands, and exit. After a command: what it does.
                .SH COMMANDS
                """);
        for (Entry entry : entries()) {
            out.append(".SS \"rampipe ")
                    .append(roff((entry.name() + " " + entry.arguments()).strip()))
                    .append("\"\n");
            out.append(
                            roff(
                                    Character.toUpperCase(entry.summary().charAt(0))
                                            + entry.summary().substring(1)))
                    .append(".\n");
            if (!entry.details().isBlank()) {
                out.append(".PP\n.nf\n");
                entry.details()
                        .stripTrailing()
                        .lines()
                        .forEach(l -> out.append(roff(l)).append('\n'));
                out.append(".fi\n");
            }
        }
        out.append(
                """
                .SH EXIT STATUS
                0 done; 1 the command failed; 2 wrong usage; 3 the daemon is not running or cannot be reached;
                4 permission denied.
                .SH ENVIRONMENT
                .TP
                .B RAMPIPE_RUNTIME
                Used where
                .B \\-\\-runtime
                is not given.
                .SH FILES
                .TP
                .I /run/rampipe/control
                The daemon's socket.
                .SH SEE ALSO
                .BR rampiped (8),
                .BR rampipe.cfg (5),
                .BR rampipe\\-rescue (8)
                """);
        return out.toString();
    }

    /** As {@code groff_man(7)} wants text: a minus that can be copied, no requests by accident. */
    static String roff(String text) {
        String escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("\"", "\\(dq");
        return escaped.startsWith(".") || escaped.startsWith("'") ? "\\&" + escaped : escaped;
    }

    static String bash() {
        StringBuilder out = new StringBuilder();
        out.append(
                """
                # Completion of rampipe for bash; made from the daemon's commands.
                _rampipe() {
                    local current=${COMP_WORDS[COMP_CWORD]} command= i words= paths=
                    COMPREPLY=()
                    for ((i = 1; i < COMP_CWORD; i++)); do
                        case ${COMP_WORDS[i]} in
                            --runtime) ((i++)) ;;
                            -*) ;;
                            *)
                                command=${COMP_WORDS[i]}
                                break
                                ;;
                        esac
                    done
                    if [[ ${COMP_WORDS[COMP_CWORD - 1]} == --runtime || ${COMP_WORDS[COMP_CWORD - 1]} == --conf ]]; then
                        compopt -o filenames
                        mapfile -t COMPREPLY < <(compgen -d -- "$current")
                        return
                    fi
                    case $command in
                """);
        String indent = "        ";
        out.append(indent)
                .append("'') words='")
                .append(String.join(" ", entries().stream().map(Entry::name).toList()))
                .append(' ')
                .append(String.join(" ", OPTIONS))
                .append("' ;;\n");
        for (Entry entry : entries()) {
            out.append(indent).append(entry.name()).append(") words='").append(words(entry));
            out.append(entry.takesPaths() ? "' paths=yes ;;\n" : "' ;;\n");
        }
        out.append(
                """
                    esac
                    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
                    if [[ -n $paths && $current != -* ]]; then
                        compopt -o filenames
                        mapfile -t COMPREPLY < <(compgen -f -- "$current")
                    fi
                }
                complete -F _rampipe rampipe
                """);
        return out.toString();
    }

    private static String words(Entry entry) {
        List<String> words = new ArrayList<>(entry.options());
        if (entry.name().equals("help")) {
            Stream.of(Manual.values()).map(Manual::toString).forEach(words::add);
        }
        if (entry.arguments().startsWith("KIND")) {
            words.addAll(List.of("source", "rate", "pin", "sync"));
        }
        return String.join(" ", words);
    }

    static String zsh() {
        StringBuilder out = new StringBuilder();
        out.append(
                """
                #compdef rampipe
                # Completion of rampipe for zsh; made from the daemon's commands.
                local context state state_descr line
                typeset -A opt_args
                _arguments -C \\
                    '--runtime[where the socket is]:directory:_files -/' \\
                    '(- *)--version[print the version]' \\
                    '(- *)--help[list the commands]' \\
                    '1:command:->command' \\
                    '*::argument:->argument'
                case $state in
                    command)
                        local -a commands=(
                """);
        for (Entry entry : entries()) {
            out.append("            '")
                    .append(entry.name())
                    .append(':')
                    .append(entry.summary().replace("'", "'\\''"))
                    .append("'\n");
        }
        out.append(
                """
                        )
                        _describe command commands
                        ;;
                    argument)
                        case $words[1] in
                """);
        for (Entry entry : entries()) {
            out.append("            ")
                    .append(entry.name())
                    .append(") compadd -- ")
                    .append(words(entry))
                    .append(entry.takesPaths() ? "; _files ;;\n" : " ;;\n");
        }
        out.append(
                """
                        esac
                        ;;
                esac
                """);
        return out.toString();
    }
}
