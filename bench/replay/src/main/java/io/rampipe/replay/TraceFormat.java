package io.rampipe.replay;

/**
 * The format of a trace, version 1: gzip over {@link #MAGIC} and records. Numbers are unsigned
 * LEB128. Each record begins with its tag:
 *
 * <ul>
 *   <li>{@link #DIRECTORY}: one more than the number of the directory that it is in, 0 if that is
 *       not known; length of its path and the path (0 and nothing, if names are kept out).
 *       Directories have the numbers 0, 1, … in the order of these records.
 *   <li>{@link #FILE}: number of its directory, length of its name and the name. Numbered likewise.
 *   <li>{@link #TICK}: milliseconds since the tick before (the start, for the first), number of
 *       events, and of each the file's number and a byte of {@link io.rampipe.api.Access} bits; if
 *       {@link #SCALED} is among them, 16 times the scale follows.
 *   <li>{@link #SIZE}: a file's number, and its size in bytes from then on.
 *   <li>{@link #END}: milliseconds since the last tick.
 * </ul>
 */
final class TraceFormat {
    static final String MAGIC = "RPTRACE1";
    static final int END = 0;
    static final int DIRECTORY = 1;
    static final int FILE = 2;
    static final int TICK = 3;
    static final int SIZE = 4;
    static final int SCALED = 128;
    static final int SCALE = 16;

    private TraceFormat() {}
}
