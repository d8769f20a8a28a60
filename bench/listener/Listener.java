package io.rampipe.source.fanotify.internal;

import io.rampipe.api.AccessEvent;
import io.rampipe.api.AccessListener;
import io.rampipe.api.FilePath;
import java.lang.reflect.Proxy;
import java.util.List;
import java.util.concurrent.locks.LockSupport;
import org.osgi.service.log.Logger;

/**
 * The event source alone, used as the engine uses it, with rates kept in a small hash table: for the
 * listener benchmark. Argument: the directory to watch. Prints a line once it watches, and its
 * counters each second when asked for with a second argument.
 */
public final class Listener implements AccessListener {
    private static final long TICK_NANOS = 50_000_000;
    private static final int SLOTS = 1 << 16;
    private static final double DECAY = Math.log(2) / 30e9;

    private final long[] keys = new long[SLOTS];
    private final double[] rates = new double[SLOTS];
    private final long[] times = new long[SLOTS];
    private long now;
    private double accesses;
    private long overflows;

    public static void main(String[] args) throws Exception {
        Logger silent =
                (Logger)
                        Proxy.newProxyInstance(
                                Listener.class.getClassLoader(),
                                new Class<?>[] {Logger.class},
                                (proxy, method, values) ->
                                        method.getReturnType() == boolean.class ? false : null);
        try (FanotifySession session =
                new FanotifySession(false, false, true, System::nanoTime, silent)) {
            session.watch(List.of(FilePath.of(args[0])));
            System.out.println("watching");
            new Listener().listen(session, args.length > 1);
        }
    }

    private void listen(FanotifySession session, boolean verbose) throws Exception {
        long next = System.nanoTime();
        double before = 0;
        while (true) {
            if (session.await(verbose ? 1_000_000_000 : -1)) {
                LockSupport.parkNanos(TICK_NANOS);
                now = System.nanoTime();
                session.drain(this);
            }
            if (verbose && System.nanoTime() - next > 1_000_000_000) {
                next = System.nanoTime();
                System.out.println(session.stats() + " accesses/s " + (accesses - before));
                before = accesses;
            }
        }
    }

    @Override
    public void access(AccessEvent event) {
        accesses += event.scale();
        add(event.directory(), event.scale());
        add(event.file(), event.scale());
    }

    private void add(long key, double weight) {
        int at = (int) key & SLOTS - 1;
        if (keys[at] != key) {
            keys[at] = key;
            rates[at] = 0;
        }
        rates[at] = rates[at] * Math.exp(DECAY * (times[at] - now)) + weight;
        times[at] = now;
    }

    @Override
    public void overflow() {
        overflows++;
    }
}
