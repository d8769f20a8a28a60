package io.rampipe.sync.journal.internal;

import java.io.IOException;
import java.util.concurrent.atomic.AtomicReference;

/** Threads that do the same work at the same time, the caller's among them. */
final class Crew {
    private Crew() {}

    /** What each of them does. */
    @FunctionalInterface
    interface Work {
        /**
         * @param member 0 is the caller's thread
         */
        void run(int member) throws IOException;
    }

    /**
     * Returns when all are done. They have the priority and the scheduling of the caller.
     *
     * @throws IOException the first that one of them has thrown, when all have ended
     */
    static void run(int size, Work work) throws IOException {
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Thread[] others = new Thread[size - 1];
        for (int i = 0; i < others.length; i++) {
            int member = i + 1;
            others[i] = new Thread(() -> member(work, member, failure), "rampipe-copy-" + member);
            others[i].setDaemon(true);
            others[i].start();
        }
        member(work, 0, failure);
        boolean interrupted = false;
        for (Thread other : others) {
            while (other.isAlive()) {
                try {
                    other.join();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        Throwable thrown = failure.get();
        if (thrown instanceof IOException e) {
            throw e;
        }
        if (thrown instanceof RuntimeException e) {
            throw e;
        }
        if (thrown instanceof Error e) {
            throw e;
        }
    }

    private static void member(Work work, int member, AtomicReference<Throwable> failure) {
        try {
            work.run(member);
        } catch (IOException | RuntimeException | Error e) {
            failure.compareAndSet(null, e);
        }
    }
}
