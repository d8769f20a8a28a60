package io.rampipe.systemd.internal;

import io.rampipe.api.RamPipe;
import io.rampipe.api.ReloadListener;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.NotifySocket;
import io.rampipe.systemd.internal.Supervision.Phase;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.framework.SynchronousBundleListener;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.annotations.ReferenceCardinality;
import org.osgi.service.component.annotations.ReferencePolicy;
import org.osgi.service.log.FormatterLogger;
import org.osgi.service.log.LoggerFactory;

/**
 * Tells systemd how the daemon is ({@code sd_notify(3)}), if it was started by systemd. It is there
 * before the engine and longer: while the engine brings everything to disk, systemd has to be told
 * that it works, and for how long.
 */
@Component(immediate = true)
public final class Notifier implements ReloadListener {
    private static final String SOCKET = "NOTIFY_SOCKET";
    private static final String WATCHDOG = "WATCHDOG_USEC";
    private static final String WATCHDOG_PID = "WATCHDOG_PID";

    private final BundleContext context;
    private final FormatterLogger log;
    private final SynchronousBundleListener frameworkStops = event -> wake();
    private final NotifySocket socket;
    private final Supervision supervision;

    /** Still asked after its service is gone: then it is stopping, and that takes long. */
    private volatile RamPipe engine;

    private volatile boolean failed;

    @Activate
    public Notifier(
            BundleContext context, @Reference(service = LoggerFactory.class) FormatterLogger log) {
        this.context = context;
        this.log = log;
        socket = open(System.getenv(SOCKET));
        supervision =
                new Supervision(
                        () -> engine,
                        this::phase,
                        this::send,
                        line -> log.error("%s", line),
                        watchdogNanos());
        if (socket != null) {
            context.addBundleListener(frameworkStops);
            supervision.start();
        }
    }

    private NotifySocket open(String where) {
        if (where == null || where.isEmpty()) {
            return null;
        }
        try {
            return new NotifySocket(where);
        } catch (LinuxException e) {
            log.error("systemd is told nothing: %s = %s: %s", SOCKET, where, e.getMessage());
            return null;
        }
    }

    /** 0 unless it is meant for this process ({@code sd_watchdog_enabled(3)}). */
    private static long watchdogNanos() {
        String pid = System.getenv(WATCHDOG_PID);
        String micros = System.getenv(WATCHDOG);
        boolean ours = pid == null || pid.equals(String.valueOf(ProcessHandle.current().pid()));
        return ours && micros != null && micros.matches("[0-9]{1,15}")
                ? Long.parseLong(micros) * 1000
                : 0;
    }

    private Phase phase() {
        return switch (context.getBundle(0).getState()) {
            case Bundle.STARTING -> Phase.STARTING;
            case Bundle.ACTIVE -> Phase.STARTED;
            default -> Phase.STOPPING;
        };
    }

    private void wake() {
        supervision.wake();
    }

    private void send(String message) {
        try {
            socket.send(message);
            failed = false;
        } catch (LinuxException e) {
            if (!failed) {
                log.warn("%s", e.getMessage());
            }
            failed = true;
        }
    }

    @Reference(cardinality = ReferenceCardinality.OPTIONAL, policy = ReferencePolicy.DYNAMIC)
    void setEngine(RamPipe now) {
        engine = now;
        wake();
    }

    void unsetEngine(RamPipe before) {
        if (engine == before && phase() != Phase.STOPPING) {
            engine = null;
        }
        wake();
    }

    @Override
    public void reloading() {
        if (socket != null) {
            try {
                send("RELOADING=1\nMONOTONIC_USEC=" + NotifySocket.monotonicMicros());
            } catch (LinuxException e) {
                log.warn("%s", e.getMessage());
            }
        }
    }

    @Override
    public void reloaded() {
        if (socket != null) {
            send("READY=1");
        }
    }

    @Deactivate
    void deactivate() throws InterruptedException {
        if (socket != null) {
            context.removeBundleListener(frameworkStops);
            supervision.end();
            socket.close();
        }
    }
}
