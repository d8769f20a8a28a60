package io.rampipe.source.fanotify.internal;

/**
 * Identities of files that are known by device and inode number only, for a few seconds: names
 * change, and no event tells. Bounded; a newer file takes an older one's place.
 */
final class DescriptorCache {
    private static final int SIZE = 4096;
    private static final long KEPT_NANOS = 10_000_000_000L;

    private final long[] devices = new long[SIZE];
    private final long[] inodes = new long[SIZE];
    private final long[] times = new long[SIZE];
    private final long[] directories = new long[SIZE];
    private final long[] files = new long[SIZE];

    /** The slot of a file, known or not. */
    int slot(long device, long inode) {
        return (int) (Identity.numbers(device, inode) & SIZE - 1);
    }

    boolean knows(int slot, long device, long inode, long now) {
        return directories[slot] != 0
                && inodes[slot] == inode
                && devices[slot] == device
                && now - times[slot] < KEPT_NANOS;
    }

    void put(int slot, long device, long inode, long now, long directory, long file) {
        devices[slot] = device;
        inodes[slot] = inode;
        times[slot] = now;
        directories[slot] = directory;
        files[slot] = file;
    }

    long directory(int slot) {
        return directories[slot];
    }

    long file(int slot) {
        return files[slot];
    }
}
