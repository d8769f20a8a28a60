package io.rampipe.demo;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Asks the daemon, with the command that its users have. One thread at a time. */
final class Client {
    private static final long LIMIT_SECONDS = 10;

    private final Path program;
    private final Path runtime;
    private final Path errors;

    /**
     * @param errors file that takes what the program complains of
     */
    Client(Path program, Path runtime, Path errors) {
        this.program = program;
        this.runtime = runtime;
        this.errors = errors;
    }

    List<Pinned> pins() throws IOException {
        List<Pinned> pins = new ArrayList<>();
        for (Map<?, ?> pin : table("pins", "pins")) {
            pins.add(
                    new Pinned(
                            text(pin, "id"),
                            text(pin, "path"),
                            text(pin, "strategy"),
                            text(pin, "state"),
                            number(pin, "rate"),
                            (long) number(pin, "size"),
                            (long) number(pin, "unsynced_bytes")));
        }
        return pins;
    }

    List<Hot> top() throws IOException {
        List<Hot> top = new ArrayList<>();
        for (Map<?, ?> hot : table("top", "files")) {
            top.add(
                    new Hot(
                            text(hot, "path"),
                            text(hot, "kind").equals("directory"),
                            number(hot, "rate"),
                            text(hot, "state"),
                            text(hot, "reason")));
        }
        return top;
    }

    /** Bytes absorbed by RAM and written to disk. */
    long[] wear() throws IOException {
        Map<?, ?> status = object("status");
        return new long[] {(long) number(status, "absorbed"), (long) number(status, "written")};
    }

    /** What the daemon says about a path, for people. */
    String why(Path path) throws IOException {
        return run("why", path.toString());
    }

    private List<Map<?, ?>> table(String command, String key) throws IOException {
        List<Map<?, ?>> table = new ArrayList<>();
        if (object(command).get(key) instanceof List<?> rows) {
            for (Object row : rows) {
                if (row instanceof Map<?, ?> columns) {
                    table.add(columns);
                }
            }
            if (table.size() == rows.size()) {
                return table;
            }
        }
        throw new IOException("rampipe " + command + " --json has no table " + key);
    }

    private Map<?, ?> object(String command) throws IOException {
        if (Json.parse(run(command, "--json")) instanceof Map<?, ?> object) {
            return object;
        }
        throw new IOException("rampipe " + command + " --json does not print an object");
    }

    private String run(String... arguments) throws IOException {
        List<String> command = new ArrayList<>();
        command.add(program.toString());
        command.add("--runtime");
        command.add(runtime.toString());
        command.addAll(List.of(arguments));
        String shown = "rampipe " + String.join(" ", arguments);
        Process process =
                new ProcessBuilder(command)
                        .redirectInput(new File("/dev/null"))
                        .redirectError(errors.toFile())
                        .start();
        try (InputStream out = process.getInputStream()) {
            // It answers in a fraction of a second or its daemon is gone, in which case it ends.
            String answer = new String(out.readAllBytes(), StandardCharsets.UTF_8);
            if (!process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)) {
                throw new IOException(shown + " does not end within " + LIMIT_SECONDS + " s");
            }
            if (process.exitValue() != 0) {
                throw new IOException(shown + " exits with " + process.exitValue());
            }
            return answer;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted in " + shown, e);
        } finally {
            process.destroyForcibly();
        }
    }

    private static String text(Map<?, ?> row, String key) {
        return row.get(key) instanceof String text ? text : "";
    }

    private static double number(Map<?, ?> row, String key) throws IOException {
        if (row.get(key) instanceof Double number) {
            return number;
        }
        throw new IOException("the daemon's answer has no number " + key + ": " + row);
    }

    /** A pin; sizes in bytes. */
    record Pinned(
            String id,
            String path,
            String strategy,
            String state,
            double rate,
            long size,
            long dirty) {}

    /** A hot file or directory. */
    record Hot(String path, boolean directory, double rate, String state, String reason) {}
}
