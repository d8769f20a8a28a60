package io.rampipe.demo;

import java.io.IOException;
import java.nio.file.Path;
import java.sql.SQLException;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * The demonstration from the daemon's start to its last unpin: load, pin, comparison with an
 * overlay mounted by hand, and the end of the load.
 */
final class Show {
    static final int BURST_MILLIS = 300;
    private static final long GAP_NANOS = 150_000_000;
    private static final long PIN_LIMIT_SECONDS = 90;
    private static final long UNPIN_LIMIT_SECONDS = 180;
    private static final int ROUNDS = 19;
    private static final int BURSTS_PER_WINDOW = 3;

    /**
     * Bursts at the start of a window that do not count: RamPipe notices that a pin is busy again.
     */
    private static final int BURSTS_TO_SETTLE = 4;

    private static final long LINE_NANOS = 250_000_000;

    private final Site site;
    private final Profile profile;
    private final Profile byHand;
    private final Client client;
    private final Screen screen;
    private final Watch watch;
    private final Results results;
    private volatile boolean loaded = true;
    private volatile Exception failure;

    /**
     * @param overlay where a copy of the profile is mounted as an overlay on RAM
     */
    Show(Site site, Path overlay, Client client, double pinRate, boolean terminal, Results results)
            throws IOException {
        this.site = site;
        this.profile = site.profile();
        this.byHand = new Profile(overlay, Ledger.open(site.ledgers(), "overlay"));
        this.client = client;
        this.results = results;
        this.screen = new Screen(System.out, terminal);
        this.watch =
                new Watch(
                        client,
                        screen,
                        site.disk(),
                        site.profilePath(),
                        pinRate,
                        () ->
                                profile.visits.acknowledged()
                                        + profile.cookies.acknowledged()
                                        + byHand.visits.acknowledged()
                                        + byHand.cookies.acknowledged());
    }

    void run() throws Exception {
        Thread watching = thread("watch", watch);
        Thread log = thread("log", () -> guarded(this::log));
        Thread reading = thread("read", () -> guarded(() -> site.cold().readOnce()));
        try {
            untilPinned();
            compare();
            loaded = false;
            log.join();
            reading.join();
            check();
            untilUnpinned();
        } finally {
            loaded = false;
            watch.stop();
            watching.join();
            screen.keep();
        }
    }

    private void untilPinned() throws Exception {
        watch.load("on the slow disk");
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PIN_LIMIT_SECONDS);
        while (!watch.pinned()) {
            if (System.nanoTime() - end > 0) {
                throw new IOException(
                        site.profilePath()
                                + " was not pinned within "
                                + PIN_LIMIT_SECONDS
                                + " s of load. The daemon says:\n"
                                + client.why(site.profilePath()));
            }
            burst(profile);
        }
        results.put("pin.seconds", watch.secondsToPin());
    }

    /** Windows in turn, so that whatever else the machine does hits both alike; medians. */
    private void compare() throws Exception {
        watch.load("pinned");
        window(profile);
        window(byHand);
        double[] pinned = new double[ROUNDS];
        double[] overlay = new double[ROUNDS];
        double[] ratio = new double[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            boolean first = i % 2 == 0;
            if (first) {
                pinned[i] = window(profile);
            }
            overlay[i] = window(byHand);
            if (!first) {
                pinned[i] = window(profile);
            }
            if (!watch.pinned()) {
                throw new IOException(
                        site.profilePath()
                                + " was unpinned while it was hot. The daemon says:\n"
                                + client.why(site.profilePath()));
            }
            ratio[i] = pinned[i] / overlay[i];
        }
        results.put("pinned.rate", median(pinned));
        results.put("overlay.rate", median(overlay));
        results.put("overlay.ratio", median(ratio));
        screen.news(
                String.format(
                        "%.0f commits/s pinned, %.0f on an overlay mounted by hand (medians of %d)",
                        median(pinned), median(overlay), ROUNDS));
    }

    private void untilUnpinned() throws Exception {
        watch.load("no load");
        screen.news("the load stops; what was hot cools down");
        long start = System.nanoTime();
        long end = start + TimeUnit.SECONDS.toNanos(UNPIN_LIMIT_SECONDS);
        while (!watch.pins().isEmpty()) {
            if (System.nanoTime() - end > 0) {
                Path left = Path.of(watch.pins().get(0).path());
                throw new IOException(
                        left
                                + " is still pinned "
                                + UNPIN_LIMIT_SECONDS
                                + " s after the load ended. The daemon says:\n"
                                + client.why(left));
            }
            LockSupport.parkNanos(GAP_NANOS);
        }
        results.put("unpin.seconds", (System.nanoTime() - start) / 1e9);
        long[] wear = client.wear();
        results.put("bytes.absorbed", wear[0]);
        results.put("bytes.written", wear[1]);
    }

    private double window(Profile where) throws Exception {
        watch.load(where == byHand ? "overlay mounted by hand" : "pinned");
        for (int i = 0; i < BURSTS_TO_SETTLE; i++) {
            burst(where);
        }
        Profile.Burst all = burst(where);
        for (int i = 1; i < BURSTS_PER_WINDOW; i++) {
            all = all.plus(burst(where));
        }
        return all.rate();
    }

    private Profile.Burst burst(Profile where) throws Exception {
        check();
        Profile.Burst burst = where.burst(BURST_MILLIS, Integer.MAX_VALUE);
        LockSupport.parkNanos(GAP_NANOS);
        return burst;
    }

    private void log() throws Exception {
        AppLog log = site.log();
        while (loaded) {
            log.append();
            LockSupport.parkNanos(LINE_NANOS);
        }
    }

    private void check() throws Exception {
        if (failure != null) {
            throw failure;
        }
    }

    private void guarded(Step step) {
        try {
            step.run();
        } catch (Exception e) {
            failure = e;
        }
    }

    private static Thread thread(String name, Runnable work) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        thread.start();
        return thread;
    }

    static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }

    /**
     * Commits a second in a profile, in bursts with the same gaps as everywhere.
     *
     * @param seconds how long
     */
    static Profile.Burst measure(Profile profile, int seconds) throws IOException, SQLException {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        Profile.Burst all = new Profile.Burst(0, 0);
        while (System.nanoTime() - end < 0) {
            all = all.plus(profile.burst(BURST_MILLIS, Integer.MAX_VALUE));
            LockSupport.parkNanos(GAP_NANOS);
        }
        return all;
    }

    private interface Step {
        void run() throws Exception;
    }
}
