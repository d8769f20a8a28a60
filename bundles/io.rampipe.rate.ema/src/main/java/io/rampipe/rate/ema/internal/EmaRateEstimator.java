package io.rampipe.rate.ema.internal;

import io.rampipe.api.Names;
import io.rampipe.api.RateEstimator;
import io.rampipe.api.Units;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Modified;
import org.osgi.service.metatype.annotations.AttributeDefinition;
import org.osgi.service.metatype.annotations.Designate;
import org.osgi.service.metatype.annotations.ObjectClassDefinition;

/** The exponential moving average as a service. */
@Component(property = Names.NAME + "=ema", configurationPid = EmaRateEstimator.PID)
@Designate(ocd = EmaRateEstimator.Config.class)
public final class EmaRateEstimator implements RateEstimator {
    static final String PID = "io.rampipe.rate.ema";

    /** Settings. */
    @ObjectClassDefinition(
            id = PID,
            name = "Exponential moving average",
            description = "How accesses become rates.")
    public @interface Config {
        @AttributeDefinition(
                description =
                        "Time in which the rate of a file that is no longer used falls to half.",
                min = "1s",
                max = "1d")
        String rate_half__life() default "30s";

        @AttributeDefinition(
                description =
                        "Files and directories whose rates are remembered; 16 to 32 bytes each. When more are"
                                + " used, the coldest are forgotten.",
                min = "1000",
                max = "2500000")
        int rate_max__files() default 1_250_000;
    }

    private final EmaTable table;

    /** Set by configuration, taken over by the thread that counts. */
    private volatile double halfLife;

    private double halfLifeInForce;

    @Activate
    public EmaRateEstimator(Config config) {
        halfLife = seconds(config);
        halfLifeInForce = halfLife;
        table = new EmaTable(config.rate_max__files(), halfLife, System.nanoTime());
    }

    /** A new half-life takes effect at once; a new number of files at the next start. */
    @Modified
    void modified(Config config) {
        halfLife = seconds(config);
    }

    private static double seconds(Config config) {
        return Units.duration(config.rate_half__life()).toMillis() / 1e3;
    }

    @Override
    public double add(long key, double weight, long now) {
        double h = halfLife;
        if (h != halfLifeInForce) {
            halfLifeInForce = h;
            table.halfLife(h);
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
