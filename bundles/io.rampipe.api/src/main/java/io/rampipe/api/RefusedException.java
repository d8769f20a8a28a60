package io.rampipe.api;

import java.io.IOException;

/** A pin was refused or undone; everything is as before. */
public class RefusedException extends IOException {
    private static final long serialVersionUID = 1L;

    private final transient Refusal refusal;

    public RefusedException(Refusal.Cause cause, String message) {
        super(message);
        this.refusal = new Refusal(cause, message);
    }

    public RefusedException(Refusal.Cause cause, String message, Throwable because) {
        super(message, because);
        this.refusal = new Refusal(cause, message);
    }

    public Refusal refusal() {
        return refusal;
    }
}
