package io.rampipe.engine.internal;

import java.util.concurrent.atomic.AtomicInteger;
import org.osgi.framework.BundleContext;
import org.osgi.framework.launch.Framework;

/**
 * The daemon's exit status. After a signal the JVM would end with 128 plus its number even if
 * everything went well; so a shutdown hook waits until the framework has stopped, and ends the JVM
 * with the status that the engine left: 0, or 1 if something could not be written to disk. One hook
 * a JVM, however often the engine is restarted in it.
 */
final class ExitStatus {
    private static final String INSTALLED = "rampipe.exit-status";

    private final AtomicInteger status;

    private ExitStatus(AtomicInteger status) {
        this.status = status;
    }

    static ExitStatus install(BundleContext context) {
        // Objects of this bundle's earlier incarnations are foreign classes; an AtomicInteger is
        // the same class for all.
        if (System.getProperties().get(INSTALLED) instanceof AtomicInteger known) {
            known.set(0);
            return new ExitStatus(known);
        }
        AtomicInteger status = new AtomicInteger();
        Framework framework = context.getBundle(0).adapt(Framework.class);
        if (framework != null && context.getProperty("rampipe.home") != null) {
            System.getProperties().put(INSTALLED, status);
            Runtime.getRuntime()
                    .addShutdownHook(new Thread(() -> await(framework, status), "rampipe-exit"));
        }
        return new ExitStatus(status);
    }

    private static void await(Framework framework, AtomicInteger status) {
        try {
            framework.waitForStop(0);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        Runtime.getRuntime().halt(status.get());
    }

    void set(int value) {
        status.set(value);
    }
}
