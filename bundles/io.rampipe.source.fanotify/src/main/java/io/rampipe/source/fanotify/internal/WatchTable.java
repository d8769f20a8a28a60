package io.rampipe.source.fanotify.internal;

import java.util.Collection;

/** Finds the watch of a file system, for each event. Replaced when watches come and go. */
final class WatchTable {
    private final Watch[] slots;

    /** Of watches that have a {@link Watch#place}. */
    WatchTable(Collection<Watch> watches) {
        slots = new Watch[Integer.highestOneBit(4 * watches.size() + 1) * 2];
        for (Watch watch : watches) {
            int at = start(watch.place().fileSystem());
            while (slots[at] != null) {
                at = at + 1 & slots.length - 1;
            }
            slots[at] = watch;
        }
    }

    /** Null if that file system is not watched. */
    Watch find(long fileSystem) {
        int at = start(fileSystem);
        while (slots[at] != null && slots[at].place().fileSystem() != fileSystem) {
            at = at + 1 & slots.length - 1;
        }
        return slots[at];
    }

    private int start(long fileSystem) {
        // Half of an id may be constant (btrfs, old overlayfs): use all of it.
        return (int) (fileSystem * 0x9e3779b97f4a7c15L >>> 40) & slots.length - 1;
    }
}
