package io.rampipe.source.fanotify.internal;

/**
 * Finds files that are active nearly all the time: a small table of histories, which forgets
 * whatever pauses when it needs the room. Constant time, and no allocation, for each event.
 */
final class Activity {
    private static final int WAYS = 4;
    private static final int SETS = 512;
    private static final int NONE = -1;

    private final long[] keys = new long[WAYS * SETS];
    private final int[] bits = new int[WAYS * SETS];
    private final int[] slots = new int[WAYS * SETS];
    private final int[] drains = new int[WAYS * SETS];
    private final int[] kinds = new int[WAYS * SETS];
    private final HotFile[] hot = new HotFile[WAYS * SETS];

    /**
     * Notes that a file was active in a slot of time. Returns its entry, valid until the next call,
     * or a negative number if there was no room.
     */
    int touch(long file, int slot) {
        int set = (int) (file >>> 32 & SETS - 1) * WAYS;
        int free = NONE;
        for (int i = set; i < set + WAYS; i++) {
            if (keys[i] == file) {
                int passed = slot - slots[i];
                if (passed != 0) {
                    bits[i] = Presence.aged(bits[i], passed);
                    slots[i] = slot;
                }
                bits[i] |= 1;
                return i;
            }
            if (hot[i] == null && (keys[i] == 0 || slot - slots[i] > 1)) {
                free = i;
            }
        }
        if (free >= 0) {
            keys[free] = file;
            bits[free] = 1;
            slots[free] = slot;
            kinds[free] = 0;
        }
        return free;
    }

    /**
     * Whether the file had an event of these kinds in this drain before: the kernel merges equal
     * events only while they wait, and a fast writer makes new ones while the queue is being read.
     */
    boolean repeated(int entry, int drain, int now) {
        if (drains[entry] != drain) {
            drains[entry] = drain;
            kinds[entry] = 0;
        }
        int before = kinds[entry];
        kinds[entry] = before | now;
        return (now & ~before) == 0;
    }

    boolean constant(int entry) {
        return Presence.constant(bits[entry]);
    }

    /** What is kept about a file that is being silenced; null for others. */
    HotFile hot(int entry) {
        return hot[entry];
    }

    /** Keeps the entry until {@link #release}. */
    void hold(int entry, HotFile file) {
        hot[entry] = file;
    }

    /** Lets go of an entry, whose history begins anew. */
    void release(int entry) {
        hot[entry] = null;
        keys[entry] = 0;
        bits[entry] = 0;
    }
}
