package io.rampipe.sync.journal.internal;

import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileSystemFreeze;
import io.rampipe.linux.Guard;
import java.io.IOException;
import java.time.Duration;

/**
 * A freeze of a file system, or a suspended device, that ends with the daemon: the kernel's own
 * goes on for ever, and with it programs that write would wait. So a {@link Guard} lets them go on
 * then ({@code fsfreeze(8)}, {@code dmsetup(8)}). Without these the next daemon does it.
 */
final class GuardedFreeze implements AutoCloseable {
    private static final String OPEN = "exec 3<\"$1\" || exit;";
    private static final String THAW = "exec fsfreeze --unfreeze /proc/self/fd/3";
    private static final String RESUME = "exec dmsetup resume --noudevsync \"$1\"";

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
    private final Guard guard;
    private final long since;

    private GuardedFreeze(Release release, Guard guard, long since) {
        this.since = since;
        this.release = release;
        this.guard = guard;
    }

    /**
     * @param root of the file system, open for reading until this is closed
     */
    static GuardedFreeze of(Fd root) throws IOException {
        return of(
                Guard.start(OPEN, THAW, Guard.path(root)), () -> FileSystemFreeze.of(root)::close);
    }

    /**
     * Lets all requests to a device end, and no others begin.
     *
     * @param name of a device-mapper device
     */
    static GuardedFreeze ofDevice(String name) throws IOException {
        return of(
                Guard.start("", RESUME, name),
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

    private static GuardedFreeze of(Guard guard, Hold hold) throws IOException {
        Release release = null;
        try {
            long since = System.nanoTime();
            release = hold.take();
            return new GuardedFreeze(release, guard, since);
        } finally {
            if (release == null) {
                guard.close();
            }
        }
    }

    /** {@link System#nanoTime} from which on writers wait. */
    long since() {
        return since;
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
            guard.close();
        }
    }
}
