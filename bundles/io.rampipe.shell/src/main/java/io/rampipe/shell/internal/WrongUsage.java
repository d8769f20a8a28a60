package io.rampipe.shell.internal;

/**
 * The command line makes no sense. As an {@link IllegalArgumentException} it becomes exit status 2
 * at the control socket, as Gogo's own complaints do.
 */
final class WrongUsage extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    WrongUsage(String message) {
        super(message);
    }
}
