package io.rampipe.tck;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.SyncBack;
import io.rampipe.api.SyncBack.Allowance;
import io.rampipe.api.SyncBack.Dirty;
import io.rampipe.api.SyncBack.Result;
import io.rampipe.api.Target;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.NeedsMounts;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * What every syncback has to do with a real pin on a real disk. Extend it, and say how the syncback
 * is made, and a pin strategy whose pins it understands. What must hold at a power cut is not
 * tested here: that takes a disk that can be cut.
 */
@NeedsMounts
@Timeout(value = 120, unit = TimeUnit.SECONDS)
public abstract class SyncBackContract {
    private static final Duration LIMIT = Duration.ofSeconds(60);
    private static final Allowance ALLOWANCE = new Allowance(Duration.ofSeconds(1), 64 << 20);

    /** The disk, the target, the pool. */
    protected PinBench bench;

    private Pin pin;

    /** A fresh instance, which remembers nothing. */
    protected abstract SyncBack sync();

    /** A pin strategy whose pins it understands. */
    protected abstract PinStrategy strategy();

    /** The kind of target to try it with. */
    protected Target.Kind kind() {
        return Target.Kind.DIRECTORY;
    }

    @BeforeEach
    void open() throws IOException {
        bench = new PinBench(kind());
        pin = bench.pin(strategy());
    }

    @AfterEach
    void close() throws IOException {
        bench.close();
    }

    /** Until the target has rested long enough. */
    private Result checkpoint(SyncBack sync) throws Exception {
        Result[] result = new Result[1];
        Await.until(
                LIMIT,
                () -> {
                    result[0] = sync.checkpoint(pin, ALLOWANCE);
                    return result[0].consistent();
                },
                () -> "not consistent: " + result[0]);
        return result[0];
    }

    /** As the engine does at a pin's end. */
    private void unpin(SyncBack sync) throws Exception {
        try (SyncBack.Last last = sync.begin(pin)) {
            pin = pin.at(Pin.Step.UNMOUNTING);
            strategy().unmount(pin);
            assertTrue(last.finish().consistent());
        }
        strategy().discard(pin);
        sync.forget(pin);
        assertEquals(List.of(), bench.mounts());
        assertTrue(bench.empty(pin));
    }

    @Test
    void itUnderstandsItsPinsAndNotEveryFormat() {
        assertEquals(Optional.empty(), sync().unusable());
        assertTrue(sync().accepts(pin.format()));
        assertFalse(sync().accepts("no such format"));
    }

    @Test
    void aCheckpointBringsToDiskWhatIsInRam() throws Exception {
        SyncBack sync = sync();
        bench.write(1);
        assertTrue(bench.onDisk(0));
        Result result = checkpoint(sync);
        assertTrue(result.files() >= 1, result::toString);
        assertTrue(result.bytes() > 0 && result.bytes() <= 2 * PinBench.SIZE, result::toString);
        assertTrue(result.written() >= result.bytes(), result::toString);
        assertTrue(bench.onDisk(1));
        assertTrue(PinBench.has(bench.file(), 1));
        assertTrue(strategy().mounted(pin), "it stays pinned");
        unpin(sync);
        assertTrue(PinBench.has(bench.file(), 1));
    }

    @Test
    void nothingIsWrittenTwiceAndAnotherInstanceGoesOn() throws Exception {
        SyncBack sync = sync();
        bench.write(1);
        checkpoint(sync);
        assertEquals(0, checkpoint(sync).bytes());
        // It remembers nothing, so it may write more than it has to, but nothing else.
        checkpoint(sync());
        assertTrue(bench.onDisk(1));
        bench.write(2);
        assertTrue(checkpoint(sync()).bytes() > 0);
        assertTrue(bench.onDisk(2));
        unpin(sync());
        assertTrue(PinBench.has(bench.file(), 2));
    }

    @Test
    void whatIsDirtyIsKnown() throws Exception {
        SyncBack sync = sync();
        checkpoint(sync);
        assertEquals(0, sync.dirty(pin).bytes());
        long before = System.currentTimeMillis();
        bench.write(1);
        Dirty dirty = sync.dirty(pin);
        assertTrue(dirty.files() >= 1 && dirty.bytes() >= PinBench.SIZE - 1, dirty::toString);
        // The clock of file systems is a coarse one.
        assertTrue(dirty.oldest() <= before + 1000, dirty::toString);
        checkpoint(sync);
        assertEquals(new Dirty(0, 0, 0), sync.dirty(pin));
        unpin(sync);
    }

    @Test
    void theVersionChangesWithWhatIsInRamAndOnlyThen() throws Exception {
        SyncBack sync = sync();
        bench.write(1);
        checkpoint(sync);
        Optional<String> before = sync.version(pin);
        assertEquals(before, sync.version(pin));
        assertEquals(before, sync().version(pin), "another instance says the same");
        bench.write(2);
        if (before.isPresent()) {
            assertNotEquals(before, sync.version(pin));
        }
        unpin(sync);
        assertTrue(PinBench.has(bench.file(), 2));
    }

    @Test
    void aLastSyncbackThatWasOnlyBegunHarmsNothing() throws Exception {
        SyncBack sync = sync();
        bench.write(1);
        sync.begin(pin).close();
        // It may have begun to write, but never half of it.
        assertTrue(bench.onDisk(0) || bench.onDisk(1));
        assertTrue(PinBench.has(bench.file(), 1));
        bench.write(2);
        unpin(sync);
        assertTrue(PinBench.has(bench.file(), 2));
    }

    @Test
    void aPinGoesWithoutAnyCheckpoint() throws Exception {
        bench.write(1);
        unpin(sync());
        assertTrue(PinBench.has(bench.file(), 1));
        assertTrue(bench.onDisk(1));
    }

    @Test
    void ofAPinThatWasNotChangedAPageIsWrittenAtMost() throws Exception {
        SyncBack sync = sync();
        assertTrue(checkpoint(sync).bytes() <= 4096);
        unpin(sync);
        assertTrue(PinBench.has(bench.file(), 0));
    }

    @Test
    void whatAProgramHasOpenIsWrittenToDiskAllTheSame() throws Exception {
        SyncBack sync = sync();
        try (PinBench.User user = bench.user()) {
            bench.write(1);
            checkpoint(sync);
            assertTrue(bench.onDisk(1));
            assertTrue(user.alive(), "it noticed nothing");
        }
        unpin(sync);
    }

    @Test
    void onADiskWhereNothingWasLeftNothingIsRecovered() throws Exception {
        SyncBack sync = sync();
        bench.write(1);
        checkpoint(sync);
        assertEquals(List.of(), sync.recover(bench.watched(), List.of(pin)));
        assertEquals(List.of(), sync.conflicts(bench.watched(), List.of(pin)));
        assertEquals(pin, sync.replaced(pin));
        unpin(sync);
        assertEquals(List.of(), sync().recover(bench.watched(), List.of()));
        assertTrue(PinBench.has(bench.file(), 1));
    }
}
