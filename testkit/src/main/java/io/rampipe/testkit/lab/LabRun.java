package io.rampipe.testkit.lab;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.opentest4j.TestAbortedException;

/** One class's tests in the guest: run, and what became of each. */
final class LabRun {
    /** Set in the guest. */
    static final String INSIDE = "rampipe.lab.inside";

    private static final int DIED = 125;
    private static final int TOO_LATE = 124;
    private static final int CANNOT = 77;
    private static final int LAST_LINES = 30;

    private final Map<String, Event> events = new LinkedHashMap<>();
    private final int status;
    private final String end;

    private LabRun(int status, String end, List<Event> all) {
        this.status = status;
        this.end = end;
        // The later one of a test is its result.
        all.forEach(e -> events.put(e.id(), e));
    }

    /**
     * Runs those tests. Once more if the guest itself dies.
     *
     * @param name of the directory below target/lab that keeps what the guest tells
     * @param ids JUnit's unique ids
     */
    static LabRun of(String name, List<String> ids, InLab lab)
            throws IOException, InterruptedException {
        LabRun run = once(name, ids, lab);
        if (run.status != DIED) {
            return run;
        }
        System.out.println("the lab's guest has died, and everything in it is run once more");
        return once(name, ids, lab);
    }

    private static LabRun once(String name, List<String> ids, InLab lab)
            throws IOException, InterruptedException {
        Path out = Path.of("target", "lab", name).toAbsolutePath();
        Files.createDirectories(out);
        Path selected = Files.write(out.resolve("selected"), ids);
        Path results = out.resolve("events");
        Files.deleteIfExists(results);
        List<String> command = new ArrayList<>();
        // However this JVM ends, the guest ends with it.
        command.addAll(List.of("setpriv", "--pdeathsig", "TERM", "--", script().toString()));
        command.addAll(List.of("--out", out.toString()));
        command.addAll(
                List.of("--time", "" + Integer.getInteger("rampipe.lab.seconds", lab.seconds())));
        command.addAll(
                List.of("--memory", Integer.getInteger("rampipe.lab.memory", lab.memory()) + "M"));
        command.addAll(List.of("--size", Integer.getInteger("rampipe.lab.disk", lab.disk()) + "M"));
        command.addAll(
                List.of(
                        "/bin/sh",
                        "-ec",
                        "mount /dev/ubda /mnt/lab; exec unshare --mount --propagation private \"$@\"",
                        "sh"));
        command.addAll(java());
        command.addAll(List.of(Guest.class.getName(), selected.toString(), results.toString()));
        Process process =
                new ProcessBuilder(command)
                        .redirectErrorStream(true)
                        .redirectInput(new File("/dev/null"))
                        .start();
        Deque<String> last = new ArrayDeque<>();
        int status;
        try (BufferedReader reader =
                new BufferedReader(process.inputReader(StandardCharsets.UTF_8))) {
            for (String line; (line = reader.readLine()) != null; ) {
                System.out.println(line);
                last.add(line);
                if (last.size() > LAST_LINES) {
                    last.remove();
                }
            }
            status = process.waitFor();
        } finally {
            process.destroy();
        }
        List<Event> events = new ArrayList<>();
        if (Files.exists(results)) {
            for (String line : Files.readAllLines(results)) {
                Event.of(line).ifPresent(events::add);
            }
        }
        return new LabRun(status, String.join("\n", last), events);
    }

    /** The command that runs this JVM's class path in another one. */
    private static List<String> java() {
        List<String> java = new ArrayList<>();
        java.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
                // Debuggers and the like have no network there.
                .filter(a -> a.startsWith("-X") || a.startsWith("--"))
                .forEach(java::add);
        // It has one processor.
        java.addAll(List.of("-XX:+UseSerialGC", "-XX:-UsePerfData", "-D" + INSIDE + "=true"));
        for (String key : System.getProperties().stringPropertyNames()) {
            if (key.startsWith("rampipe.")) {
                java.add("-D" + key + "=" + System.getProperty(key));
            }
        }
        java.addAll(List.of("-cp", System.getProperty("java.class.path")));
        return java;
    }

    private static Path script() throws IOException {
        for (Path p = Path.of("").toAbsolutePath(); p != null; p = p.getParent()) {
            Path script = p.resolve("itests/lab/uml");
            if (Files.isExecutable(script)) {
                return script;
            }
        }
        throw new IOException(
                "itests/lab/uml is not above " + Path.of("").toAbsolutePath() + ": no checkout?");
    }

    /** Does what the test did in the guest: returns, fails, or is skipped. */
    void replay(String id) {
        if (status == CANNOT) {
            throw new TestAbortedException(lastLine());
        }
        Event event = events.get(id);
        if (event == null || event.kind() == Event.Kind.STARTED) {
            // What holds it may have been skipped, or have failed before it began.
            decided(id).ifPresent(LabRun::result);
            throw new GuestFailure(
                    how()
                            + (event == null ? " before this test began" : " during this test")
                            + "; its end:\n"
                            + end,
                    "");
        }
        result(event);
    }

    /** Fails if there was a failure that belongs to no test, such as in an AfterAll method. */
    void replayContainer(String id) {
        Event event = events.get(id);
        if (status != CANNOT && event != null && event.kind() == Event.Kind.FAILED) {
            result(event);
        }
    }

    /** What was begun directly below a container, in order. */
    List<Event> children(String container) {
        return events.values().stream()
                .filter(e -> e.id().startsWith(container + "/"))
                .filter(e -> e.id().indexOf("/[", container.length() + 1) < 0)
                .toList();
    }

    private Optional<Event> decided(String id) {
        for (int end = id.lastIndexOf("/["); end > 0; end = id.lastIndexOf("/[", end - 1)) {
            Event event = events.get(id.substring(0, end));
            if (event != null
                    && (event.kind() == Event.Kind.FAILED || event.kind() == Event.Kind.ABORTED)) {
                return Optional.of(event);
            }
        }
        return Optional.empty();
    }

    private static void result(Event event) {
        switch (event.kind()) {
            case FAILED -> throw new GuestFailure(event.message(), event.trace());
            case ABORTED -> throw new TestAbortedException(event.message());
            default -> {
                return;
            }
        }
    }

    private String how() {
        return switch (status) {
            case 0 -> "the guest's JVM did not run it, and ended";
            case TOO_LATE -> "the guest was killed, for its time was over,";
            case DIED -> "the guest died, twice,";
            default -> "the guest's JVM ended with status " + status;
        };
    }

    private String lastLine() {
        return end.substring(end.lastIndexOf('\n') + 1);
    }
}
