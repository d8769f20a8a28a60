package io.rampipe.rate.sketch.internal;

import java.util.SplittableRandom;

/**
 * Exponential moving averages of any number of keys in a fixed memory: a count-min sketch (Cormode
 * and Muthukrishnan, "An Improved Data Stream Summary", 2005) with conservative update (Estan and
 * Varghese, "New Directions in Traffic Measurement and Accounting", 2002), in front of which a list
 * of the heaviest keys is counted exactly (Roy, Khan and Alonso, "Augmented Sketch", 2016).
 *
 * <p>Decay goes forward (Cormode, Shkapenyuk, Srivastava and Xu, "Forward Decay", 2009): instead of
 * letting everything that is there decay, an access at time t is added with its weight times
 * exp(lambda * (t - landmark)). All cells have one scale, so that nothing has to be decayed one by
 * one, and conservative update stays right. The landmark is moved on, and every cell scaled down,
 * once in about sixty half-lives.
 *
 * <p>With w cells a row, d rows, and R the rate of all accesses together, the rate r' that is told
 * of a key and its true rate r satisfy r &lt;= r' always, and r' &lt;= r + 2e/w * R with a
 * probability of at least 1 - e^-d (twice the usual bound, for hashing that is only nearly
 * universal; conservative update and the list make it much better in practice). A key that comes to
 * be on the list takes its error along, which then decays like its accesses. One thread at a time.
 */
final class Sketch {
    /** Rows: the error's bound is exceeded by one key in 54 at most. */
    static final int DEPTH = 4;

    /** Powers of two by which a cell's scale may grow: a float goes up to 127. */
    private static final double MOST_SCALE = 0x1p60;

    private final int width;
    private final int shift;
    private final long[] seeds = new long[DEPTH];
    private final float[][] rows;
    private final HeavyHitters heavy;

    private double lambda;
    private long landmark;

    /** exp(lambda * (t - landmark)) of that moment: all events of a round have one time. */
    private double scale = 1;

    private long scaleTime;

    /**
     * @param bytes for everything; what is left over from the largest power of two that fits is not
     *     used
     */
    Sketch(long bytes, double halfLifeSeconds, long now, SplittableRandom random) {
        // An eighth for the list: that holds more keys than ever are pinned.
        long cells = bytes / 8 * 7 / Float.BYTES / DEPTH;
        width = (int) Long.highestOneBit(cells);
        shift = 64 - Integer.numberOfTrailingZeros(width);
        rows = new float[DEPTH][width];
        for (int i = 0; i < DEPTH; i++) {
            seeds[i] = random.nextLong() | 1;
        }
        heavy = new HeavyHitters((int) Long.highestOneBit(bytes / 8 / HeavyHitters.BYTES_PER_SLOT));
        lambda = Math.log(2) / halfLifeSeconds;
        landmark = now;
        scaleTime = now;
    }

    /** Cells a row. */
    int width() {
        return width;
    }

    /** From now on rates decay by half in this time; what is there is kept. */
    void halfLife(double seconds, long now) {
        double next = Math.log(2) / seconds;
        // Cells hold sums of weights; a rate is that times lambda.
        rescale(now, lambda / next);
        lambda = next;
    }

    double add(long key, double weight, long now) {
        double s = scale(now);
        double amount = weight * s;
        double sum = heavy.add(key, amount);
        if (sum == 0) {
            sum = least(key) + amount;
            if (!heavy.offer(key, sum, this::raise)) {
                raise(key, sum);
            }
        }
        return lambda * sum / s;
    }

    double rate(long key, long now) {
        // First: it may scale everything down.
        double s = scale(now);
        double sum = heavy.get(key);
        return lambda * (sum == 0 ? least(key) : sum) / s;
    }

    void seed(long key, double rate, long now) {
        double sum = rate / lambda * scale(now);
        heavy.remove(key);
        if (sum > 0 && !heavy.offer(key, sum, this::raise)) {
            raise(key, sum);
        }
    }

    /**
     * What the list has of it is dropped. What the sketch has from before it came to be on the list
     * belongs to others as well, and decays.
     */
    void forget(long key) {
        heavy.remove(key);
    }

    int listed() {
        return heavy.size();
    }

    /** The keys on the list, the heaviest first. */
    long[] heaviest(int most) {
        return heavy.heaviest(most);
    }

    long memory() {
        return (long) DEPTH * width * Float.BYTES + heavy.memory();
    }

    private float least(long key) {
        float least = Float.POSITIVE_INFINITY;
        for (int i = 0; i < DEPTH; i++) {
            least = Math.min(least, rows[i][cell(i, key)]);
        }
        return least;
    }

    /** Conservative update: no cell is raised above what the key can have. */
    private void raise(long key, double sum) {
        float to = Math.nextUp((float) sum);
        for (int i = 0; i < DEPTH; i++) {
            int cell = cell(i, key);
            if (rows[i][cell] < to) {
                rows[i][cell] = to;
            }
        }
    }

    /** Multiply-shift (Dietzfelbinger and others, 1997): two keys meet with probability 2/w. */
    private int cell(int row, long key) {
        return (int) (key * seeds[row] >>> shift);
    }

    private double scale(long now) {
        if (now != scaleTime) {
            scale = Math.exp(lambda * Math.max(0, now - landmark) / 1e9);
            scaleTime = now;
            if (scale > MOST_SCALE) {
                rescale(now, 1);
            }
        }
        return scale;
    }

    private void rescale(long now, double factor) {
        double by = factor / Math.exp(lambda * Math.max(0, now - landmark) / 1e9);
        for (float[] row : rows) {
            for (int i = 0; i < row.length; i++) {
                row[i] = (float) (row[i] * by);
            }
        }
        heavy.scale(by);
        landmark = now;
        scaleTime = now;
        scale = 1;
    }
}
