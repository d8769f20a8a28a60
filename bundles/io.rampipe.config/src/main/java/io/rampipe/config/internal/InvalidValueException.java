package io.rampipe.config.internal;

/** A value that its key does not take. The message names key, value and what would be valid. */
final class InvalidValueException extends Exception {
    private static final long serialVersionUID = 1L;

    InvalidValueException(String message) {
        super(message);
    }
}
