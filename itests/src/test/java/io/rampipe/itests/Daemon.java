package io.rampipe.itests;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.rampipe.testkit.Await;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;

/**
 * The daemon that ships, as a process of its own with directories of its own, spoken to through the
 * client that ships.
 */
final class Daemon implements AutoCloseable {
    static final Path HOME =
            Path.of(System.getProperty("rampipe.distribution", "../distribution/target/rampipe"))
                    .toAbsolutePath()
                    .normalize();

    /** The program that does without the daemon. */
    static final String RESCUE = HOME.resolve("bin/rampipe-rescue").toString();

    private static final Duration START = Duration.ofSeconds(60);
    private static final int STOP_SECONDS = 90;

    /** What a command did. */
    record Outcome(int status, String out, String err) {
        JsonObject json() {
            return JsonParser.parseString(out).getAsJsonObject();
        }

        Outcome ok() {
            if (status != 0) {
                throw new AssertionError("exit status " + status + ": " + err + out);
            }
            return this;
        }
    }

    private final Path base;
    private final Map<String, String> settings = new TreeMap<>();
    private List<String> through = List.of();
    private Process process;

    /**
     * @param base a directory for configuration, runtime and state; RAM is fine
     */
    Daemon(Path base) throws IOException {
        this.base = base;
        for (String d : List.of("conf", "run", "state")) {
            Files.createDirectories(base.resolve(d));
        }
    }

    /** A line of rampipe.cfg; in force from the next {@link #start} or {@link #configure}. */
    Daemon set(String key, String value) {
        settings.put(key, value);
        return this;
    }

    /** Starts it by a program that is given the daemon's command line. */
    Daemon through(String... program) {
        through = List.of(program);
        return this;
    }

    /** Writes rampipe.cfg, moved into place. */
    void configure() throws IOException {
        StringBuilder text = new StringBuilder();
        settings.forEach((k, v) -> text.append(k).append(" = ").append(v).append('\n'));
        Path fresh = base.resolve("rampipe.cfg.new");
        Files.writeString(fresh, text);
        Files.move(fresh, configuration(), StandardCopyOption.ATOMIC_MOVE);
    }

    /** Where rampipe.cfg is. */
    Path configuration() {
        return base.resolve("conf/rampipe.cfg");
    }

    Daemon start() throws Exception {
        return startAs("watching|idle");
    }

    /** Starts it, and waits for a state that matches. */
    Daemon startAs(String state) throws Exception {
        configure();
        return startAgain(state);
    }

    /** With rampipe.cfg as it is, until it is in that state. */
    Daemon startAgain(String state) throws Exception {
        List<String> command = new ArrayList<>(through);
        command.addAll(
                List.of(
                        HOME.resolve("bin/rampiped").toString(),
                        "--conf=" + base.resolve("conf"),
                        "--runtime=" + base.resolve("run"),
                        "--state=" + base.resolve("state")));
        process =
                new ProcessBuilder(command)
                        .redirectErrorStream(true)
                        .redirectInput(new File("/dev/null"))
                        .redirectOutput(ProcessBuilder.Redirect.appendTo(log().toFile()))
                        .start();
        Await.until(
                START,
                () -> {
                    if (!process.isAlive()) {
                        throw new AssertionError(
                                "the daemon ended with " + process.exitValue() + ":\n" + logText());
                    }
                    Outcome status = command("status", "--json");
                    return status.status == 0
                            && status.json().get("state").getAsString().matches(state);
                },
                () -> "the daemon does not answer:\n" + logText());
        return this;
    }

    Path log() {
        return base.resolve("log");
    }

    String logText() {
        try {
            return Files.readString(log(), StandardCharsets.ISO_8859_1);
        } catch (IOException e) {
            return "(no log: " + e + ")";
        }
    }

    long pid() {
        return process.pid();
    }

    Path runtime() {
        return base.resolve("run");
    }

    Path pool() {
        return base.resolve("run/pool");
    }

    /** A jar of the distribution. */
    static Path jar(String bundle) {
        return HOME.resolve("bundle").resolve(bundle + ".jar");
    }

    /** {@code rampipe ARGUMENT…}. */
    Outcome command(String... arguments) throws IOException {
        List<String> command =
                new ArrayList<>(
                        List.of(
                                HOME.resolve("bin/rampipe").toString(),
                                "--runtime",
                                base.resolve("run").toString()));
        command.addAll(List.of(arguments));
        Path out = Files.createTempFile(base, "out", "");
        Path err = Files.createTempFile(base, "err", "");
        try {
            Process p =
                    new ProcessBuilder(command)
                            .redirectInput(new File("/dev/null"))
                            .redirectOutput(out.toFile())
                            .redirectError(err.toFile())
                            .start();
            if (!p.waitFor(STOP_SECONDS, TimeUnit.SECONDS)) {
                p.destroyForcibly();
                throw new AssertionError(command + " hangs; log:\n" + logText());
            }
            return new Outcome(p.exitValue(), Files.readString(out), Files.readString(err));
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", e);
        } finally {
            Files.delete(out);
            Files.delete(err);
        }
    }

    /** The pin of exactly that path. */
    Optional<JsonObject> pin(Path target) throws IOException {
        for (JsonElement pin : command("pins", "--json").ok().json().getAsJsonArray("pins")) {
            if (pin.getAsJsonObject().get("path").getAsString().equals(target.toString())) {
                return Optional.of(pin.getAsJsonObject());
            }
        }
        return Optional.empty();
    }

    boolean pinned(Path target) throws IOException {
        return pin(target).isPresent();
    }

    /** Tells it to stop, as systemd does, and returns its exit status. */
    int stop() throws InterruptedException {
        process.destroy();
        if (!process.waitFor(STOP_SECONDS, TimeUnit.SECONDS)) {
            throw new AssertionError(
                    "the daemon has not stopped within " + STOP_SECONDS + " s:\n" + logText());
        }
        return process.exitValue();
    }

    void kill() throws InterruptedException {
        process.destroyForcibly();
        process.waitFor();
    }

    @Override
    public void close() throws IOException {
        if (process == null || !process.isAlive()) {
            return;
        }
        try {
            process.destroy();
            if (!process.waitFor(10, TimeUnit.SECONDS)) {
                process.destroyForcibly().waitFor();
            }
        } catch (InterruptedException e) {
            process.destroyForcibly();
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", e);
        }
    }
}
