package io.rampipe.systemd.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.RamPipe;
import io.rampipe.systemd.internal.Supervision.Phase;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class SupervisionTest {
    private static final long MIB = 1 << 20;
    private static final long WATCHDOG_NANOS = 200_000_000L;

    private final BlockingQueue<String> systemd = new LinkedBlockingQueue<>();
    private final BlockingQueue<String> log = new LinkedBlockingQueue<>();
    private final AtomicReference<RamPipe> engine = new AtomicReference<>();
    private volatile Phase phase = Phase.STARTING;
    private volatile RamPipe.Status status = status("watching", 0, 0);
    private volatile Optional<String> broken = Optional.empty();
    private volatile CountDownLatch held = new CountDownLatch(0);
    private Supervision supervision;

    private final RamPipe fake =
            (RamPipe)
                    Proxy.newProxyInstance(
                            RamPipe.class.getClassLoader(),
                            new Class<?>[] {RamPipe.class},
                            (proxy, method, arguments) -> {
                                switch (method.getName()) {
                                    case "status":
                                        held.await();
                                        return status;
                                    case "broken":
                                        return broken;
                                    default:
                                        throw new AssertionError(method);
                                }
                            });

    private static RamPipe.Status status(String state, int pins, long dirty) {
        return new RamPipe.Status(
                state,
                List.of(),
                List.of(),
                0,
                0,
                0,
                0,
                0,
                1024 * MIB,
                3 * MIB,
                0,
                0,
                0,
                0,
                0,
                pins,
                dirty,
                0,
                "1");
    }

    private void start(long watchdogNanos) {
        supervision =
                new Supervision(engine::get, () -> phase, systemd::add, log::add, watchdogNanos);
        supervision.start();
    }

    @AfterEach
    void close() throws InterruptedException {
        held.countDown();
        supervision.end();
    }

    /** The first message that has the text; those before it. */
    private List<String> until(String text) throws InterruptedException {
        List<String> before = new ArrayList<>();
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
        while (true) {
            String message = systemd.poll(end - System.nanoTime(), TimeUnit.NANOSECONDS);
            assertNotNull(message, () -> "no " + text + " after " + before);
            before.add(message);
            if (message.contains(text)) {
                return before;
            }
        }
    }

    @Test
    void isReadyOnlyWhenTheEngineWatches() throws Exception {
        start(0);
        assertEquals(
                List.of("STATUS=starting\nEXTEND_TIMEOUT_USEC=60000000"), until("STATUS=starting"));
        phase = Phase.STARTED;
        until("STATUS=the engine does not run");
        status = status("watching", 2, 5 * MIB);
        engine.set(fake);
        supervision.wake();
        List<String> messages = until("READY=1");
        assertEquals(
                "READY=1\nSTATUS=watching; 2 pins, 5.0 MiB not on disk; pool 3.0 MiB of 1.0 GiB",
                messages.get(messages.size() - 1));
    }

    @Test
    void feedsTheWatchdogOnlyWhileTheThreadsAreThere() throws Exception {
        phase = Phase.STARTED;
        engine.set(fake);
        start(WATCHDOG_NANOS);
        until("WATCHDOG=1");
        broken = Optional.of("rampipe-sync");
        String said = log.poll(30, TimeUnit.SECONDS);
        assertNotNull(said);
        assertTrue(said.startsWith("rampipe-sync has ended"), said);
        systemd.clear();
        // Longer than it waits between two of them.
        assertEquals(null, log.poll(2 * WATCHDOG_NANOS, TimeUnit.NANOSECONDS));
        assertFalse(systemd.contains("WATCHDOG=1"));
        broken = Optional.empty();
        until("WATCHDOG=1");
    }

    @Test
    void feedsTheWatchdogWhileADiskKeepsTheEngineWaiting() throws Exception {
        phase = Phase.STARTED;
        engine.set(fake);
        start(WATCHDOG_NANOS);
        until("READY=1");
        held = new CountDownLatch(1);
        for (int i = 0; i < 8; i++) {
            until("WATCHDOG=1");
        }
    }

    @Test
    void aStopMayTakeAsLongAsItsDirtyDataNeeds() throws Exception {
        phase = Phase.STARTED;
        engine.set(fake);
        start(0);
        until("READY=1");
        status = status("stopping", 3, 512 * MIB);
        phase = Phase.STOPPING;
        // As unregistering a service does; what it has found out before is old.
        supervision.wake();
        until("STOPPING=1");
        until("EXTEND_TIMEOUT_USEC=" + (90 + 1024) * 1_000_000L);
        status = status("stopping", 1, MIB);
        until("EXTEND_TIMEOUT_USEC=" + (90 + 2) * 1_000_000L);
    }
}
