package io.rampipe.demo;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.locks.LockSupport;

/** Many profiles under load at once, each with a thread and so with bursts and gaps of its own. */
final class Many {
    private static final int BURST_MILLIS = 100;
    private static final int BURST_COMMITS = 30;
    private static final long GAP_NANOS = 200_000_000;

    private final List<Profile> profiles;

    Many(List<Profile> profiles) {
        this.profiles = profiles;
    }

    void create() throws Exception {
        for (Profile profile : profiles) {
            profile.create(200);
        }
    }

    /** Until that file exists; throws what any of them met. */
    void run(Path stop) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(profiles.size());
        try {
            List<Future<?>> all = new ArrayList<>();
            for (Profile profile : profiles) {
                all.add(
                        threads.submit(
                                () -> {
                                    while (!Files.exists(stop)) {
                                        profile.burst(BURST_MILLIS, BURST_COMMITS);
                                        LockSupport.parkNanos(GAP_NANOS);
                                    }
                                    return null;
                                }));
            }
            for (Future<?> one : all) {
                one.get();
            }
        } finally {
            threads.shutdownNow();
        }
    }

    void check(Findings findings) {
        for (Profile profile : profiles) {
            new ProfileCheck(profile, findings).run();
        }
    }
}
