package io.rampipe.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.util.Optional;
import org.junit.jupiter.api.Test;

class InFlightTest {
    private static final long LONG_NANOS = 30_000_000_000L;

    /** It never sleeps, so only the time that it has had shows that it has left the kernel. */
    @Test
    void aBusyProgramIsThroughWhenItHasRun() throws Exception {
        Process shell =
                new ProcessBuilder("sh", "-c", "sh -c 'while :; do :; done' >/dev/null & echo $!")
                        .start();
        String pid = shell.inputReader().readLine();
        try {
            shell.waitFor();
            InFlight calls = InFlight.now();
            long start = System.nanoTime();
            Optional<String> one = calls.remaining();
            while (one.isPresent()) {
                assertFalse(System.nanoTime() - start > LONG_NANOS, one.get());
                Thread.sleep(1);
                one = calls.remaining();
            }
        } finally {
            new ProcessBuilder("kill", "-KILL", pid).start().waitFor();
        }
    }

    @Test
    void thisProcessDoesNotCount() throws Exception {
        Thread busy = new Thread(InFlightTest::spin);
        busy.setDaemon(true);
        busy.start();
        String own = "process " + ProcessHandle.current().pid() + " ";
        Optional<String> one = InFlight.now().remaining();
        assertEquals(Optional.empty(), one.filter(o -> o.startsWith(own)));
        busy.interrupt();
        busy.join();
    }

    private static void spin() {
        while (!Thread.currentThread().isInterrupted()) {
            Thread.onSpinWait();
        }
    }
}
