package io.rampipe.testkit.lab;

import java.io.PrintStream;
import java.io.PrintWriter;

/** A test has failed in the guest. Its stack trace is the guest's. */
final class GuestFailure extends AssertionError {
    private static final long serialVersionUID = 1;

    private final String trace;

    GuestFailure(String message, String trace) {
        super(message);
        this.trace = trace;
        setStackTrace(new StackTraceElement[0]);
    }

    @Override
    public void printStackTrace(PrintStream out) {
        out.print(text());
    }

    @Override
    public void printStackTrace(PrintWriter out) {
        out.print(text());
    }

    private String text() {
        return "in the lab's guest: " + (trace.isEmpty() ? getMessage() + "\n" : trace);
    }
}
