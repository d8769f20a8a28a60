package io.rampipe.api;

import java.util.Objects;

/**
 * Why something is not pinned.
 *
 * @param cause for programs, and for saying it only once
 * @param message for people: names the thing and the cause
 */
public record Refusal(Cause cause, String message) {
    public Refusal {
        Objects.requireNonNull(cause);
        Objects.requireNonNull(message);
    }

    /** Causes of refusal. */
    public enum Cause {
        /** Outside the watched directories, or excluded by a pattern. */
        NOT_WATCHED(true),
        /** A kernel, device, network, FUSE or RAM file system. */
        FILE_SYSTEM(true),
        /** Something is mounted at it or below it. */
        MOUNT_POINT(false),
        /** A swap file in use below it. */
        SWAP_FILE(true),
        /** Immutable or append-only files. */
        IMMUTABLE(true),
        /** More than the budget can ever hold. */
        TOO_LARGE(false),
        /** Would fit, but not now. */
        NO_ROOM(false),
        /** A process has a file open, or mapped. */
        IN_USE(false),
        /** A process stands in it (working directory, root) or holds a directory in it open. */
        OCCUPIED(false),
        /** A single file that is replaced, moved or deleted instead of written in place. */
        REPLACED(false),
        /** A single file with others beside it that belong to it by name. */
        NOT_ALONE(false),
        /** Hard links that lead outside. */
        LINKED_OUTSIDE(false),
        /** A socket or FIFO below it. */
        SPECIAL_FILE(false),
        /** Neither a directory nor a regular file, or gone. */
        NOT_A_TARGET(false),
        /** It changed while it was being pinned; the pin was undone. */
        CHANGED(false),
        /** The kernel or this strategy cannot. */
        UNSUPPORTED(true),
        /** A system call failed. */
        ERROR(false);

        private final boolean lasting;

        Cause(boolean lasting) {
            this.lasting = lasting;
        }

        /** True if trying again soon is pointless. */
        public boolean lasting() {
            return lasting;
        }
    }
}
