package io.rampipe.shell.internal;

/** A command did not do what it was told. The message is for people: one line, what and why. */
final class CommandFailed extends Exception {
    private static final long serialVersionUID = 1L;

    CommandFailed(String message) {
        super(message);
    }

    CommandFailed(String message, Throwable because) {
        super(message, because);
    }
}
