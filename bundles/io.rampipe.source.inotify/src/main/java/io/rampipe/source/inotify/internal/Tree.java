package io.rampipe.source.inotify.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Target;

/** What is watched from one directory on down, on one mount. The session's thread. */
final class Tree {
    private final FilePath path;
    private final Pin pin;
    private final long directory;

    /** Null while the directory is not there, or is covered. */
    private Node top;

    private long mount;
    private long targetMount;

    private Tree(FilePath path, Pin pin, long directory) {
        this.path = path;
        this.pin = pin;
        this.directory = directory;
    }

    /** Of a watched directory. */
    static Tree disk(FilePath path) {
        return new Tree(path, null, 0);
    }

    /**
     * Of a pin.
     *
     * @param path of its mount; the target, or what is hidden behind it
     * @param directory the identity that its events carry
     */
    static Tree pin(FilePath path, Pin pin, long directory) {
        return new Tree(path, pin, directory);
    }

    FilePath path() {
        return path;
    }

    /** Null for a disk. */
    Pin pin() {
        return pin;
    }

    boolean ofFile() {
        return pin != null && pin.target().kind() == Target.Kind.FILE;
    }

    Node top() {
        return top;
    }

    long mount() {
        return mount;
    }

    void attach(Node at, long onMount) {
        top = at;
        mount = onMount;
    }

    /**
     * @param onMount id of the mount that is over a pin's target
     */
    void covers(long onMount) {
        targetMount = onMount;
    }

    long targetMount() {
        return targetMount;
    }

    void detach() {
        top = null;
    }

    /** Identity that events of a directory of it carry. */
    long identity(long ofDirectory) {
        return pin == null ? ofDirectory : directory;
    }

    /** What names in a directory of it are told apart by. */
    long base(long ofDirectory) {
        return pin == null ? ofDirectory : Identity.numbers(directory, ofDirectory);
    }
}
