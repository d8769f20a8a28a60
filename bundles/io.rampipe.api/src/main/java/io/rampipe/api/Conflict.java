package io.rampipe.api;

/**
 * Something that others changed on disk behind a pin, and that was changed in RAM too, so that
 * neither could simply be taken for the new state.
 *
 * @param pin {@link Pin#id}
 * @param target of the pin, when it was made
 * @param path what was changed
 * @param copy where the version from RAM is kept, the one on disk being at {@code path}; empty if
 *     there is nothing to keep beside
 * @param when epoch milliseconds
 * @param what happened, and what was done, for people; goes on behind the path, and before the copy
 */
public record Conflict(
        String pin, FilePath target, FilePath path, FilePath copy, long when, String what) {

    /** The whole of it in one line. */
    @Override
    public String toString() {
        return path + " " + what + (copy.isEmpty() ? "" : " " + copy.name());
    }
}
