package io.rampipe.systemd.internal;

import io.rampipe.api.RamPipe;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * Says what systemd wants to hear, whenever there is something to say. Two threads: asking the
 * engine how it is may take as long as a disk takes, and the watchdog must be fed meanwhile. That
 * one takes no locks.
 */
final class Supervision {
    /** Where the framework is. */
    enum Phase {
        STARTING,
        STARTED,
        STOPPING
    }

    private static final long SECOND = 1_000_000_000L;
    private static final long BEAT = SECOND / 20;
    private static final long CALM_BEAT = 5 * SECOND;

    /** A strategy that is missing at the start may come; what is there meanwhile is ready. */
    private static final long PATIENCE = 10 * SECOND;

    /** Redo logs of slow disks are applied before anybody uses what they are for. */
    private static final String START_EXTENSION = "EXTEND_TIMEOUT_USEC=60000000";

    private final Supplier<RamPipe> engine;
    private final Supplier<Phase> phase;
    private final Consumer<String> systemd;
    private final Consumer<String> log;
    private final long watchdog;
    private final Thread teller = new Thread(this::tell, "rampipe-systemd");
    private final Thread asker = new Thread(this::ask, "rampipe-state");
    private volatile Report report;
    private volatile boolean closed;

    private volatile boolean ready;
    private volatile boolean stopping;
    private boolean brokenTold;
    private long started;
    private long lastPing;
    private long lastExtension;
    private long progress;
    private String line = "";

    /**
     * @param engine null while there is none
     * @param systemd takes a message for {@code sd_notify(3)}
     * @param log takes a line for people
     * @param watchdogNanos within which systemd wants to hear of the daemon; 0: it does not
     */
    Supervision(
            Supplier<RamPipe> engine,
            Supplier<Phase> phase,
            Consumer<String> systemd,
            Consumer<String> log,
            long watchdogNanos) {
        this.engine = engine;
        this.phase = phase;
        this.systemd = systemd;
        this.log = log;
        this.watchdog = watchdogNanos;
    }

    void start() {
        started = System.nanoTime();
        lastPing = started - watchdog;
        lastExtension = started - PATIENCE;
        // Neither may keep a daemon from ending that has lost its framework.
        teller.setDaemon(true);
        asker.setDaemon(true);
        asker.start();
        teller.start();
    }

    /** Something has changed. Any thread. */
    void wake() {
        LockSupport.unpark(asker);
        LockSupport.unpark(teller);
    }

    /** When this returns nothing more is said. */
    void end() throws InterruptedException {
        closed = true;
        wake();
        teller.join();
    }

    private void ask() {
        while (!closed) {
            RamPipe now = engine.get();
            if (now == null) {
                report = null;
            } else {
                Report before = report;
                report = Report.of(now.status());
                if (before == null || !before.state().equals(report.state())) {
                    LockSupport.unpark(teller);
                }
            }
            LockSupport.parkNanos(this, beat());
        }
    }

    /** Often while somebody waits for the next state, seldom otherwise. */
    private long beat() {
        if (!ready) {
            return BEAT;
        }
        if (stopping) {
            return SECOND;
        }
        return watchdog == 0 ? CALM_BEAT : Math.min(CALM_BEAT, watchdog / 3);
    }

    private void tell() {
        while (!closed) {
            round(report, phase.get(), System.nanoTime());
            LockSupport.parkNanos(this, beat());
        }
    }

    /** One look at everything. */
    private void round(Report r, Phase now, long time) {
        if (now == Phase.STOPPING || r != null && r.stopping()) {
            stop(r);
        } else if (!ready) {
            starting(r, now, time);
        }
        if (ready && r != null) {
            status(r.line());
        }
        if (watchdog > 0 && time - lastPing >= watchdog / 4) {
            feed(time);
        }
    }

    private void starting(Report r, Phase now, long time) {
        if (now == Phase.STARTING) {
            started = time;
            if (time - lastExtension >= PATIENCE) {
                lastExtension = time;
                systemd.accept("STATUS=starting\n" + START_EXTENSION);
            }
        } else if (r == null) {
            status("the engine does not run: see the log");
        } else if (r.atWork() || time - started >= PATIENCE) {
            ready = true;
            line = r.line();
            systemd.accept("READY=1\nSTATUS=" + line);
        }
    }

    private void stop(Report r) {
        if (!stopping) {
            stopping = true;
            systemd.accept("STOPPING=1");
            progress = r == null ? 0 : ~r.progress();
        }
        // Without progress nothing more is granted: what hangs is to be killed in the end.
        if (r != null && r.progress() != progress) {
            progress = r.progress();
            systemd.accept("EXTEND_TIMEOUT_USEC=" + r.stopMicros());
        }
    }

    private void status(String now) {
        if (!now.equals(line)) {
            line = now;
            systemd.accept("STATUS=" + now);
        }
    }

    private void feed(long time) {
        RamPipe now = engine.get();
        Optional<String> broken =
                now == null && phase.get() == Phase.STARTED
                        ? Optional.of("engine")
                        : Optional.ofNullable(now).flatMap(RamPipe::broken);
        if (broken.isEmpty()) {
            lastPing = time;
            brokenTold = false;
            systemd.accept("WATCHDOG=1");
        } else if (!brokenTold) {
            brokenTold = true;
            log.accept(
                    broken.get()
                            + " has ended: unless it comes back, systemd's watchdog ends this daemon, and"
                            + " another takes its pins over");
        }
    }
}
