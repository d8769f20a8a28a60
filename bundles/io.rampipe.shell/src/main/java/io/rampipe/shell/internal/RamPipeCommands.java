package io.rampipe.shell.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Printable;
import io.rampipe.api.RamPipe;
import io.rampipe.api.RamPipe.PinStatus;
import io.rampipe.api.Settings;
import io.rampipe.api.SyncBack;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.NoSuchFileException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalInt;
import org.apache.felix.service.command.Descriptor;
import org.osgi.framework.BundleContext;
import org.osgi.framework.BundleException;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.annotations.ReferenceCardinality;
import org.osgi.service.component.annotations.ReferencePolicy;
import org.osgi.service.component.annotations.ReferencePolicyOption;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

/**
 * The Gogo commands. Each returns its text, which the shell prints and pipes; a command that fails
 * throws. One that failed for some of its paths only prints what it did first.
 *
 * <p>They take nothing but strings: with the session as another parameter, Gogo 1.1.6 fails on
 * arguments that it reads as null.
 */
@Component(
        service = RamPipeCommands.class,
        property = {
            "osgi.command.scope=rampipe",
            "osgi.command.function=pins",
            "osgi.command.function=top",
            "osgi.command.function=why",
            "osgi.command.function=pin",
            "osgi.command.function=unpin",
            "osgi.command.function=sync",
            "osgi.command.function=conflicts",
            "osgi.command.function=status",
            "osgi.command.function=strategies",
            "osgi.command.function=use",
            "osgi.command.function=migrate",
            "osgi.command.function=config",
            "osgi.command.function=reload",
            "osgi.command.function=freeze",
            "osgi.command.function=thaw",
            "osgi.command.function=shutdown",
            "osgi.command.function=help"
        })
public final class RamPipeCommands {
    private static final int TOP = 20;
    private static final Duration FREEZE = Duration.ofMinutes(10);
    private static final String ARGUMENTS = "see rampipe:help COMMAND";

    /** What a command does with its arguments. */
    @FunctionalInterface
    private interface Body {
        String run(Arguments arguments) throws IOException, CommandFailed;
    }

    /** What a command does with each path. */
    @FunctionalInterface
    private interface Work {
        Outcome on(FilePath path) throws IOException, CommandFailed;
    }

    private final BundleContext context;
    private final Logger log;

    @Reference(
            cardinality = ReferenceCardinality.OPTIONAL,
            policy = ReferencePolicy.DYNAMIC,
            policyOption = ReferencePolicyOption.GREEDY)
    private volatile RamPipe rampipe;

    @Reference(
            cardinality = ReferenceCardinality.OPTIONAL,
            policy = ReferencePolicy.DYNAMIC,
            policyOption = ReferencePolicyOption.GREEDY)
    private volatile Settings settings;

    @Activate
    public RamPipeCommands(
            BundleContext context, @Reference(service = LoggerFactory.class) Logger log) {
        this.context = context;
        this.log = log;
    }

    /** For tests: without Declarative Services. */
    RamPipeCommands(BundleContext context, Logger log, RamPipe rampipe, Settings settings) {
        this(context, log);
        this.rampipe = rampipe;
        this.settings = settings;
    }

    @Descriptor(Manual.DO_PINS)
    public String pins(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.PINS,
                args,
                arguments -> {
                    arguments.noOperands();
                    List<PinStatus> pins = engine().pins();
                    return arguments.has("--json")
                            ? Json.object(json -> json.list("pins", pins, Reports::pin))
                            : Reports.pins(pins, System.currentTimeMillis());
                });
    }

    @Descriptor(Manual.DO_TOP)
    public String top(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.TOP,
                args,
                arguments -> {
                    int most = arguments.noOperands().number(TOP);
                    var files = engine().top(most);
                    return arguments.has("--json")
                            ? Json.object(json -> json.list("files", files, Reports::hot))
                            : Reports.top(files);
                });
    }

    @Descriptor(Manual.DO_WHY)
    public String why(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.WHY,
                args,
                arguments -> {
                    List<RamPipe.Explanation> all = new ArrayList<>();
                    for (FilePath path : paths(arguments)) {
                        all.add(engine().why(path));
                    }
                    return arguments.has("--json")
                            ? Json.object(json -> json.list("paths", all, Reports::why))
                            : String.join("\n", all.stream().map(Reports::why).toList());
                });
    }

    @Descriptor(Manual.DO_PIN)
    public String pin(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.PIN,
                args,
                arguments ->
                        each(
                                arguments,
                                paths(arguments),
                                path -> {
                                    PinStatus pin = engine().pin(path);
                                    return new Outcome(
                                            pin.target().path(),
                                            "pinned by "
                                                    + pin.strategy()
                                                    + ", "
                                                    + Human.size(pin.size())
                                                    + " in RAM",
                                            json -> Reports.pin(json, pin));
                                }));
    }

    @Descriptor(Manual.DO_UNPIN)
    public String unpin(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.UNPIN,
                args,
                arguments ->
                        each(
                                arguments,
                                pinned(arguments),
                                path -> written(path, "unpinned", engine()::unpin)));
    }

    @Descriptor(Manual.DO_SYNC)
    public String sync(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.SYNC,
                args,
                arguments ->
                        each(
                                arguments,
                                pinned(arguments),
                                path -> written(path, "synced", engine()::sync)));
    }

    @Descriptor(Manual.DO_CONFLICTS)
    public String conflicts(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.CONFLICTS,
                args,
                arguments -> {
                    arguments.noOperands();
                    var all = engine().conflicts();
                    return arguments.has("--json")
                            ? Json.object(json -> json.list("conflicts", all, Reports::conflict))
                            : Reports.conflicts(all, System.currentTimeMillis());
                });
    }

    @Descriptor(Manual.DO_STATUS)
    public String status(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.STATUS,
                args,
                arguments -> {
                    arguments.noOperands();
                    RamPipe.Status status = engine().status();
                    OptionalInt conflicts = conflicts();
                    return arguments.has("--json")
                            ? Json.object(json -> Reports.status(json, status, conflicts))
                            : Reports.status(status, conflicts);
                });
    }

    /** Empty if they cannot be told; the command conflicts says why. */
    private OptionalInt conflicts() throws CommandFailed {
        try {
            return OptionalInt.of(engine().conflicts().size());
        } catch (IOException e) {
            return OptionalInt.empty();
        }
    }

    @Descriptor(Manual.DO_STRATEGIES)
    public String strategies(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.STRATEGIES,
                args,
                arguments -> {
                    arguments.noOperands();
                    var all = engine().strategies();
                    return arguments.has("--json")
                            ? Json.object(json -> json.list("strategies", all, Reports::strategy))
                            : Reports.strategies(all);
                });
    }

    @Descriptor(Manual.DO_USE)
    public String use(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.USE,
                args,
                arguments -> {
                    if (arguments.operands().size() != 2) {
                        throw arguments.wrong("which KIND and NAME?");
                    }
                    String kind = arguments.operands().get(0);
                    String name = arguments.operands().get(1);
                    if (!Use.KEYS.containsKey(kind)) {
                        throw arguments.wrong(
                                "there is no kind "
                                        + Printable.of(kind)
                                        + ", only source, rate, pin and sync");
                    }
                    Use use = new Use(engine(), configuration(), kind, name);
                    String value = use.apply();
                    return arguments.has("--json")
                            ? Json.object(
                                    json ->
                                            json.put("kind", kind)
                                                    .put("name", name)
                                                    .put("key", Use.KEYS.get(kind))
                                                    .put("value", value))
                            : use.done();
                });
    }

    @Descriptor(Manual.DO_MIGRATE)
    public String migrate(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.MIGRATE,
                args,
                arguments -> {
                    if (arguments.operands().size() != 2) {
                        throw arguments.wrong("which PATH, and to which strategy?");
                    }
                    String strategy = arguments.operands().get(1);
                    return each(
                            arguments,
                            List.of(Paths.of(arguments.operands().get(0))),
                            path -> {
                                PinStatus pin;
                                try {
                                    pin = engine().migrate(path, strategy);
                                } catch (NoSuchFileException e) {
                                    return Outcome.failed(path, e.getFile());
                                }
                                return new Outcome(
                                        pin.target().path(),
                                        "now pinned by "
                                                + pin.strategy()
                                                + ", "
                                                + Human.size(pin.size())
                                                + " in RAM",
                                        json -> Reports.pin(json, pin));
                            });
                });
    }

    @Descriptor(Manual.DO_CONFIG)
    public String config(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(Manual.CONFIG, args, this::config);
    }

    private Settings configuration() throws CommandFailed {
        Settings now = settings;
        if (now == null) {
            throw new CommandFailed(
                    "the configuration is out of reach: the bundle io.rampipe.config is not active");
        }
        return now;
    }

    private String config(Arguments arguments) throws CommandFailed {
        Settings now = configuration();
        if (arguments.has("--template")) {
            arguments.noOperands();
            return now.template().stripTrailing();
        }
        List<Settings.Setting> chosen = now.settings();
        if (!arguments.operands().isEmpty()) {
            List<Settings.Setting> all = chosen;
            chosen = new ArrayList<>();
            for (String wanted : arguments.operands()) {
                int before = chosen.size();
                for (Settings.Setting setting : all) {
                    if (matches(wanted, setting.key()) && !chosen.contains(setting)) {
                        chosen.add(setting);
                    }
                }
                if (chosen.size() == before) {
                    throw new CommandFailed(
                            "there is no key " + Printable.of(wanted) + "; see config");
                }
            }
        }
        List<Settings.Setting> shown = chosen;
        if (arguments.has("--json")) {
            return Json.object(
                    json ->
                            json.list("settings", shown, SettingsReport::setting)
                                    .texts("problems", now.problems()));
        }
        return arguments.operands().isEmpty()
                ? SettingsReport.all(shown, now.problems())
                : SettingsReport.some(shown);
    }

    private static boolean matches(String wanted, String key) {
        return wanted.endsWith("*")
                ? key.startsWith(wanted.substring(0, wanted.length() - 1))
                : key.equals(wanted);
    }

    @Descriptor(Manual.DO_RELOAD)
    public String reload(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.RELOAD,
                args,
                arguments -> {
                    arguments.noOperands();
                    configuration().reload();
                    return arguments.has("--json")
                            ? Json.object(json -> json.put("reloaded", true))
                            : "The configuration file is in force.";
                });
    }

    @Descriptor(Manual.DO_FREEZE)
    public String freeze(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.FREEZE,
                args,
                arguments -> {
                    Duration time = arguments.noOperands().time(FREEZE);
                    RamPipe.Frozen frozen = engine().freeze(time);
                    long now = System.currentTimeMillis();
                    boolean json = arguments.has("--json");
                    String text =
                            json
                                    ? Json.object(out -> Reports.frozen(out, frozen))
                                    : Reports.frozen(frozen, now);
                    if (frozen.left().isEmpty()) {
                        return text;
                    }
                    print(text);
                    throw new CommandFailed(
                            Human.count(frozen.left().size(), "target")
                                    + " could not be taken out of RAM");
                });
    }

    @Descriptor(Manual.DO_THAW)
    public String thaw(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.THAW,
                args,
                arguments -> {
                    arguments.noOperands();
                    boolean was = engine().thaw();
                    return arguments.has("--json")
                            ? Json.object(json -> json.put("was_frozen", was))
                            : was ? "Thawed." : "It was not frozen.";
                });
    }

    @Descriptor(Manual.DO_SHUTDOWN)
    public String shutdown(@Descriptor(ARGUMENTS) String[] args) throws CommandFailed {
        return run(
                Manual.SHUTDOWN,
                args,
                arguments -> {
                    arguments.noOperands();
                    Map<FilePath, String> left = engine().shutdown();
                    List<Outcome> outcomes =
                            left.entrySet().stream()
                                    .map(e -> Outcome.failed(e.getKey(), e.getValue()))
                                    .toList();
                    if (!left.isEmpty()) {
                        print(text(arguments, outcomes));
                        throw new CommandFailed(
                                Human.count(left.size(), "target")
                                        + " could not be unpinned: the daemon runs on, but pins"
                                        + " nothing new; remove the causes, and try again");
                    }
                    stopFramework();
                    return arguments.has("--json")
                            ? text(arguments, outcomes)
                            : "Everything is on disk; the daemon stops.";
                });
    }

    /** Returns at once; the framework stops its bundles on a thread of its own. */
    private void stopFramework() throws CommandFailed {
        try {
            context.getBundle(0).stop();
        } catch (BundleException e) {
            throw new CommandFailed("the framework does not stop: " + e.getMessage(), e);
        }
    }

    @Descriptor(Manual.DO_HELP)
    public String help(@Descriptor("a command") String[] args) throws CommandFailed {
        return run(
                Manual.HELP,
                args,
                arguments -> {
                    if (arguments.operands().isEmpty()) {
                        return Manual.all();
                    }
                    List<String> texts = new ArrayList<>();
                    for (String name : arguments.operands()) {
                        texts.add(manual(arguments, name).text());
                    }
                    return String.join("\n\n", texts);
                });
    }

    private static Manual manual(Arguments arguments, String name) {
        try {
            return Manual.valueOf(name.replaceFirst("^rampipe:", "").toUpperCase(Locale.ROOT));
        } catch (IllegalArgumentException e) {
            throw arguments.wrong("there is no command " + Printable.of(name));
        }
    }

    /** Help, and errors that users understand. */
    private String run(Manual manual, String[] args, Body body) throws CommandFailed {
        Arguments arguments = Arguments.of(manual, args);
        if (arguments.has("--help")) {
            return manual.text();
        }
        try {
            return body.run(arguments);
        } catch (IOException e) {
            throw new CommandFailed(message(e), e);
        } catch (WrongUsage e) {
            throw e;
        } catch (RuntimeException e) {
            log.error("command {} failed", manual, e);
            throw new CommandFailed("internal error, see the log: " + e, e);
        }
    }

    private RamPipe engine() throws CommandFailed {
        RamPipe now = rampipe;
        if (now == null) {
            throw new CommandFailed(
                    "the engine is not running: it is starting or stopping, or the log says why it"
                            + " cannot");
        }
        return now;
    }

    private static List<FilePath> paths(Arguments arguments) {
        if (arguments.operands().isEmpty()) {
            throw arguments.wrong("which path?");
        }
        return arguments.operands().stream().map(Paths::of).toList();
    }

    private List<FilePath> pinned(Arguments arguments) throws CommandFailed {
        if (!arguments.has("--all")) {
            return paths(arguments);
        }
        arguments.noOperands();
        return engine().pins().stream().map(pin -> pin.target().path()).toList();
    }

    /** What the engine's unpin and sync have in common. */
    @FunctionalInterface
    private interface Write {
        SyncBack.Result to(FilePath path) throws IOException;
    }

    private static Outcome written(FilePath path, String done, Write write) throws IOException {
        SyncBack.Result result;
        try {
            result = write.to(path);
        } catch (NoSuchFileException e) {
            return Outcome.failed(path, "nothing is pinned here");
        }
        if (!result.consistent()) {
            return Outcome.failed(
                    path,
                    "not written: it is being changed all the time, so that there was no moment for"
                            + " a consistent copy"
                            + (result.why().isEmpty() ? "" : ": " + Printable.of(result.why())));
        }
        return new Outcome(
                path,
                done
                        + "; "
                        + Human.count(result.files(), "file")
                        + ", "
                        + Human.size(result.bytes())
                        + " changed on disk",
                json ->
                        json.put("files", result.files())
                                .put("bytes", result.bytes())
                                .put("written", result.written()));
    }

    private String each(Arguments arguments, List<FilePath> paths, Work work) throws CommandFailed {
        List<Outcome> outcomes = new ArrayList<>();
        for (FilePath path : paths) {
            try {
                outcomes.add(work.on(path));
            } catch (IOException e) {
                outcomes.add(Outcome.failed(path, message(e)));
            }
        }
        List<Outcome> failed = outcomes.stream().filter(Outcome::failed).toList();
        if (failed.isEmpty()) {
            return outcomes.isEmpty() && !arguments.has("--json")
                    ? "Nothing is pinned."
                    : text(arguments, outcomes);
        }
        if (arguments.has("--json") || outcomes.size() > 1) {
            print(text(arguments, outcomes));
        }
        throw new CommandFailed(
                outcomes.size() == 1
                        ? failed.get(0).line()
                        : failed.size() + " of " + outcomes.size() + " failed");
    }

    private static String text(Arguments arguments, List<Outcome> outcomes) {
        return arguments.has("--json")
                ? Json.object(
                        json ->
                                json.list(
                                        "results",
                                        outcomes,
                                        (item, outcome) -> outcome.write(item)))
                : String.join("\n", outcomes.stream().map(Outcome::line).toList());
    }

    /** To wherever the command's output goes; Gogo sets System.out for each command. */
    private static void print(String text) {
        byte[] bytes = (text + "\n").getBytes(StandardCharsets.UTF_8);
        System.out.write(bytes, 0, bytes.length);
        System.out.flush();
    }

    private static String message(IOException e) {
        if (e instanceof NoSuchFileException gone && gone.getReason() == null) {
            return Printable.of(gone.getFile()) + ": no such file or directory";
        }
        return e.getMessage() == null ? e.toString() : e.getMessage();
    }
}
