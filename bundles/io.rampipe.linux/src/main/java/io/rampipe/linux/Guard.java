package io.rampipe.linux;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * Ends, if the daemon dies, what the kernel would go on with for ever, such as a suspended device:
 * a small process waits for the daemon's end ({@code read} ends when the pipe does), and runs some
 * shell then. Without a shell there is none, and the next daemon has to do it. One thread.
 */
public final class Guard implements AutoCloseable {
    private static final int SECONDS = 5;

    private static final String BEGIN = "trap '' TERM INT HUP; PATH=$PATH:/usr/sbin:/sbin;";
    private static final String WAIT = " echo ready; read -r end && exit; ";

    private final Process process;

    private Guard(Process process) {
        this.process = process;
    }

    /**
     * Starts one. It is ready when this returns.
     *
     * @param before shell that runs at once, such as to open something that goes with the daemon
     * @param after shell that runs if the daemon dies
     * @param arguments of both, {@code $1} and so on
     */
    public static Guard start(String before, String after, String... arguments) {
        try {
            List<String> command =
                    new ArrayList<>(
                            List.of(
                                    "/bin/sh",
                                    "-c",
                                    BEGIN + " " + before + WAIT + after,
                                    "rampipe-guard"));
            command.addAll(List.of(arguments));
            Process process =
                    new ProcessBuilder(command)
                            .redirectError(ProcessBuilder.Redirect.DISCARD)
                            .start();
            // It ends or says so: it does nothing in between that could wait.
            new BufferedReader(
                            new InputStreamReader(
                                    process.getInputStream(), StandardCharsets.US_ASCII))
                    .readLine();
            return new Guard(process);
        } catch (IOException e) {
            return new Guard(null);
        }
    }

    /** A path by which it can open what this process has open. */
    public static String path(Fd fd) {
        return "/proc/" + ProcessHandle.current().pid() + "/fd/" + fd.number();
    }

    /** Dismisses it: there is nothing left to be ended. Returns when it has gone. */
    @Override
    public void close() {
        if (process == null) {
            return;
        }
        try (OutputStream out = process.getOutputStream()) {
            out.write('\n');
        } catch (IOException e) {
            // It has ended.
        }
        try {
            // It may hold a file system.
            if (!process.waitFor(SECONDS, TimeUnit.SECONDS)) {
                process.destroyForcibly().waitFor(SECONDS, TimeUnit.SECONDS);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}
