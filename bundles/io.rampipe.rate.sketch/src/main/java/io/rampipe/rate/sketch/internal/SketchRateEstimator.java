package io.rampipe.rate.sketch.internal;

import io.rampipe.api.Names;
import io.rampipe.api.RateEstimator;
import io.rampipe.api.Units;
import java.util.SplittableRandom;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Modified;
import org.osgi.service.metatype.annotations.AttributeDefinition;
import org.osgi.service.metatype.annotations.Designate;
import org.osgi.service.metatype.annotations.ObjectClassDefinition;

/** The sketch as a service. */
@Component(property = Names.NAME + "=sketch", configurationPid = SketchRateEstimator.PID)
@Designate(ocd = SketchRateEstimator.Config.class)
public final class SketchRateEstimator implements RateEstimator {
    static final String PID = "io.rampipe.rate.sketch";

    /** Settings. */
    @ObjectClassDefinition(
            id = PID,
            name = "Decayed count-min sketch",
            description = "How accesses become rates, and in how much memory.")
    public @interface Config {
        @AttributeDefinition(
                description =
                        "Time in which the rate of a file that is no longer used falls to half.",
                min = "1s",
                max = "1d")
        String rate_half__life() default "30s";

        @AttributeDefinition(
                description =
                        "Memory for counting (rate.use = sketch), however many files are used. Half of it, and"
                                + " what is cold is overestimated twice as much.",
                min = "64K",
                max = "64M")
        String sketch_memory() default "2M";
    }

    private final long bytes;

    /**
     * Null until something is counted: as long as another estimator is used this takes no memory.
     */
    private Sketch sketch;

    /** Set by configuration, taken over by the thread that counts. */
    private volatile double halfLife;

    private double halfLifeInForce;

    @Activate
    public SketchRateEstimator(Config config) {
        halfLife = seconds(config);
        bytes = Units.bytes(config.sketch_memory());
    }

    /** A new half-life takes effect at once; another size of memory at the next start. */
    @Modified
    void modified(Config config) {
        halfLife = seconds(config);
    }

    private static double seconds(Config config) {
        return Units.duration(config.rate_half__life()).toMillis() / 1e3;
    }

    @Override
    public double add(long key, double weight, long now) {
        return counting(now).add(key, weight, now);
    }

    @Override
    public double rate(long key, long now) {
        return sketch == null ? 0 : sketch.rate(key, now);
    }

    @Override
    public void seed(long key, double rate, long now) {
        counting(now).seed(key, rate, now);
    }

    private Sketch counting(long now) {
        double h = halfLife;
        if (sketch == null) {
            halfLifeInForce = h;
            sketch = new Sketch(bytes, h, now, new SplittableRandom());
        } else if (h != halfLifeInForce) {
            halfLifeInForce = h;
            sketch.halfLife(h, now);
        }
        return sketch;
    }

    @Override
    public void forget(long key) {
        if (sketch != null) {
            sketch.forget(key);
        }
    }

    /** The keys on the list of heavy hitters; the sketch itself holds no keys. */
    @Override
    public int size() {
        return sketch == null ? 0 : sketch.listed();
    }

    @Override
    public long memory() {
        return sketch == null ? 0 : sketch.memory();
    }
}
