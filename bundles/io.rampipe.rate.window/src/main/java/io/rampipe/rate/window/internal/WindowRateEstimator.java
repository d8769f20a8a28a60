package io.rampipe.rate.window.internal;

import io.rampipe.api.Names;
import io.rampipe.api.RateEstimator;
import io.rampipe.api.Units;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Modified;
import org.osgi.service.metatype.annotations.AttributeDefinition;
import org.osgi.service.metatype.annotations.Designate;
import org.osgi.service.metatype.annotations.ObjectClassDefinition;

/** The sliding window as a service. */
@Component(property = Names.NAME + "=window", configurationPid = WindowRateEstimator.PID)
@Designate(ocd = WindowRateEstimator.Config.class)
public final class WindowRateEstimator implements RateEstimator {
    static final String PID = "io.rampipe.rate.window";

    /** Settings. */
    @ObjectClassDefinition(
            id = PID,
            name = "Sliding window",
            description = "Over which time accesses are counted.")
    public @interface Config {
        @AttributeDefinition(
                description =
                        "Time over which accesses are counted (rate.use = window), to an eighth.",
                min = "1s",
                max = "1h")
        String window_length() default "60s";

        @AttributeDefinition(
                description =
                        "Files and directories that are counted (rate.use = window); 77 to 154 bytes each."
                                + " When more are used, the coldest are forgotten.",
                min = "1000",
                max = "1000000")
        int window_max__files() default 300_000;
    }

    private final WindowTable table;

    /** Set by configuration, taken over by the thread that counts. */
    private volatile long length;

    private long lengthInForce;

    @Activate
    public WindowRateEstimator(Config config) {
        length = nanos(config);
        lengthInForce = length;
        table = new WindowTable(config.window_max__files(), length, System.nanoTime());
    }

    /** A new length takes effect at once; a new number of files at the next start. */
    @Modified
    void modified(Config config) {
        length = nanos(config);
    }

    private static long nanos(Config config) {
        return Units.duration(config.window_length()).toNanos();
    }

    @Override
    public double add(long key, double weight, long now) {
        long wanted = length;
        if (wanted != lengthInForce) {
            lengthInForce = wanted;
            table.length(wanted, now);
        }
        return table.add(key, weight, now);
    }

    @Override
    public double rate(long key, long now) {
        return table.rate(key, now);
    }

    @Override
    public void seed(long key, double rate, long now) {
        table.seed(key, rate, now);
    }

    @Override
    public void forget(long key) {
        table.forget(key);
    }

    @Override
    public int size() {
        return table.size();
    }

    @Override
    public long memory() {
        return table.memory();
    }
}
