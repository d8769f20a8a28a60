package io.rampipe.demo;

import java.io.PrintStream;
import java.util.List;

/**
 * Shows what happens: news, which stay, and a picture of the present, which on a terminal is drawn
 * again in its place and elsewhere is one line. Any thread.
 */
final class Screen {
    private final PrintStream out;
    private final boolean terminal;
    private final long start = System.nanoTime();
    private int drawn;

    Screen(PrintStream out, boolean terminal) {
        this.out = out;
        this.terminal = terminal;
    }

    synchronized void news(String text) {
        wipe();
        out.printf("%5.1f s  %s%n", seconds(), text);
        out.flush();
    }

    /**
     * @param line the picture in one line
     * @param table the same in several, for terminals
     */
    synchronized void picture(String line, List<String> table) {
        if (!terminal) {
            out.printf("%5.1f s  %s%n", seconds(), line);
        } else {
            wipe();
            for (String row : table) {
                out.println(row);
            }
            drawn = table.size();
        }
        out.flush();
    }

    /** Leaves the last picture where it is. */
    synchronized void keep() {
        drawn = 0;
    }

    private void wipe() {
        if (drawn > 0) {
            // Cursor up to the picture's first line, erase from there (ECMA-48 CPL, ED).
            out.printf("\033[%dF\033[J", drawn);
            drawn = 0;
        }
    }

    private double seconds() {
        return (System.nanoTime() - start) / 1e9;
    }

    /** A size for people. */
    static String bytes(long bytes) {
        if (bytes < 10_000) {
            return bytes + " B";
        }
        return bytes < 10_000_000
                ? String.format("%.0f KiB", bytes / 1024.0)
                : String.format("%.1f MiB", bytes / 1048576.0);
    }
}
