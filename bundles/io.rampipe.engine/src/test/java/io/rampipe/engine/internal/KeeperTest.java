package io.rampipe.engine.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.BusyException;
import io.rampipe.api.DiskFullException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Names;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.Refusal;
import io.rampipe.api.RefusedException;
import io.rampipe.api.SyncBack;
import io.rampipe.api.Target;
import io.rampipe.api.UnfinishedException;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.osgi.framework.ServiceReference;
import org.osgi.service.log.FormatterLogger;

/**
 * The order of steps, and what is left when one fails; strategy and syncback are scripted to fail
 * where no kernel would.
 */
@NeedsMounts
class KeeperTest {
    private static final Target TARGET = Target.directory(FilePath.of("/some/where"));

    @TempDir Path runtime;

    private final List<String> calls = new ArrayList<>();
    private final List<String> lines = new ArrayList<>();
    private final Strategies<PinStrategy> strategies = new Strategies<>("pin");
    private final Strategies<SyncBack> syncs = new Strategies<>("sync");
    private final ServiceReference<PinStrategy> overlayfs = named("overlayfs");
    private final ServiceReference<SyncBack> journalling = named("journal");
    private ThinPool pool;
    private PinFiles journal;
    private Sense sense;
    private Keeper keeper;
    private volatile Settings settings;
    private Other other;
    private boolean mounted;
    private IOException pinFails;
    private IOException checkpointFails;
    private IOException unmountFails;
    private IOException finishFails;
    private int restless;
    private Runnable atBegin = () -> {};
    private Runnable atUnmount = () -> {};
    private Runnable atFinish = () -> {};
    private Optional<Pin> stray = Optional.empty();
    private Optional<String> version = Optional.of("1");

    @BeforeEach
    void setUp() {
        settings = TestSettings.of("/some");
        pool = new ThinPool(runtime.resolve("pool"), 16 << 20);
        journal = new PinFiles(runtime.resolve("pins"));
        strategies.add(new Scripted(), overlayfs);
        syncs.add(new ScriptedSync(), journalling);
        FormatterLogger log = log();
        keeper = new Keeper(() -> settings, strategies, syncs, pool, journal, log);
        sense =
                new Sense(
                        () -> settings,
                        () -> null,
                        () -> null,
                        keeper::pins,
                        hot -> {},
                        SenseTest.IGNORE);
        keeper.connect(sense, () -> {});
        sense.start();
    }

    @AfterEach
    void tearDown() throws Exception {
        sense.stop();
        if (Files.exists(runtime.resolve("pool"))) {
            Command.shell("umount " + runtime.resolve("pool") + " 2>&1 || true");
        }
    }

    @Test
    void anUnpinSyncsBeforeAndAfterTheUnmountAndOnlyThenDiscards() throws Exception {
        LivePin pin = pin();
        assertEquals(Pin.Step.PINNED, recorded());
        keeper.unpin(pin, "test");
        assertEquals(
                List.of(
                        "pin",
                        "checkpoint PINNED",
                        "begin",
                        "unmount UNMOUNTING",
                        "finish",
                        "close",
                        "discard DISCARDING"),
                calls);
        assertTrue(keeper.pins().isEmpty());
        assertTrue(records().isEmpty());
        assertEquals(0, inPool());
    }

    /** What it does in between would meet a disk that has not got yet what it did before. */
    @Test
    void whoChangedSomethingOfLateIsHeldFromTheLastLookUntilAllIsOnDisk() throws Exception {
        // No child of this process: those are never held.
        Process shell =
                new ProcessBuilder("sh", "-c", "setsid sh -c 'echo $$; exec sleep 600' & wait")
                        .start();
        int program = Integer.parseInt(shell.inputReader().readLine());
        List<String> states = new ArrayList<>();
        atUnmount = () -> states.add(status(program));
        atFinish = () -> states.add(status(program));
        try {
            LivePin pin = pin();
            pin.writers().add(program);
            keeper.unpin(pin, "test");
            assertEquals(List.of("t", "t"), states);
            assertNotEquals("t", status(program));
        } finally {
            Command.run("kill", "-KILL", Integer.toString(program));
            shell.waitFor();
        }
    }

    /** As {@code /proc/PID/stat} has it. */
    private static String status(int process) {
        try {
            String stat = Files.readString(Path.of("/proc/" + process + "/stat"));
            return stat.substring(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void aRefusedPinLeavesNothing() throws Exception {
        pinFails = new RefusedException(Refusal.Cause.IN_USE, "open");
        assertEquals(
                Refusal.Cause.IN_USE,
                assertThrows(RefusedException.class, this::pin).refusal().cause());
        assertTrue(keeper.pins().isEmpty());
        assertTrue(records().isEmpty());
        assertEquals(0, inPool());
    }

    @Test
    void whatChangesAllTheTimeStaysPinnedUntilItRests() throws Exception {
        LivePin pin = pin();
        restless = 1000;
        assertThrows(BusyException.class, () -> keeper.unpinAtRest(pin, "cold"));
        assertTrue(mounted);
        assertEquals(Pin.Step.PINNED, recorded());
        restless = 0;
        keeper.unpinAtRest(pin, "cold");
        assertTrue(records().isEmpty());
        LivePin hurried = pin();
        restless = 1000;
        keeper.unpin(hurried, "stopping");
        assertTrue(records().isEmpty());
    }

    @Test
    void aBusyTargetIsCheckpointedAndStaysPinned() throws Exception {
        LivePin pin = pin();
        unmountFails = new BusyException("in use by 42 (sh)");
        assertThrows(BusyException.class, () -> keeper.unpin(pin, "test"));
        assertEquals(LivePin.State.BUSY, pin.state());
        assertTrue(calls.contains("checkpoint PINNED"));
        assertTrue(mounted);
        assertEquals(Pin.Step.PINNED, recorded());
        unmountFails = null;
        keeper.unpin(pin, "test");
        assertTrue(records().isEmpty());
    }

    @Test
    void aFullDiskKeepsThePinAndItsRam() throws Exception {
        LivePin pin = pin();
        checkpointFails = new DiskFullException("no space on /some", null);
        assertThrows(DiskFullException.class, () -> keeper.unpin(pin, "test"));
        assertTrue(mounted);
        assertEquals(LivePin.State.FAILING, pin.state());
        assertTrue(pin.problem().contains("no space on /some"), pin.problem());
        assertTrue(pin.problem().contains(TARGET.toString()), pin.problem());
        assertTrue(!calls.contains("unmount UNMOUNTING") && !calls.contains("discard DISCARDING"));
    }

    @Test
    void whenTheLastSyncbackFailsTheMountIsPutBack() throws Exception {
        LivePin pin = pin();
        finishFails = new DiskFullException("no space on /some", null);
        assertThrows(DiskFullException.class, () -> keeper.unpin(pin, "test"));
        assertTrue(mounted);
        assertEquals(Pin.Step.PINNED, recorded());
        assertTrue(!calls.contains("discard DISCARDING"));
        // Somebody may have opened what is on disk meanwhile.
        assertTrue(records().get(0).attributes().containsKey(Pin.BYPASSED));
        assertEquals(1, calls.stream().filter("finish"::equals).count());
        finishFails = null;
        keeper.unpin(pin, "test");
        assertTrue(records().isEmpty());
    }

    @Test
    void whatIsHalfDoneOnDiskIsNeverMountedOverAndFinishedLater() throws Exception {
        LivePin pin = pin();
        finishFails = new UnfinishedException("input/output error", null);
        assertThrows(UnfinishedException.class, () -> keeper.unpin(pin, "test"));
        assertEquals(2, calls.stream().filter("finish"::equals).count(), "once more at once");
        finishFails = new DiskFullException("no space on /some", null);
        assertThrows(DiskFullException.class, () -> keeper.unpin(pin, "test"));
        assertThrows(DiskFullException.class, () -> keeper.checkpoint(pin));
        assertTrue(!mounted && !calls.contains("remount"), calls.toString());
        assertEquals(LivePin.State.FAILING, pin.state());
        assertEquals(Pin.Step.UNMOUNTING, recorded());
        finishFails = null;
        assertTrue(keeper.checkpoint(pin).consistent());
        assertTrue(records().isEmpty() && keeper.pins().isEmpty());
        assertEquals(0, inPool());
    }

    @Test
    void failuresAreToldOncePerCauseAndPausesGrow() throws Exception {
        LivePin pin = pin();
        long longest = 0;
        for (int i = 0; i < 10; i++) {
            // Figures change from one time to the next.
            checkpointFails =
                    new DiskFullException("no space on /some: " + i + " B are free", null);
            assertThrows(DiskFullException.class, () -> keeper.checkpoint(pin));
            long pause = pin.nextCheckpoint - System.nanoTime();
            assertTrue(pause > longest / 2, i + ": " + pause);
            longest = Math.max(longest, pause);
            assertTrue(pin.problem().contains(": " + i + " B"), pin.problem());
        }
        assertTrue(longest > 50e9 && longest <= 60e9, "pause " + longest);
        assertEquals(1, logged("error"));
        checkpointFails = new IOException("read-only");
        assertThrows(IOException.class, () -> keeper.checkpoint(pin));
        assertEquals(2, logged("error"));
        checkpointFails = null;
        keeper.checkpoint(pin);
        assertEquals(LivePin.State.PINNED, pin.state());
        assertEquals("", pin.problem());
        assertTrue(lines.toString().contains("can be written to disk again"), lines.toString());
    }

    private long logged(String level) {
        return lines.stream().filter(l -> l.startsWith(level + " ")).count();
    }

    @Test
    void muchChangedSinceTheCheckpointIsCheckpointedAgainBeforeTheUnmount() throws Exception {
        LivePin pin = pin();
        restless = 2;
        keeper.unpin(pin, "test");
        assertEquals(2, calls.stream().filter("checkpoint PINNED"::equals).count());
        assertEquals(1, calls.stream().filter("finish"::equals).count());
        assertTrue(records().isEmpty());
    }

    @Test
    void aLivePinOfADeadDaemonIsTakenOver() throws Exception {
        pin();
        Keeper next =
                new Keeper(
                        () -> TestSettings.of("/some"),
                        strategies,
                        syncs,
                        pool,
                        journal,
                        stub(FormatterLogger.class));
        next.connect(sense, () -> {});
        next.load();
        assertEquals(LivePin.State.ORPHANED, next.pins().get(0).state());
        next.adopt();
        assertEquals(LivePin.State.PINNED, next.pins().get(0).state());
        next.unpin(next.pins().get(0), "test");
        assertTrue(records().isEmpty());
    }

    @Test
    void aDeadDaemonsUnmountIsFinishedByWritingWhatIsInRam() throws Exception {
        pin();
        mounted = false;
        journal.write(journal.load((f, p) -> {}).get(0).at(Pin.Step.UNMOUNTING));
        takeOver();
        assertEquals(List.of("begin", "finish", "close", "discard DISCARDING"), calls);
        assertTrue(records().isEmpty());
    }

    @Test
    void whatChangesRightBeforeTheUnmountIsCheckpointedBefore() throws Exception {
        LivePin pin = pin();
        atBegin =
                () -> {
                    version = Optional.of("2");
                    atBegin = () -> {};
                };
        SyncBack.Result result = keeper.unpin(pin, "test");
        assertEquals(
                List.of(
                        "pin",
                        "checkpoint PINNED",
                        "begin",
                        "close",
                        "checkpoint PINNED",
                        "begin",
                        "unmount UNMOUNTING",
                        "finish",
                        "close",
                        "discard DISCARDING"),
                calls);
        assertEquals(20, result.bytes(), "of both checkpoints");
    }

    @Test
    void whatWasOnDiskWhenADaemonDiedUnmountingIsNotWrittenOverWhatCameAfter() throws Exception {
        pin();
        mounted = false;
        Pin record = journal.load((f, p) -> {}).get(0).at(Pin.Step.UNMOUNTING);
        journal.write(record.with(Pin.SETTLED, "1"));
        takeOver();
        assertEquals(List.of("discard DISCARDING"), calls);
        assertTrue(records().isEmpty());
    }

    @Test
    void whatChangedAfterTheLastCheckpointIsWrittenAllTheSame() throws Exception {
        pin();
        mounted = false;
        Pin record = journal.load((f, p) -> {}).get(0).at(Pin.Step.UNMOUNTING);
        journal.write(record.with(Pin.SETTLED, "an earlier version"));
        takeOver();
        assertEquals(List.of("begin", "finish", "close", "discard DISCARDING"), calls);
    }

    @Test
    void aPinThatWasNotLookedAtAgainIsNotTrusted() throws Exception {
        pin();
        journal.write(journal.load((f, p) -> {}).get(0).at(Pin.Step.MOUNTING));
        takeOver();
        LivePin pin = keeper.pins().get(0);
        assertEquals(LivePin.State.PINNED, pin.state());
        assertTrue(pin.record().attributes().containsKey(Pin.BYPASSED));
    }

    @Test
    void theNextDaemonKnowsWhatAUserHasPinned() throws Exception {
        keeper.pin(TARGET, List.of(), 7, 3, true);
        takeOver();
        assertTrue(keeper.pins().get(0).manual());
        keeper.unpin(keeper.pins().get(0), "test");
        pin();
        takeOver();
        assertFalse(keeper.pins().get(0).manual());
    }

    @Test
    void aRecordWhoseRamIsGoneIsForgotten() throws Exception {
        LivePin pin = pin();
        pool.release(pin.record().id());
        mounted = false;
        takeOver();
        assertTrue(keeper.pins().isEmpty());
        assertTrue(records().isEmpty());
        assertEquals(List.of(), calls);
    }

    @Test
    void ramWithoutARecordIsRemovedIfEmptyAndElseKeptAndTold() throws Exception {
        String empty = pin().record().id();
        journal.remove(empty);
        Path full = Files.createDirectories(runtime.resolve("pool/full/upper"));
        Files.createDirectories(runtime.resolve("pool/Not-ours"));
        takeOver();
        assertEquals(2, inPool());
        assertEquals(1, keeper.leftovers().size());
        assertTrue(keeper.leftovers().get(0).contains(full.getParent().toString()));
        assertThrows(IOException.class, pool::unmount);
        Files.delete(full);
        Files.delete(runtime.resolve("pool/Not-ours"));
    }

    @Test
    void aDamagedRecordAndItsRamAreKeptAndTold() throws Exception {
        String id = pin().record().id();
        Path file = runtime.resolve("pins/" + id + ".pin");
        Files.writeString(file, "version=1\n");
        Files.writeString(runtime.resolve("pins/abc.new"), "");
        mounted = false;
        takeOver();
        assertTrue(keeper.pins().isEmpty());
        assertEquals(1, inPool());
        try (var files = Files.list(runtime.resolve("pins"))) {
            assertEquals(List.of(file), files.toList());
        }
        assertTrue(keeper.leftovers().get(0).contains(file.toString()));
        assertEquals(Pin.Step.PINNED, pin().record().step());
    }

    @Test
    void aStrayIsTakenOverWithARecordMadeAnew() throws Exception {
        Pin record = pin().record();
        journal.write(record);
        Files.writeString(runtime.resolve("pins/" + record.id() + ".pin"), "damaged");
        stray = Optional.of(record);
        takeOver();
        assertEquals(LivePin.State.PINNED, keeper.pins().get(0).state());
        assertEquals(Pin.Step.PINNED, recorded());
        assertTrue(keeper.leftovers().isEmpty());
        assertTrue(Files.exists(runtime.resolve("pins/" + record.id() + ".pin.damaged-1")));
    }

    /** As a daemon that starts. */
    private void takeOver() throws IOException {
        calls.clear();
        keeper.pins().clear();
        keeper.load();
        keeper.adoptStrays(strategies.all().get(0), "overlayfs");
        keeper.adopt();
    }

    @Test
    void withoutItsStrategyAPinIsKeptAsAnOrphan() throws Exception {
        LivePin pin = pin();
        PinStrategy gone = strategies.all().get(0);
        strategies.remove(overlayfs);
        keeper.adopt();
        assertEquals(LivePin.State.ORPHANED, pin.state());
        assertThrows(IOException.class, () -> keeper.unpin(pin, "test"));
        assertEquals(1, keeper.pins().size());
        strategies.add(gone, overlayfs);
        keeper.adopt();
        assertEquals(LivePin.State.PINNED, pin.state());
    }

    @Test
    void eachTargetGoesToTheFirstStrategyOfTheOrderThatTakesIt() throws Exception {
        other = new Other();
        strategies.add(other, named("other"));
        order("other", "missing", "overlayfs");
        other.refuses = new Refusal(Refusal.Cause.UNSUPPORTED, "not for directories");
        assertEquals("overlayfs", pin().record().strategy());
        other.refuses = null;
        LivePin taken = keeper.pin(Target.file(FilePath.of("/some/f")), List.of(), 8, 3, false);
        assertEquals("other", taken.record().strategy());
        assertEquals(2, records().size());
        other.unusable = Optional.of("no device-mapper");
        Target third = Target.file(FilePath.of("/some/g"));
        assertEquals("overlayfs", keeper.pin(third, List.of(), 9, 3, false).record().strategy());
    }

    @Test
    void whatIsSetAsideForAPinIsNotGivenToAnother() throws Exception {
        other = new Other();
        strategies.add(other, named("other"));
        order("other");
        long budget = settings.budget();
        other.reserved = budget - 1000;
        keeper.pin(TARGET, List.of(), 7, 3, true);
        RefusedException e =
                assertThrows(
                        RefusedException.class,
                        () ->
                                keeper.pin(
                                        Target.file(FilePath.of("/some/f")),
                                        List.of(),
                                        8,
                                        3,
                                        true));
        assertEquals(Refusal.Cause.NO_ROOM, e.refusal().cause());
        assertTrue(other.room <= budget, "room " + other.room);
    }

    /** It was open for a moment: soon the one that it is for can have it. */
    @Test
    void whatIsInUseForAMomentIsNotLeftToTheNextStrategy() throws Exception {
        other = new Other();
        strategies.add(other, named("other"));
        order("overlayfs", "other");
        pinFails = new RefusedException(Refusal.Cause.IN_USE, "open");
        assertEquals("open", assertThrows(RefusedException.class, this::pin).refusal().message());
        assertEquals(List.of(), other.calls);
        pinFails = new RefusedException(Refusal.Cause.NO_ROOM, "full");
        assertEquals("other", pin().record().strategy());
    }

    @Test
    void theReasonToldIsTheOneThatMayPass() throws Exception {
        other = new Other();
        strategies.add(other, named("other"));
        order("overlayfs", "other");
        pinFails = new RefusedException(Refusal.Cause.IN_USE, "open");
        for (Refusal.Cause cause :
                List.of(
                        Refusal.Cause.UNSUPPORTED,
                        Refusal.Cause.FILE_SYSTEM,
                        Refusal.Cause.TOO_LARGE)) {
            other.refuses = new Refusal(cause, "other");
            assertEquals(
                    "open", assertThrows(RefusedException.class, this::pin).refusal().message());
        }
    }

    @Test
    void aPinStaysWithTheStrategyThatMadeIt() throws Exception {
        other = new Other();
        strategies.add(other, named("other"));
        order("overlayfs", "other");
        LivePin pin = pin();
        order("other");
        calls.clear();
        keeper.unpin(pin, "test");
        assertTrue(calls.contains("unmount UNMOUNTING"), calls.toString());
        assertEquals(List.of(), other.calls);
    }

    @Test
    void aPinGetsTheSyncbackThatUnderstandsIt() throws Exception {
        SyncBack first = new ScriptedSync("merge", "overlay");
        SyncBack second = new ScriptedSync("blocks");
        ServiceReference<SyncBack> withFirst = named("first");
        syncs.add(first, withFirst);
        syncs.add(second, named("second"));
        settings = TestSettings.of(Map.of("sync_order", new String[] {"second", "first"}));
        assertEquals("first", pin().record().sync());
        assertEquals("first", records().get(0).sync());
        syncs.remove(journalling);
        syncs.remove(withFirst);
        syncs.add(second, named("second"));
        RefusedException e =
                assertThrows(
                        RefusedException.class,
                        () -> keeper.pin(target("/some/f"), List.of(), 8, 3, false));
        assertTrue(e.getMessage().contains("format overlay"), e.getMessage());
        assertEquals(1, records().size());
        assertEquals(1, inPool());
    }

    private static Target target(String path) {
        return Target.directory(FilePath.of(path));
    }

    @Test
    void aMovedPinIsOnDiskBeforeTheOtherStrategyGetsIt() throws Exception {
        other = new Other();
        strategies.add(other, named("other"));
        LivePin pin = pin();
        calls.clear();
        other.atPin = () -> assertTrue(!mounted && calls.contains("discard DISCARDING"));
        LivePin moved = keeper.migrate(pin, "other", List.of());
        assertEquals("other", moved.record().strategy());
        assertEquals(7, moved.key());
        assertEquals(List.of(moved), keeper.pins());
        assertEquals(List.of("other"), records().stream().map(Pin::strategy).toList());
        assertTrue(calls.indexOf("finish") < calls.indexOf("discard DISCARDING"));
        assertEquals(1, inPool());
    }

    @Test
    void aMoveThatIsRefusedGoesBack() throws Exception {
        other = new Other();
        strategies.add(other, named("other"));
        LivePin pin = pin();
        other.refuses = new Refusal(Refusal.Cause.UNSUPPORTED, "too small");
        RefusedException e =
                assertThrows(RefusedException.class, () -> keeper.migrate(pin, "other", List.of()));
        assertEquals(
                TARGET + " stays with overlayfs, because other does not take it: too small",
                e.getMessage());
        assertEquals(List.of("overlayfs"), records().stream().map(Pin::strategy).toList());
        assertTrue(mounted);
    }

    @Test
    void aMoveThatFailsBothWaysLeavesAllOnDiskAndSaysSo() throws Exception {
        other = new Other();
        strategies.add(other, named("other"));
        LivePin pin = pin();
        other.refuses = new Refusal(Refusal.Cause.UNSUPPORTED, "too small");
        pinFails = new RefusedException(Refusal.Cause.OCCUPIED, "occupied");
        RefusedException e =
                assertThrows(RefusedException.class, () -> keeper.migrate(pin, "other", List.of()));
        assertTrue(e.getMessage().contains("is on disk, and not pinned any more"), e.getMessage());
        assertTrue(e.getMessage().contains("too small"), e.getMessage());
        assertTrue(e.getMessage().contains("occupied"), e.getMessage());
        assertTrue(calls.contains("finish") && records().isEmpty() && keeper.pins().isEmpty());
    }

    @Test
    void aMoveWaitsForProgramsThatOpenAndClose() throws Exception {
        other = new Other();
        strategies.add(other, named("other"));
        LivePin pin = pin();
        other.refuses = new Refusal(Refusal.Cause.IN_USE, "open");
        other.refusals = 3;
        assertEquals("other", keeper.migrate(pin, "other", List.of()).record().strategy());
    }

    @Test
    void whatCannotBeMovedIsNotTouched() throws Exception {
        other = new Other();
        LivePin pin = pin();
        calls.clear();
        assertMoveRefused(pin, "overlayfs", "is pinned by overlayfs already");
        assertMoveRefused(pin, "other", "there is no pin strategy other, only overlayfs");
        strategies.add(other, named("other"));
        other.unusable = Optional.of("no device-mapper");
        assertMoveRefused(pin, "other", "other cannot work: no device-mapper");
        other.unusable = Optional.empty();
        unmountFails = new BusyException("in use by 42 (sh)");
        assertThrows(BusyException.class, () -> keeper.migrate(pin, "other", List.of()));
        assertTrue(mounted && keeper.pins().contains(pin));
        assertEquals(List.of(), other.calls);
    }

    private void assertMoveRefused(LivePin pin, String to, String why) {
        RefusedException e =
                assertThrows(RefusedException.class, () -> keeper.migrate(pin, to, List.of()));
        assertTrue(e.getMessage().contains(why), e.getMessage());
        assertEquals(List.of(), calls);
    }

    private void order(String... names) {
        settings =
                TestSettings.of(
                        Map.of(
                                "watch_directories",
                                new String[] {"/some"},
                                "strategy_order",
                                names));
    }

    private LivePin pin() throws IOException {
        return keeper.pin(TARGET, List.of(), 7, 3, false);
    }

    private long inPool() throws IOException {
        try (var names = Files.list(runtime.resolve("pool"))) {
            return names.count();
        }
    }

    private List<Pin> records() throws IOException {
        return journal.load(
                (f, p) -> {
                    throw new AssertionError(f + ": " + p);
                });
    }

    private Pin.Step recorded() throws IOException {
        return records().get(0).step();
    }

    private final class Scripted implements PinStrategy {
        @Override
        public List<Stray> strays(FilePath inPool, Set<String> recorded) {
            return stray.filter(p -> !recorded.contains(p.id()))
                    .map(p -> List.of(new Stray(p.id(), stray, "a mount")))
                    .orElse(List.of());
        }

        @Override
        public Optional<String> unusable() {
            return Optional.empty();
        }

        @Override
        public Estimate examine(Target target, List<FilePath> hot) {
            return new Estimate(1024, 2048, 1);
        }

        @Override
        public Pin pin(PinRequest r, PinJournal j) throws IOException {
            calls.add("pin");
            if (pinFails != null) {
                throw pinFails;
            }
            Pin pin =
                    new Pin(
                            r.id(),
                            r.target(),
                            "overlayfs",
                            "journal",
                            Pin.OVERLAY,
                            Pin.Step.PINNED,
                            Instant.now(),
                            Map.of());
            mounted = true;
            j.write(pin);
            return pin;
        }

        @Override
        public void unmount(Pin pin) throws IOException {
            calls.add("unmount " + recorded());
            atUnmount.run();
            if (unmountFails != null) {
                throw unmountFails;
            }
            mounted = false;
        }

        @Override
        public Pin remount(Pin pin) {
            calls.add("remount");
            mounted = true;
            return pin;
        }

        @Override
        public boolean mounted(Pin pin) {
            return mounted;
        }

        @Override
        public void discard(Pin pin) throws IOException {
            calls.add("discard " + recorded());
        }
    }

    /** Another one beside it, whose calls are its own. */
    private final class Other implements PinStrategy {
        private final List<String> calls = new ArrayList<>();
        private Refusal refuses;
        private int refusals = Integer.MAX_VALUE;
        private Optional<String> unusable = Optional.empty();
        private Runnable atPin = () -> {};
        private long reserved;
        private long room;

        @Override
        public Optional<String> unusable() {
            return unusable;
        }

        @Override
        public Estimate examine(Target target, List<FilePath> hot) throws IOException {
            if (refuses != null && refusals-- > 0) {
                throw new RefusedException(refuses.cause(), refuses.message());
            }
            return new Estimate(1024, 2048, 1);
        }

        @Override
        public Pin pin(PinRequest r, PinJournal j) throws IOException {
            calls.add("pin");
            atPin.run();
            room = r.room();
            // What a strategy writes as its name and its syncback's does not count.
            Pin pin =
                    new Pin(
                            r.id(),
                            r.target(),
                            "somebody",
                            "nobody",
                            Pin.OVERLAY,
                            Pin.Step.PINNED,
                            Instant.now(),
                            Map.of(Pin.RESERVED, Long.toString(reserved)));
            j.write(pin);
            return pin;
        }

        @Override
        public void unmount(Pin pin) {
            calls.add("unmount");
        }

        @Override
        public Pin remount(Pin pin) {
            calls.add("remount");
            return pin;
        }

        @Override
        public boolean mounted(Pin pin) {
            return true;
        }

        @Override
        public void discard(Pin pin) {
            calls.add("discard");
        }
    }

    private final class ScriptedSync implements SyncBack {
        private final Set<String> formats;

        /** Without formats it accepts all. */
        ScriptedSync(String... formats) {
            this.formats = Set.of(formats);
        }

        @Override
        public boolean accepts(String format) {
            return formats.isEmpty() || formats.contains(format);
        }

        @Override
        public Result checkpoint(Pin pin) throws IOException {
            calls.add("checkpoint " + recorded());
            if (checkpointFails != null) {
                throw checkpointFails;
            }
            return new Result(true, 1, 10, 20);
        }

        @Override
        public Last begin(Pin pin) {
            calls.add("begin");
            atBegin.run();
            return new Last() {
                @Override
                public Result finish() throws IOException {
                    calls.add("finish");
                    atFinish.run();
                    if (finishFails != null) {
                        throw finishFails;
                    }
                    return new Result(true, 0, 0, 0);
                }

                @Override
                public void close() {
                    calls.add("close");
                }
            };
        }

        @Override
        public Dirty dirty(Pin pin) {
            return new Dirty(0, restless-- > 0 ? 1L << 30 : 0, 0);
        }

        @Override
        public Optional<String> version(Pin pin) {
            return restless > 0 ? Optional.of("changing " + restless--) : version;
        }

        @Override
        public void forget(Pin pin) {}

        @Override
        public List<String> recover(Collection<FilePath> directories, Collection<Pin> pins) {
            return List.of();
        }
    }

    @SuppressWarnings("unchecked") // a reference of any type
    private static <S> ServiceReference<S> named(String name) {
        return (ServiceReference<S>)
                Proxy.newProxyInstance(
                        KeeperTest.class.getClassLoader(),
                        new Class<?>[] {ServiceReference.class},
                        (proxy, method, arguments) ->
                                switch (method.getName()) {
                                    case "getProperty" ->
                                            arguments[0].equals(Names.NAME) ? name : null;
                                    case "compareTo" -> 0;
                                    case "equals" -> proxy == arguments[0];
                                    case "hashCode" -> name.hashCode();
                                    default -> null;
                                });
    }

    /** Keeps what is logged. */
    private FormatterLogger log() {
        return (FormatterLogger)
                Proxy.newProxyInstance(
                        KeeperTest.class.getClassLoader(),
                        new Class<?>[] {FormatterLogger.class},
                        (proxy, method, arguments) -> {
                            if (arguments != null && arguments[0] instanceof String format) {
                                Object[] values =
                                        Arrays.copyOfRange(arguments, 1, arguments.length);
                                values =
                                        values.length == 1 && values[0] instanceof Object[] v
                                                ? v
                                                : values;
                                lines.add(method.getName() + " " + String.format(format, values));
                            }
                            return method.getReturnType() == boolean.class ? Boolean.FALSE : null;
                        });
    }

    private static <T> T stub(Class<T> type) {
        return type.cast(
                Proxy.newProxyInstance(
                        KeeperTest.class.getClassLoader(),
                        new Class<?>[] {type},
                        (proxy, method, arguments) ->
                                method.getReturnType() == boolean.class ? Boolean.FALSE : null));
    }
}
