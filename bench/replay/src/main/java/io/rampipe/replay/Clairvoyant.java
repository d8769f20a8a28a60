package io.rampipe.replay;

import io.rampipe.api.Access;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * The share of writes that nobody can exceed who, once a second, may put any directories into RAM
 * that fit into the budget, at no cost, knowing what the next second brings. Parts of directories
 * may be taken (the fractional knapsack), so it is a bound and nothing that can be reached.
 */
final class Clairvoyant {
    private Clairvoyant() {}

    static double captured(Trace trace, long budget) {
        double[] writes = new double[trace.directories];
        long[] bytes = new long[trace.directories];
        long[] fileBytes = new long[trace.files];
        List<Integer> written = new ArrayList<>();
        double all = 0;
        double captured = 0;
        long second = 0;
        for (int t = 0; t < trace.ticks; t++) {
            if (trace.tickMillis[t] / 1000 != second) {
                captured += best(written, writes, bytes, budget);
                second = trace.tickMillis[t] / 1000;
                for (int directory : written) {
                    writes[directory] = 0;
                }
                written.clear();
            }
            for (int i = trace.tickEvents[t]; i < trace.tickEvents[t + 1]; i++) {
                if ((trace.eventKinds[i] & Access.WRITE) != 0) {
                    int directory = trace.directoryOf[trace.eventFile[i]];
                    if (writes[directory] == 0) {
                        written.add(directory);
                    }
                    writes[directory] += trace.eventScale[i];
                    all += trace.eventScale[i];
                }
            }
            for (int i = trace.tickSizes[t]; i < trace.tickSizes[t + 1]; i++) {
                int file = trace.sizeFile[i];
                bytes[trace.directoryOf[file]] += trace.sizeBytes[i] - fileBytes[file];
                fileBytes[file] = trace.sizeBytes[i];
            }
        }
        captured += best(written, writes, bytes, budget);
        return all == 0 ? 0 : captured / all;
    }

    private static double best(List<Integer> written, double[] writes, long[] bytes, long budget) {
        List<Integer> densest = new ArrayList<>(written);
        densest.sort(Comparator.comparingDouble(d -> -writes[d] / Math.max(1, bytes[d])));
        double captured = 0;
        double left = budget;
        for (int directory : densest) {
            double share = bytes[directory] <= left ? 1 : left / bytes[directory];
            captured += share * writes[directory];
            left -= share * bytes[directory];
        }
        return captured;
    }
}
