package io.rampipe.source.fanotify.internal;

/**
 * In which of the last slots of time something was active: one bit each, the latest lowest. Slots
 * are numbered.
 */
final class Presence {
    /** Length of a slot: a little more than a tick, so that each slot sees a tick. */
    static final long SLOT_NANOS = 100_000_000;

    private static final int REMEMBERED = 10;

    /**
     * Half of them: some ten accesses a second, far above any threshold, so that sampling decides
     * nothing; and programs that open, write and close in short turns are silenced too.
     */
    private static final int CONSTANT = 5;

    private Presence() {}

    /** History as of a later slot. */
    static int aged(int bits, int slots) {
        return slots < REMEMBERED ? bits << slots & (1 << REMEMBERED) - 1 : 0;
    }

    /** Active in at least half of the last second. */
    static boolean constant(int bits) {
        return Integer.bitCount(bits) >= CONSTANT;
    }
}
