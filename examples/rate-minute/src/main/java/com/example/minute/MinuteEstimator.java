package com.example.minute;

import io.rampipe.api.RateEstimator;
import org.osgi.service.component.annotations.Component;

/**
 * Counts in this minute and in the one before, whose count fades while this one goes on. Each key
 * has two places in a table of fixed size; the hotter ones stay.
 */
@Component(property = "rampipe.name=minute")
public final class MinuteEstimator implements RateEstimator {
    private static final int PLACES = 1 << 16;
    private static final long MINUTE = 60_000_000_000L;

    private final long[] keys = new long[PLACES];
    private final long[] minutes = new long[PLACES];
    private final float[] current = new float[PLACES];
    private final float[] before = new float[PLACES];
    private final long start = System.nanoTime() - MINUTE;
    private int size;

    @Override
    public double add(long key, double weight, long now) {
        int place = place(key, now);
        if (keys[place] != key) {
            if (keys[place] != 0 && rate(place, now) > weight / 60) {
                return 0; // Too cold to be counted.
            }
            take(place, key, now);
        }
        turn(place, now);
        current[place] += (float) weight;
        return rate(place, now);
    }

    @Override
    public double rate(long key, long now) {
        int place = place(key, now);
        return keys[place] == key ? rate(place, now) : 0;
    }

    @Override
    public void seed(long key, double rate, long now) {
        int place = place(key, now);
        take(place, key, now);
        before[place] = (float) (rate * 60);
        current[place] = (float) (rate * 60 * faded(now));
    }

    @Override
    public void forget(long key) {
        int place = place(key, start);
        size -= keys[place] == key ? 1 : 0;
        keys[place] = keys[place] == key ? 0 : keys[place];
    }

    @Override
    public int size() {
        return size;
    }

    @Override
    public long memory() {
        return PLACES * (2L * Long.BYTES + 2L * Float.BYTES);
    }

    private double rate(int place, long now) {
        long passed = (now - start) / MINUTE - minutes[place];
        double old = passed == 0 ? before[place] : passed == 1 ? current[place] : 0;
        return ((passed == 0 ? current[place] : 0) + old * (1 - faded(now))) / 60;
    }

    private double faded(long now) {
        return (double) ((now - start) % MINUTE) / MINUTE;
    }

    private void turn(int place, long now) {
        long passed = (now - start) / MINUTE - minutes[place];
        if (passed > 0) {
            before[place] = passed == 1 ? current[place] : 0;
            current[place] = 0;
            minutes[place] += passed;
        }
    }

    private void take(int place, long key, long now) {
        size += keys[place] == 0 ? 1 : 0;
        keys[place] = key;
        minutes[place] = (now - start) / MINUTE;
        current[place] = before[place] = 0;
    }

    private int place(long key, long now) {
        int one = (int) (key * 0x9e3779b97f4a7c15L >>> 48);
        int two = (int) (key * 0xc2b2ae3d27d4eb4fL >>> 48);
        return keys[one] == key || keys[two] != key && rate(one, now) <= rate(two, now) ? one : two;
    }
}
