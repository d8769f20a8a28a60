package io.rampipe.testkit;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;

/** Runs other programs. */
public final class Command {
    private static final long LIMIT_SECONDS = 120;

    private Command() {}

    /**
     * Runs it to its end and returns what it printed (both streams, ISO 8859-1). Throws unless it
     * exits with 0.
     */
    public static String run(String... command) throws IOException {
        Process process =
                new ProcessBuilder(command)
                        .redirectErrorStream(true)
                        .redirectInput(new File("/dev/null"))
                        .start();
        try {
            String out =
                    new String(
                            process.getInputStream().readAllBytes(), StandardCharsets.ISO_8859_1);
            if (!process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)) {
                throw new IOException(
                        String.join(" ", command)
                                + " still runs after "
                                + LIMIT_SECONDS
                                + " s: "
                                + out);
            }
            if (process.exitValue() != 0) {
                throw new IOException(
                        String.join(" ", command)
                                + " exits with "
                                + process.exitValue()
                                + ": "
                                + out);
            }
            return out;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted", e);
        } finally {
            process.destroyForcibly();
        }
    }

    /** A shell script, for what needs a pipe or a redirection. */
    public static String shell(String script) throws IOException {
        return run("/bin/sh", "-ec", script);
    }
}
