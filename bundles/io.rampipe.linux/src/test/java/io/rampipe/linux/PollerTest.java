package io.rampipe.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(value = 30, unit = TimeUnit.SECONDS)
class PollerTest {
    @Test
    void endsWhenTheTimeIsOver() throws Exception {
        try (Poller poller = new Poller()) {
            assertEquals(Poller.Outcome.TIME_OUT, poller.await(0));
            assertEquals(Poller.Outcome.TIME_OUT, poller.await(1));
        }
    }

    @Test
    void anotherThreadEndsTheWait() throws Exception {
        try (Poller poller = new Poller()) {
            Thread other = new Thread(poller::wake);
            other.start();
            assertEquals(Poller.Outcome.WOKEN, poller.await(-1));
            other.join();
            assertEquals(Poller.Outcome.TIME_OUT, poller.await(0));
        }
    }

    @Test
    void aWakeUpBeforeTheWaitIsKept() throws Exception {
        try (Poller poller = new Poller()) {
            poller.wake();
            poller.wake();
            assertEquals(Poller.Outcome.WOKEN, poller.awaitWake(-1));
            assertEquals(Poller.Outcome.TIME_OUT, poller.awaitWake(0));
        }
    }

    @Test
    void wakingAClosedOneDoesNothing() throws Exception {
        Poller poller = new Poller();
        poller.close();
        poller.close();
        poller.wake();
    }
}
