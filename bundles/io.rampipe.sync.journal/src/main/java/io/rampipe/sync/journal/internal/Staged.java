package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;

/** Names in the staging directory: the log's sequence number and a count. */
final class Staged {
    /** Behind the prefix: a file that keeps room for what will be written in place. */
    static final String RESERVE = "reserve";

    private final String prefix;
    private int count;

    Staged(long sequence) {
        this.prefix = prefix(sequence);
    }

    /** What all names of one log begin with. */
    static String prefix(long sequence) {
        return sequence + "-";
    }

    String prefix() {
        return prefix;
    }

    FilePath next() {
        return FilePath.of(prefix + count++);
    }
}
