package io.rampipe.log.internal;

import io.rampipe.api.Printable;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Collections;
import java.util.Deque;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.osgi.framework.Bundle;
import org.osgi.framework.Constants;
import org.osgi.service.log.LogEntry;
import org.osgi.service.log.LogLevel;

/** Which entries are printed, and how. Not for use by several threads at a time. */
final class Lines {
    /** More than the log service keeps for later listeners. */
    private static final int REMEMBERED = 512;

    private final Style style;
    private final Deque<Long> order = new ArrayDeque<>();
    private final Set<Long> seen = new HashSet<>();
    private LogLevel level;

    Lines(Style style, LogLevel level) {
        this.style = style;
        this.level = level;
    }

    void level(LogLevel level) {
        this.level = level;
    }

    /**
     * The lines for an entry, each ended; empty if it is not wanted, or was asked for before (the
     * log service hands out its past and its present separately).
     */
    String of(LogEntry entry) {
        if (!first(entry.getSequence()) || !wanted(entry)) {
            return "";
        }
        String prefix = style.prefix(entry.getLogLevel(), entry.getTime());
        StringBuilder out = new StringBuilder(prefix);
        out.append(Printable.of(entry.getMessage()));
        Throwable exception = entry.getException();
        if (exception != null) {
            String chain = Style.chain(exception);
            if (out.indexOf(chain) < 0) {
                out.append(": ").append(chain);
            }
        }
        out.append('\n');
        if (exception != null && (level.implies(LogLevel.DEBUG) || unexpected(exception))) {
            for (String line : trace(exception)) {
                out.append(prefix).append(line).append('\n');
            }
        }
        return out.toString();
    }

    private boolean first(long sequence) {
        if (!seen.add(sequence)) {
            return false;
        }
        order.add(sequence);
        if (order.size() > REMEMBERED) {
            seen.remove(order.remove());
        }
        return true;
    }

    private boolean wanted(LogEntry entry) {
        LogLevel least = level;
        if (least.implies(LogLevel.INFO) && !ours(entry)) {
            least = LogLevel.WARN;
        }
        return least.implies(entry.getLogLevel());
    }

    /**
     * Whether it comes from a bundle of RamPipe's, or from a strategy that someone else made. What
     * the log service records about the coming and going of bundles and services is nobody's.
     */
    private static boolean ours(LogEntry entry) {
        String logger = entry.getLoggerName();
        Bundle bundle = entry.getBundle();
        if (bundle == null || logger != null && logger.startsWith("Events.")) {
            return false;
        }
        String name = bundle.getSymbolicName();
        if (name != null && name.startsWith("io.rampipe.")) {
            return true;
        }
        String imports = bundle.getHeaders("").get(Constants.IMPORT_PACKAGE);
        return imports != null && imports.contains("io.rampipe.api");
    }

    /** An exception that says that the program is wrong, not the world. */
    private static boolean unexpected(Throwable exception) {
        return exception instanceof RuntimeException || exception instanceof Error;
    }

    private static List<String> trace(Throwable exception) {
        java.io.StringWriter text = new java.io.StringWriter();
        exception.printStackTrace(new java.io.PrintWriter(text));
        return Arrays.stream(text.toString().split("\\R"))
                .map(line -> Printable.of(line.replace("\t", "    ")))
                .toList();
    }

    /** Oldest first. */
    static List<LogEntry> past(java.util.Enumeration<LogEntry> newestFirst) {
        List<LogEntry> past = Collections.list(newestFirst);
        Collections.reverse(past);
        return past;
    }
}
