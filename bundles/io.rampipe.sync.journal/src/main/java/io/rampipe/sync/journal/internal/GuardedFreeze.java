package io.rampipe.sync.journal.internal;

import io.rampipe.linux.DeviceMapper;
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
 * A freeze of a file system, or a suspended device, that ends with the daemon: the kernel's own
 * goes on for ever, and with it programs that write would wait. So a small process waits for the
 * daemon's end ({@code read} ends when the pipe does), and lets them go on then ({@code
 * fsfreeze(8)}, {@code dmsetup(8)}). Without a shell or these the next daemon does it.
 */
final class GuardedFreeze implements AutoCloseable {
    private static final int SECONDS = 5;

    private static final String BEGIN = "trap '' TERM INT HUP; PATH=$PATH:/usr/sbin:/sbin;";

    private static final String THAW =
            BEGIN
                    + " exec 3<\"$1\" || exit;"
                    + " echo ready; read -r end || exec fsfreeze --unfreeze /proc/self/fd/3";

    private static final String RESUME =
            BEGIN + " echo ready; read -r end || exec dmsetup resume --noudevsync \"$1\"";

    /** Takes the kernel's hold away. */
    @FunctionalInterface
    private interface Release {
        void run() throws IOException;
    }

    /** Makes a hold, and says how to end it. */
    @FunctionalInterface
    private interface Hold {
        Release take() throws IOException;
    }

    private final Release release;
    private boolean released;
    private final Process guard;
    private final long since;

    private GuardedFreeze(Release release, Process guard, long since) {
        this.since = since;
        this.release = release;
        this.guard = guard;
    }

    /**
     * @param root of the file system, open for reading until this is closed
     */
    static GuardedFreeze of(Fd root) throws IOException {
        String path = "/proc/" + ProcessHandle.current().pid() + "/fd/" + root.number();
        return of(guard(THAW, path), () -> FileSystemFreeze.of(root)::close);
    }

    /**
     * Lets all requests to a device end, and no others begin.
     *
     * @param name of a device-mapper device
     */
    static GuardedFreeze ofDevice(String name) throws IOException {
        return of(
                guard(RESUME, name),
                () -> {
                    try (DeviceMapper dm = DeviceMapper.open()) {
                        dm.suspend(name, false);
                    }
                    return () -> {
                        try (DeviceMapper dm = DeviceMapper.open()) {
                            dm.resume(name);
                        }
                    };
                });
    }

    private static GuardedFreeze of(Process guard, Hold hold) throws IOException {
        Release release = null;
        try {
            long since = System.nanoTime();
            release = hold.take();
            return new GuardedFreeze(release, guard, since);
        } finally {
            if (release == null) {
                dismiss(guard);
            }
        }
    }

    /** Null if there can be none. */
    private static Process guard(String script, String argument) {
        try {
            Process process =
                    new ProcessBuilder("/bin/sh", "-c", script, "rampipe-freeze", argument)
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
        if (released) {
            return;
        }
        released = true;
        try {
            release.run();
        } finally {
            dismiss(guard);
        }
    }
}
