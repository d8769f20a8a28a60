package io.rampipe.sync.journal.internal;

import io.rampipe.linux.MountInfo;
import io.rampipe.linux.MountNamespace;
import io.rampipe.linux.Processes;
import io.rampipe.linux.Processes.Birth;
import io.rampipe.linux.Processes.Holder;
import java.io.IOException;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * The processes that write to a pin: that have files of it open for writing, or mapped, or stand in
 * it. Who has been seen is kept in mind for as long as it lives, because programs that open, write
 * and close are caught in the act only now and then. Who starts such programs one after the other
 * belongs to them. One thread.
 */
final class Writers {
    private static final int MOST = 4096;

    /** Younger ones (in clock ticks, a hundredth of a second) bring their parents with them. */
    private static final long SHORT_LIVED = 200;

    private static final int GENERATIONS = 3;

    private final Map<Integer, Long> seen = new HashMap<>();

    /** Looks once, at all mount namespaces. */
    void look(String pin, Set<Integer> mapping) throws IOException {
        Set<Long> mounts = new HashSet<>();
        for (MountNamespace space : MountNamespace.all()) {
            for (MountInfo m : space.mounts()) {
                if (m.source().raw().equals("rampipe:" + pin)) {
                    mounts.add((long) m.id());
                }
            }
        }
        for (Integer process : Set.copyOf(seen.keySet())) {
            Birth b = Processes.birth(process);
            if (b == null || b.start() != seen.get(process)) {
                seen.remove(process);
            }
        }
        for (Holder h : Processes.writing(mounts, MOST)) {
            add(h.pid());
        }
        for (int process : mapping) {
            add(process);
        }
    }

    /** Who has been seen. */
    Set<Integer> processes() {
        return Set.copyOf(seen.keySet());
    }

    private void add(int pid) throws IOException {
        long now = Processes.ticks();
        int process = pid;
        for (int i = 0; i <= GENERATIONS && process > 1; i++) {
            Birth b = Processes.birth(process);
            if (b == null) {
                return;
            }
            seen.put(process, b.start());
            if (now - b.start() > SHORT_LIVED) {
                return;
            }
            process = b.parent();
        }
    }
}
