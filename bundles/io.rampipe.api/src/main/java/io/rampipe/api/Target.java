package io.rampipe.api;

/**
 * What one pin covers.
 *
 * @param path absolute, without links, as the kernel reports it
 * @param kind a whole directory with everything below it, or one regular file
 */
public record Target(FilePath path, Kind kind) {
    /** Directory or single file. */
    public enum Kind {
        DIRECTORY,
        FILE
    }

    public static Target directory(FilePath path) {
        return new Target(path, Kind.DIRECTORY);
    }

    public static Target file(FilePath path) {
        return new Target(path, Kind.FILE);
    }

    @Override
    public String toString() {
        return path.toString();
    }
}
