package io.rampipe.log.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.annotation.Annotation;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.Enumeration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.osgi.service.log.LogEntry;
import org.osgi.service.log.LogLevel;
import org.osgi.service.log.LogListener;
import org.osgi.service.log.LogReaderService;
import org.osgi.service.log.admin.LoggerAdmin;
import org.osgi.service.log.admin.LoggerContext;

/** What is printed, and how often. */
class LogPrinterTest {
    /** Keeps a history and delivers by hand, as a log service may do both at any time. */
    private static final class Log implements LogReaderService {
        final Deque<LogEntry> history = new ArrayDeque<>();
        final List<LogListener> listeners = new ArrayList<>();

        @Override
        public void addLogListener(LogListener listener) {
            listeners.add(listener);
        }

        @Override
        public void removeLogListener(LogListener listener) {
            listeners.remove(listener);
        }

        @Override
        public Enumeration<LogEntry> getLog() {
            return Collections.enumeration(history);
        }

        void record(LogEntry entry) {
            history.addFirst(entry);
        }

        void deliver(LogEntry entry) {
            List.copyOf(listeners).forEach(listener -> listener.logged(entry));
        }
    }

    private static final class Levels implements LoggerAdmin, LoggerContext {
        Map<String, LogLevel> levels = Map.of();

        @Override
        public LoggerContext getLoggerContext(String name) {
            return this;
        }

        @Override
        public String getName() {
            return null;
        }

        @Override
        public LogLevel getEffectiveLogLevel(String name) {
            return levels.get("ROOT");
        }

        @Override
        public Map<String, LogLevel> getLogLevels() {
            return new HashMap<>(levels);
        }

        @Override
        public void setLogLevels(Map<String, LogLevel> to) {
            levels = to;
        }

        @Override
        public void clear() {
            levels = Map.of();
        }

        @Override
        public boolean isEmpty() {
            return levels.isEmpty();
        }
    }

    private record Level(String log_level) implements LogPrinter.Config {
        @Override
        public Class<? extends Annotation> annotationType() {
            return LogPrinter.Config.class;
        }
    }

    private final Log log = new Log();
    private final Levels levels = new Levels();
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    private LogPrinter start(String level, Style style) {
        return new LogPrinter(log, levels, new Level(level), out, style);
    }

    private String printed() {
        String text = out.toString(StandardCharsets.UTF_8);
        out.reset();
        return text;
    }

    @Test
    void thePastIsPrintedOnceAndInOrder() {
        log.record(Entry.of(1, LogLevel.INFO, "one"));
        log.record(Entry.of(2, LogLevel.INFO, "two"));
        LogPrinter printer = start("INFO", Style.JOURNAL);
        log.deliver(Entry.of(2, LogLevel.INFO, "two"));
        log.deliver(Entry.of(3, LogLevel.INFO, "three"));
        assertEquals("<6>one\n<6>two\n<6>three\n", printed());

        // Recorded, but not delivered before the printer is stopped.
        log.record(Entry.of(3, LogLevel.INFO, "three"));
        log.record(Entry.of(4, LogLevel.WARN, "four"));
        printer.deactivate();
        assertEquals("<4>four\n", printed());
        assertEquals(List.of(), log.listeners);
    }

    @Test
    void othersAreHeardFromWarningsOn() {
        LogPrinter printer = start("INFO", Style.JOURNAL);
        var scr = Entry.bundle("org.apache.felix.scr", "org.osgi.framework");
        var example = Entry.bundle("com.example.pin", "io.rampipe.api;version=\"[0.1,1)\"");
        log.deliver(Entry.of(1, LogLevel.INFO, "scr info").from(scr));
        log.deliver(Entry.of(2, LogLevel.ERROR, "scr error").from(scr));
        log.deliver(Entry.of(3, LogLevel.INFO, "strategy").from(example));
        log.deliver(Entry.of(4, LogLevel.DEBUG, "debug"));
        log.deliver(Entry.of(5, LogLevel.INFO, "BundleEvent").logger("Events.Bundle.io.rampipe.x"));
        log.deliver(Entry.of(6, LogLevel.INFO, "nobody's").from(null));
        assertEquals("<3>scr error\n<6>strategy\n", printed());

        printer.modified(new Level("DEBUG"));
        log.deliver(Entry.of(7, LogLevel.DEBUG, "debug"));
        log.deliver(Entry.of(8, LogLevel.INFO, "scr info").from(scr));
        assertEquals("<7>debug\n", printed());
        assertEquals(LogLevel.DEBUG, levels.levels.get("ROOT"));

        printer.modified(new Level("ERROR"));
        log.deliver(Entry.of(9, LogLevel.WARN, "scr warns").from(scr));
        assertEquals("", printed());
        printer.deactivate();
        assertTrue(levels.isEmpty());
    }

    @Test
    void exceptionsAreOneLineUnlessUnexpected() {
        start("INFO", Style.JOURNAL);
        IOException cause = new IOException("no space left on device");
        log.deliver(
                Entry.of(1, LogLevel.ERROR, "cannot sync /home/u")
                        .because(new SyncException("write failed on sda", cause)));
        assertEquals(
                "<3>cannot sync /home/u: write failed on sda: no space left on device\n",
                printed());

        log.deliver(
                Entry.of(2, LogLevel.ERROR, "cannot sync /x: no space left on device")
                        .because(cause));
        assertEquals("<3>cannot sync /x: no space left on device\n", printed());

        log.deliver(Entry.of(3, LogLevel.ERROR, "tick failed").because(new NullPointerException()));
        String[] lines = printed().split("\n");
        assertEquals("<3>tick failed: NullPointerException", lines[0]);
        assertEquals("<3>java.lang.NullPointerException", lines[1]);
        for (String line : lines) {
            assertTrue(line.startsWith("<3>"), line);
        }
        assertTrue(lines.length > 3);
    }

    @Test
    void debugShowsEveryTrace() {
        start("DEBUG", Style.PLAIN);
        log.deliver(Entry.of(1, LogLevel.WARN, "careful").because(new IOException("it broke")));
        String[] lines = printed().split("\n");
        assertTrue(lines[0].matches("\\d\\d:\\d\\d:\\d\\d WARN  careful: it broke"), lines[0]);
        assertTrue(lines[2].contains("    at io.rampipe.log"), lines[2]);
    }

    @Test
    void messagesCannotForgeLines() {
        start("INFO", Style.JOURNAL);
        log.deliver(Entry.of(1, LogLevel.INFO, "pinned /tmp/a\n<3>forged \u001b[2J"));
        assertEquals("<6>pinned /tmp/a\\n<3>forged \\u001b[2J\n", printed());
        log.deliver(
                Entry.of(2, LogLevel.ERROR, "x")
                        .because(new UncheckedIOException("a\nb", new IOException("c\nd"))));
        for (String line : printed().split("\n")) {
            assertTrue(line.startsWith("<3>"), line);
        }
    }

    @Test
    void theJournalIsRecognisedByItsStream(@TempDir Path dir) throws IOException {
        Path out = Files.createFile(dir.resolve("out"));
        String stream =
                Files.getAttribute(out, "unix:dev") + ":" + Files.getAttribute(out, "unix:ino");
        assertEquals(Style.JOURNAL, Style.of(null, stream, out));
        assertEquals(Style.PLAIN, Style.of(null, "8:1", out));
        assertEquals(Style.PLAIN, Style.of(null, null, out));
        assertEquals(Style.PLAIN, Style.of("plain", stream, out));
        assertEquals(Style.JOURNAL, Style.of("journal", null, out));
        assertEquals(Style.PLAIN, Style.of(null, stream, dir.resolve("none")));
    }

    /** Checked, with a cause, as the engine's exceptions are. */
    private static final class SyncException extends IOException {
        private static final long serialVersionUID = 1L;

        SyncException(String message, Throwable cause) {
            super(message, cause);
        }
    }
}
