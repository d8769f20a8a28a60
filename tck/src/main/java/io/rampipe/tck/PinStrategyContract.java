package io.rampipe.tck;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.BusyException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.PinStrategy.Estimate;
import io.rampipe.api.PinStrategy.PinRequest;
import io.rampipe.api.PinStrategy.Stray;
import io.rampipe.api.Refusal;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
import io.rampipe.testkit.NeedsMounts;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * What every pin strategy has to do with a target on a real disk. Extend it, and say how the
 * strategy is made, and which kind of target it takes. Each call goes to a fresh instance: what a
 * pin needs to live on is in its record.
 */
@NeedsMounts
@Timeout(value = 120, unit = TimeUnit.SECONDS)
public abstract class PinStrategyContract {
    /** The disk, the target, the pool. */
    protected PinBench bench;

    /** A fresh instance. */
    protected abstract PinStrategy strategy();

    /** The kind of target to try it with. */
    protected Target.Kind kind() {
        return Target.Kind.DIRECTORY;
    }

    @BeforeEach
    void open() throws IOException {
        bench = new PinBench(kind());
    }

    @AfterEach
    void close() throws IOException {
        bench.close();
    }

    private void assertUntouched() throws IOException {
        assertTrue(PinBench.has(bench.file(), 0), "the file is as before");
        assertTrue(bench.onDisk(0), "the file on disk is as before");
        assertEquals(List.of(), bench.mounts());
    }

    private void discard(Pin pin) throws IOException {
        strategy().unmount(pin);
        strategy().discard(pin);
        assertTrue(bench.empty(pin), "nothing is left in the pool");
        assertEquals(List.of(), bench.mounts());
    }

    @Test
    void itWorksHere() {
        assertEquals(Optional.empty(), strategy().unusable());
    }

    @Test
    void examiningChangesNothing() throws Exception {
        Estimate estimate = strategy().examine(bench.target(), List.of());
        assertTrue(estimate.bytes() >= 0, estimate::toString);
        assertTrue(estimate.most() >= estimate.bytes(), estimate::toString);
        assertTrue(estimate.most() >= PinBench.SIZE, estimate::toString);
        assertTrue(estimate.files() >= 1, estimate::toString);
        assertTrue(estimate.reserved() >= 0, estimate::toString);
        assertUntouched();
    }

    @Test
    void whatIsNotThereIsRefused() {
        FilePath nothing = bench.target().path().parent().resolve(FilePath.of("nothing"));
        Target target = new Target(nothing, kind());
        RefusedException e =
                assertThrows(RefusedException.class, () -> strategy().examine(target, List.of()));
        assertTrue(e.getMessage().contains(nothing.toString()), e.getMessage());
    }

    @Test
    void eachStepIsJournalledBeforeItIsTaken() throws Exception {
        Pin pin =
                bench.pin(
                        strategy(),
                        record -> {
                            if (bench.journal().isEmpty()) {
                                assertTrue(bench.empty(record), "nothing is there yet");
                            }
                            bench.journal().add(record);
                        });
        assertEquals(
                List.of(Pin.Step.PREPARING, Pin.Step.MOUNTING, Pin.Step.PINNED),
                bench.journal().stream().map(Pin::step).distinct().toList());
        assertEquals(pin, bench.journal().get(bench.journal().size() - 1));
        for (Pin record : bench.journal()) {
            assertEquals(pin.id(), record.id());
            assertEquals(bench.target(), record.target());
        }
        discard(pin);
        assertUntouched();
    }

    @Test
    void programsFindEverythingAndWriteToRam() throws Exception {
        Pin pin = bench.pin(strategy());
        assertTrue(strategy().mounted(pin));
        assertTrue(PinBench.has(bench.file(), 0));
        bench.write(1);
        assertTrue(PinBench.has(bench.file(), 1));
        assertTrue(bench.onDisk(0), "nothing of it is on disk");
        assertFalse(bench.mounts().isEmpty(), "it is covered by a mount");
        discard(pin);
        assertUntouched();
    }

    @Test
    void unmountedItLeadsToTheDiskAndMountedAgainToRam() throws Exception {
        Pin pin = bench.pin(strategy());
        bench.write(1);
        strategy().unmount(pin);
        assertFalse(strategy().mounted(pin));
        assertFalse(strategy().lingers(pin));
        assertTrue(PinBench.has(bench.file(), 0));
        Pin again = strategy().remount(pin);
        assertEquals(pin.id(), again.id());
        assertEquals(pin.target(), again.target());
        assertTrue(strategy().mounted(again));
        assertTrue(PinBench.has(bench.file(), 1));
        strategy().unmount(again);
        strategy().unmount(again);
        strategy().discard(again);
        strategy().discard(again);
        assertTrue(bench.empty(again));
        assertUntouched();
    }

    @Test
    void whatAProgramHasOpenIsNotPinned() throws Exception {
        try (PinBench.User user = bench.user()) {
            PinRequest request = bench.request();
            RefusedException e =
                    assertThrows(
                            RefusedException.class,
                            () -> strategy().pin(request, bench.journal()::add));
            assertTrue(
                    Set.of(Refusal.Cause.IN_USE, Refusal.Cause.OCCUPIED)
                            .contains(e.refusal().cause()),
                    e.refusal()::toString);
            assertTrue(user.alive());
        }
        assertUntouched();
        discard(bench.pin(strategy()));
    }

    @Test
    void whatAProgramHasOpenIsNotUnmounted() throws Exception {
        Pin pin = bench.pin(strategy());
        try (PinBench.User user = bench.user()) {
            assertThrows(BusyException.class, () -> strategy().unmount(pin));
            assertTrue(strategy().mounted(pin));
            bench.write(1);
            assertTrue(PinBench.has(bench.file(), 1));
            assertTrue(user.alive());
        }
        discard(pin);
        assertUntouched();
    }

    @Test
    void aJournalThatFailsMakesNoPin() throws Exception {
        for (Pin.Step step : List.of(Pin.Step.PREPARING, Pin.Step.MOUNTING, Pin.Step.PINNED)) {
            PinRequest request = bench.request();
            IOException full = new IOException("the journal is full");
            assertThrows(
                    IOException.class,
                    () ->
                            strategy()
                                    .pin(
                                            request,
                                            record -> {
                                                if (record.step() == step) {
                                                    throw full;
                                                }
                                            }));
            assertUntouched();
            assertEquals(
                    0, new File(request.pool().toString()).list().length, "left after " + step);
        }
    }

    @Test
    void aPinWithARecordIsNoStray() throws Exception {
        Pin pin = bench.pin(strategy());
        assertEquals(List.of(), strategy().strays(bench.pool(), Set.of(pin.id())));
        for (Stray stray : strategy().strays(bench.pool(), new HashSet<>())) {
            assertEquals(pin.id(), stray.id());
            stray.pin().ifPresent(p -> assertEquals(pin.target(), p.target()));
            assertFalse(stray.what().isBlank());
        }
        assertTrue(strategy().mounted(pin), "looking changes nothing");
        discard(pin);
    }

    @Test
    void noDescriptorIsLeftOpen() throws Exception {
        discard(bench.pin(strategy()));
        int before = new File("/proc/self/fd").list().length;
        for (int i = 0; i < 5; i++) {
            discard(bench.pin(strategy()));
        }
        int after = new File("/proc/self/fd").list().length;
        assertTrue(after <= before + 2, before + " descriptors, then " + after);
        assertTrue(Files.exists(bench.file()));
    }
}
