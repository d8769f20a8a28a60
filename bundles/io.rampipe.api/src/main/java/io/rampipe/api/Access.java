package io.rampipe.api;

/**
 * Kinds of access that an event source reports: bits, because the kernel merges several into one
 * event.
 */
public final class Access {
    /** A file was opened. */
    public static final int OPEN = 1;

    /** A file was read. */
    public static final int READ = 2;

    /** A file's data changed. */
    public static final int WRITE = 4;

    /** A file that had been open for writing was closed. */
    public static final int CLOSE_WRITE = 8;

    /** A name came to be: created, linked, or moved here. */
    public static final int APPEAR = 16;

    /** A name went: deleted, or moved away. */
    public static final int DISAPPEAR = 32;

    /** The name is that of a directory. */
    public static final int DIRECTORY = 64;

    private Access() {}
}
