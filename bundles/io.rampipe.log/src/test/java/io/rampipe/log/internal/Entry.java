package io.rampipe.log.internal;

import java.lang.reflect.Proxy;
import java.util.Hashtable;
import java.util.Map;
import org.osgi.framework.Bundle;
import org.osgi.framework.Constants;
import org.osgi.framework.ServiceReference;
import org.osgi.service.log.LogEntry;
import org.osgi.service.log.LogLevel;

/** A log entry. */
record Entry(
        long sequence,
        Bundle bundle,
        String loggerName,
        LogLevel level,
        String message,
        Throwable exception)
        implements LogEntry {

    static Entry of(long sequence, LogLevel level, String message) {
        return new Entry(sequence, bundle("io.rampipe.engine", ""), "a.b.C", level, message, null);
    }

    Entry because(Throwable e) {
        return new Entry(sequence, bundle, loggerName, level, message, e);
    }

    Entry from(Bundle other) {
        return new Entry(sequence, other, loggerName, level, message, exception);
    }

    Entry logger(String name) {
        return new Entry(sequence, bundle, name, level, message, exception);
    }

    static Bundle bundle(String name, String imports) {
        Hashtable<String, String> headers =
                new Hashtable<>(Map.of(Constants.IMPORT_PACKAGE, imports));
        return (Bundle)
                Proxy.newProxyInstance(
                        Entry.class.getClassLoader(),
                        new Class<?>[] {Bundle.class},
                        (proxy, method, args) ->
                                switch (method.getName()) {
                                    case "getSymbolicName" -> name;
                                    case "getHeaders" -> headers;
                                    default ->
                                            throw new UnsupportedOperationException(
                                                    method.getName());
                                });
    }

    @Override
    public Bundle getBundle() {
        return bundle;
    }

    @Override
    public ServiceReference<?> getServiceReference() {
        return null;
    }

    @Override
    @Deprecated
    public int getLevel() {
        return level.ordinal();
    }

    @Override
    public String getMessage() {
        return message;
    }

    @Override
    public Throwable getException() {
        return exception;
    }

    @Override
    public long getTime() {
        return 0;
    }

    @Override
    public LogLevel getLogLevel() {
        return level;
    }

    @Override
    public String getLoggerName() {
        return loggerName;
    }

    @Override
    public long getSequence() {
        return sequence;
    }

    @Override
    public String getThreadInfo() {
        return "main";
    }

    @Override
    public StackTraceElement getLocation() {
        return null;
    }
}
