package io.rampipe.log.internal;

import io.rampipe.api.Printable;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import org.osgi.service.log.LogLevel;

/** How a line begins. */
enum Style {
    /** For terminals and files: the time of day and the level. */
    PLAIN {
        @Override
        String prefix(LogLevel level, long time) {
            return TIME.format(Instant.ofEpochMilli(time)) + String.format(" %-5s ", level);
        }
    },

    /** For journald, which keeps the time itself: a priority as in {@code sd-daemon(3)}. */
    JOURNAL {
        @Override
        String prefix(LogLevel level, long time) {
            return switch (level) {
                case ERROR -> "<3>";
                case WARN -> "<4>";
                case AUDIT -> "<5>";
                case INFO -> "<6>";
                case DEBUG, TRACE -> "<7>";
            };
        }
    };

    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("HH:mm:ss").withZone(ZoneId.systemDefault());

    /**
     * @param time epoch milliseconds
     */
    abstract String prefix(LogLevel level, long time);

    /**
     * What fits standard output.
     *
     * @param wanted {@code journal} or {@code plain}; anything else: find out
     * @param journalStream the variable JOURNAL_STREAM, or null
     * @param out standard output
     */
    static Style of(String wanted, String journalStream, Path out) {
        if ("journal".equals(wanted)) {
            return JOURNAL;
        }
        return "plain".equals(wanted) || !leadsTo(out, journalStream) ? PLAIN : JOURNAL;
    }

    /**
     * Processes inherit the variable, whatever their output is: only device and inode tell
     * (systemd.exec(5)).
     */
    private static boolean leadsTo(Path out, String journalStream) {
        if (journalStream == null) {
            return false;
        }
        try {
            return journalStream.equals(
                    Files.getAttribute(out, "unix:dev")
                            + ":"
                            + Files.getAttribute(out, "unix:ino"));
        } catch (IOException | UnsupportedOperationException e) {
            return false;
        }
    }

    /** An exception and its causes in one line, each thing said once. */
    static String chain(Throwable exception) {
        StringBuilder out = new StringBuilder();
        Throwable e = exception;
        for (int depth = 0; e != null && depth < 10; depth++) {
            String text = e.getMessage();
            if (text == null || text.isBlank()) {
                text = e.getClass().getSimpleName();
            } else if (!speaksForItself(e)) {
                text = e.getClass().getSimpleName() + ": " + text;
            }
            if (out.indexOf(text) < 0) {
                out.append(out.length() == 0 ? "" : ": ").append(text);
            }
            e = e.getCause();
        }
        return Printable.of(out);
    }

    /** Some messages are only an object: a class that was not found, an index, a path. */
    private static boolean speaksForItself(Throwable e) {
        return e.getMessage().indexOf(' ') > 0;
    }
}
