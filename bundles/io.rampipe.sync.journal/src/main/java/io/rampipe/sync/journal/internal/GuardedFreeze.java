package io.rampipe.sync.journal.internal;

import io.rampipe.linux.Fd;
import io.rampipe.linux.FileSystemFreeze;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

/**
 * A freeze that ends with the daemon: the kernel's own goes on for ever, and with it programs that
 * write would wait. So a small process waits for the daemon's end ({@code read} ends when the pipe
 * does), and thaws then ({@code fsfreeze(8)}). Without a shell or fsfreeze the next daemon does it.
 */
final class GuardedFreeze implements AutoCloseable {
    private static final int SECONDS = 5;

    private static final String SCRIPT =
            "trap '' TERM INT HUP; PATH=$PATH:/usr/sbin:/sbin; exec 3<\"$1\" || exit;"
                    + " echo ready; read -r end || exec fsfreeze --unfreeze /proc/self/fd/3";

    private final FileSystemFreeze freeze;
    private final Process guard;
    private final long since;

    private GuardedFreeze(FileSystemFreeze freeze, Process guard, long since) {
        this.since = since;
        this.freeze = freeze;
        this.guard = guard;
    }

    /**
     * @param root of the file system, open for reading until this is closed
     */
    static GuardedFreeze of(Fd root) throws IOException {
        Process guard = guard(root);
        FileSystemFreeze freeze = null;
        try {
            long since = System.nanoTime();
            freeze = FileSystemFreeze.of(root);
            return new GuardedFreeze(freeze, guard, since);
        } finally {
            if (freeze == null) {
                dismiss(guard);
            }
        }
    }

    /** Null if there can be none. */
    private static Process guard(Fd root) {
        String path = "/proc/" + ProcessHandle.current().pid() + "/fd/" + root.number();
        try {
            Process process =
                    new ProcessBuilder("/bin/sh", "-c", SCRIPT, "rampipe-freeze", path)
                            .redirectError(ProcessBuilder.Redirect.DISCARD)
                            .start();
            // It ends or says so: it does nothing in between that could wait.
            new BufferedReader(
                            new InputStreamReader(
                                    process.getInputStream(), StandardCharsets.US_ASCII))
                    .readLine();
            return process;
        } catch (IOException e) {
            return null;
        }
    }

    private static void dismiss(Process guard) {
        if (guard == null) {
            return;
        }
        try (OutputStream out = guard.getOutputStream()) {
            out.write('\n');
        } catch (IOException e) {
            // It has ended.
        }
        try {
            // It holds the file system.
            if (!guard.waitFor(SECONDS, TimeUnit.SECONDS)) {
                guard.destroyForcibly().waitFor(SECONDS, TimeUnit.SECONDS);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** How long writers have waited. */
    Duration held() {
        return Duration.ofNanos(System.nanoTime() - since);
    }

    /** Lets writers go on. Idempotent. */
    @Override
    public void close() throws IOException {
        try {
            freeze.close();
        } finally {
            dismiss(guard);
        }
    }
}
