package io.rampipe.demo;

import java.io.PrintStream;
import java.util.Properties;

/** The table at the end of a demonstration, and whether it kept what is promised. */
final class Report {
    private static final double LEAST_TIMES_DISK = 100;
    private static final double LEAST_OF_OVERLAY = 0.9;
    private static final double MOST_SECONDS_TO_PIN = 5;

    private final Properties results;
    private final PrintStream out;
    private boolean good = true;

    Report(Properties results, PrintStream out) {
        this.results = results;
        this.out = out;
    }

    /** Whether all is well. */
    boolean print() {
        double disk = number("disk.rate");
        double pinned = number("pinned.rate");
        double ratio = number("overlay.ratio");
        double pinSeconds = number("pin.seconds");
        boolean slowed = "yes".equals(results.getProperty("disk.slowed"));

        out.printf("%n%-38s %12s%n", "", "commits/s");
        String name = slowed ? "disk slowed to 100 writes/s" : "disk (could not be slowed)";
        out.printf("%-38s %12.1f%n", name, disk);
        out.printf("%-38s %12.1f", "pinned by RamPipe", pinned);
        String times = String.format("%.0f times the disk", pinned / disk);
        if (slowed) {
            judge(times, "at least 100", pinned >= LEAST_TIMES_DISK * disk);
        } else {
            out.printf("   %s%n", times);
        }
        out.printf("%-38s %12.1f", "overlay on tmpfs mounted by hand", number("overlay.rate"));
        judge(
                String.format("pinned is %.2f of it", ratio),
                "at least 0.90",
                ratio >= LEAST_OF_OVERLAY);
        out.printf("%-38s %10.1f s", "from crossing the threshold to pinned", pinSeconds);
        judge("found by itself", "at most 5 s", pinSeconds <= MOST_SECONDS_TO_PIN);
        out.printf(
                "%-38s %10.1f s%n",
                "from the end of the load to unpinned", number("unpin.seconds"));
        out.printf(
                "%-38s %12s   %s written to disk%n",
                "absorbed by RAM",
                Screen.bytes((long) number("bytes.absorbed")),
                Screen.bytes((long) number("bytes.written")));
        out.printf("%-38s %12s", "daemon stopped with exit status", results.get("daemon.exit"));
        judge("nothing left mounted", "0", "0".equals(results.get("daemon.exit")));
        for (String when :
                new String[] {"power cut at that moment", "unmounted and mounted again"}) {
            String found = results.getProperty("verified." + when.split(" ")[0], "not checked");
            out.printf("%-38s", "disk after " + when);
            judge(found, "all", !found.startsWith("WRONG") && !found.startsWith("not"));
        }
        return good;
    }

    private double number(String key) {
        return Double.parseDouble(results.getProperty(key, "NaN"));
    }

    private void judge(String what, String demanded, boolean met) {
        out.printf("   %s (%s): %s%n", what, demanded, met ? "ok" : "NOT MET");
        good &= met;
    }
}
