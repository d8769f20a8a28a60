package io.rampipe.api;

import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Quantities with units, as users write them in configuration and on command lines, and as RamPipe
 * shows them.
 */
public final class Units {
    private static final Pattern QUANTITY =
            Pattern.compile("(\\d{1,15}(?:\\.\\d{1,9})?)\\s*([a-zA-Z]*)");

    private static final Map<String, Long> SIZES =
            Map.ofEntries(
                    Map.entry("", 1L),
                    Map.entry("b", 1L),
                    Map.entry("k", 1L << 10),
                    Map.entry("kib", 1L << 10),
                    Map.entry("m", 1L << 20),
                    Map.entry("mib", 1L << 20),
                    Map.entry("g", 1L << 30),
                    Map.entry("gib", 1L << 30),
                    Map.entry("t", 1L << 40),
                    Map.entry("tib", 1L << 40));

    private static final Map<String, Double> TIMES =
            Map.of(
                    "us", 1e3, "ms", 1e6, "s", 1e9, "m", 60e9, "min", 60e9, "h", 3600e9, "d",
                    86400e9);

    private Units() {}

    /**
     * Bytes: a number and one of {@code B K M G T} (powers of 1024; {@code KiB} and so on do as
     * well); without a unit, bytes.
     *
     * @throws IllegalArgumentException with a message for the user
     */
    public static long bytes(String text) {
        Matcher m = QUANTITY.matcher(text.strip());
        Long unit = m.matches() ? SIZES.get(m.group(2).toLowerCase(Locale.ROOT)) : null;
        double bytes = unit == null ? -1 : Double.parseDouble(m.group(1)) * unit;
        if (bytes < 0 || bytes > Long.MAX_VALUE / 2) {
            throw new IllegalArgumentException(
                    "'" + text + "' is not a size: write a number and a unit, such as 512M or 1G");
        }
        return (long) bytes;
    }

    /**
     * A time: a number and one of {@code us ms s m h d}; a unit is needed, but for 0.
     *
     * @throws IllegalArgumentException with a message for the user
     */
    public static Duration duration(String text) {
        Matcher m = QUANTITY.matcher(text.strip());
        boolean matches = m.matches();
        Double unit = matches ? TIMES.get(m.group(2).toLowerCase(Locale.ROOT)) : null;
        double nanos = unit == null ? -1 : Double.parseDouble(m.group(1)) * unit;
        if (matches && m.group(2).isEmpty() && Double.parseDouble(m.group(1)) == 0) {
            nanos = 0;
        }
        if (nanos < 0 || nanos > Long.MAX_VALUE / 2) {
            throw new IllegalArgumentException(
                    "'"
                            + text
                            + "' is not a time: write a number and a unit, such as 500ms, 30s or 10m");
        }
        return Duration.ofNanos((long) nanos);
    }

    /** Bytes for people: three digits and a unit, {@code 4.2 MiB}. */
    public static String bytes(long bytes) {
        if (bytes < 1024) {
            return bytes + " B";
        }
        double value = bytes;
        int unit = -1;
        while (value >= 1023.5) {
            value /= 1024;
            unit++;
        }
        return String.format(
                Locale.ROOT,
                value < 9.95 ? "%.1f %ciB" : "%.0f %ciB",
                value,
                "KMGTPE".charAt(unit));
    }

    /** A time for people: {@code 350 ms}, {@code 4.2 s}, {@code 12 min}, {@code 3 h 20 min}. */
    public static String duration(Duration time) {
        long millis = time.toMillis();
        if (millis < 1_000) {
            return millis + " ms";
        }
        if (millis < 120_000) {
            return String.format(Locale.ROOT, millis < 10_000 ? "%.1f s" : "%.0f s", millis / 1e3);
        }
        long minutes = millis / 60_000;
        if (minutes < 120) {
            return minutes + " min";
        }
        long hours = minutes / 60;
        return hours < 48
                ? hours + " h " + minutes % 60 + " min"
                : hours / 24 + " d " + hours % 24 + " h";
    }
}
