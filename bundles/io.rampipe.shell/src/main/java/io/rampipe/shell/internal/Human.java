package io.rampipe.shell.internal;

import io.rampipe.api.Target;
import io.rampipe.api.Units;
import java.time.Duration;
import java.util.Locale;

/** Quantities for people. */
final class Human {
    static final String NOTHING = "-";

    private Human() {}

    static String size(long bytes) {
        return bytes == 0 ? "0" : Units.bytes(bytes);
    }

    /** How long ago a moment is; {@code -} for none. Never negative, should the clock go back. */
    static String age(long epochMillis, long now) {
        return epochMillis <= 0
                ? NOTHING
                : Units.duration(Duration.ofMillis(Math.max(0, now - epochMillis)));
    }

    static String rate(double perSecond) {
        return String.format(
                Locale.ROOT,
                perSecond < 9.995 ? "%.2f" : perSecond < 99.95 ? "%.1f" : "%.0f",
                perSecond);
    }

    static String count(long number) {
        return String.format(Locale.ROOT, "%,d", number);
    }

    /** {@code 1 file}, {@code 2 files}. */
    static String count(long number, String one) {
        return count(number) + " " + one + (number == 1 ? "" : "s");
    }

    /** Directories end in a slash, as with ls -F. */
    static String target(Target target) {
        String path = target.toString();
        return target.kind() == Target.Kind.DIRECTORY && !path.endsWith("/") ? path + "/" : path;
    }
}
