package io.rampipe.systemd.internal;

import io.rampipe.api.Printable;
import io.rampipe.api.RamPipe;
import io.rampipe.api.Units;

/**
 * The engine's state, as far as systemd is to know it.
 *
 * @param state as in {@link RamPipe.Status#state}
 * @param line for {@code systemctl status}
 * @param dirty bytes not on disk yet
 * @param progress differs from an earlier one's if a stop has come on since
 */
record Report(String state, String line, long dirty, long progress) {
    private static final long SLOWEST_BYTES_A_SECOND = 512 << 10;
    private static final long LEAST_STOP_SECONDS = 90;

    static Report of(RamPipe.Status s) {
        StringBuilder line = new StringBuilder(s.state());
        line.append("; ").append(s.pins() == 1 ? "1 pin" : s.pins() + " pins").append(", ");
        line.append(Units.bytes(s.dirtyBytes())).append(" not on disk; pool ");
        line.append(Units.bytes(s.poolUsed())).append(" of ").append(Units.bytes(s.poolSize()));
        if (!s.problems().isEmpty()) {
            line.append("; PROBLEM: ").append(s.problems().get(0));
        }
        long progress = (s.pins() * 31L + s.dirtyBytes()) * 31L + s.written();
        return new Report(s.state(), Printable.of(line), s.dirtyBytes(), progress);
    }

    /** Whether the daemon does what it is there for, or would if it were allowed. */
    boolean atWork() {
        return !state.equals("holding") && !state.equals("warming");
    }

    boolean stopping() {
        return state.equals("stopping");
    }

    /**
     * How long a stop may take from now on without any sign of progress, in microseconds: what a
     * very slow disk needs for all that is dirty, and room for what does not depend on it.
     */
    long stopMicros() {
        return (LEAST_STOP_SECONDS + dirty / SLOWEST_BYTES_A_SECOND) * 1_000_000;
    }
}
