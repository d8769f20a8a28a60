package io.rampipe.log.internal;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Modified;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.LogEntry;
import org.osgi.service.log.LogLevel;
import org.osgi.service.log.LogListener;
import org.osgi.service.log.LogReaderService;
import org.osgi.service.log.Logger;
import org.osgi.service.log.admin.LoggerAdmin;
import org.osgi.service.log.admin.LoggerContext;
import org.osgi.service.metatype.annotations.AttributeDefinition;
import org.osgi.service.metatype.annotations.Designate;
import org.osgi.service.metatype.annotations.ObjectClassDefinition;
import org.osgi.service.metatype.annotations.Option;

/**
 * Prints the log to standard output, where journald, a terminal or a file take it up. Entries from
 * before it was started are printed first; at its end, those that the log service had no time to
 * deliver.
 */
@Component(
        service = {},
        immediate = true,
        configurationPid = LogPrinter.PID)
@Designate(ocd = LogPrinter.Config.class)
public final class LogPrinter {
    static final String PID = "io.rampipe.log";

    /** Forces a style: {@code journal} or {@code plain}. */
    static final String STYLE = "rampipe.log";

    /** Settings. */
    @ObjectClassDefinition(id = PID, name = "Log", description = "What is said on standard output.")
    public @interface Config {
        @AttributeDefinition(
                description =
                        "What is logged: this and everything more important. DEBUG adds stack traces.",
                options = {
                    @Option(value = "ERROR"),
                    @Option(value = "WARN"),
                    @Option(value = "INFO"),
                    @Option(value = "DEBUG")
                })
        String log_level() default "INFO";
    }

    private final LogReaderService log;
    private final LoggerContext loggers;
    private final Map<String, LogLevel> levelsBefore;
    private final OutputStream out;
    private final Lines lines;
    private final LogListener listener = this::print;

    @Activate
    public LogPrinter(
            @Reference LogReaderService log, @Reference LoggerAdmin loggers, Config config) {
        this(
                log,
                loggers,
                config,
                // Not System.out, which Gogo redirects to whoever runs a command.
                new FileOutputStream(FileDescriptor.out),
                Style.of(
                        System.getProperty(STYLE),
                        System.getenv("JOURNAL_STREAM"),
                        Path.of("/proc/self/fd/1")));
    }

    LogPrinter(
            LogReaderService log,
            LoggerAdmin loggers,
            Config config,
            OutputStream out,
            Style style) {
        this.log = log;
        this.loggers = loggers.getLoggerContext(null);
        this.out = out;
        levelsBefore = this.loggers.getLogLevels();
        lines = new Lines(style, LogLevel.valueOf(config.log_level()));
        modified(config);
        synchronized (lines) {
            // What comes meanwhile waits at the lock, and is known when it is in the past already.
            log.addLogListener(listener);
            printPast();
        }
    }

    @Modified
    void modified(Config config) {
        LogLevel level = LogLevel.valueOf(config.log_level());
        synchronized (lines) {
            lines.level(level);
        }
        // Without this the log service itself drops what is below WARN.
        loggers.setLogLevels(
                Map.of(
                        Logger.ROOT_LOGGER_NAME,
                        level.implies(LogLevel.WARN) ? level : LogLevel.WARN));
    }

    @Deactivate
    void deactivate() {
        log.removeLogListener(listener);
        synchronized (lines) {
            printPast();
        }
        loggers.setLogLevels(levelsBefore);
    }

    private void printPast() {
        for (LogEntry entry : Lines.past(log.getLog())) {
            print(entry);
        }
    }

    private void print(LogEntry entry) {
        synchronized (lines) {
            String text = lines.of(entry);
            if (!text.isEmpty()) {
                try {
                    // One write a time: lines of other writers are not torn apart.
                    out.write(text.getBytes(StandardCharsets.UTF_8));
                    out.flush();
                } catch (IOException e) {
                    // Nobody reads standard output any more; there is nowhere to say so.
                    return;
                }
            }
        }
    }
}
