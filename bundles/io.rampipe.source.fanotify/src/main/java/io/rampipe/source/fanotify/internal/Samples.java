package io.rampipe.source.fanotify.internal;

/** Whether something that is sampled is still active: a short memory over its windows. */
final class Samples {
    private static final double NEWEST = 0.25;
    private static final double QUIET = 0.15;

    private double score = 1;
    private int count;

    /** An event in the window. */
    void seen() {
        count++;
    }

    /**
     * Ends a window.
     *
     * @param enough events that make it an active one
     * @return whether it has gone quiet: about seven windows in a row after a busy time
     */
    boolean quietAfter(int enough) {
        score += NEWEST * ((count >= enough ? 1 : 0) - score);
        count = 0;
        return score < QUIET;
    }
}
