package io.rampipe.engine.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.BusyException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.PinStrategy.Estimate;
import io.rampipe.api.PinStrategy.PinJournal;
import io.rampipe.api.PinStrategy.PinRequest;
import io.rampipe.api.SyncBack;
import io.rampipe.api.SyncBack.Dirty;
import io.rampipe.api.SyncBack.Result;
import io.rampipe.api.Target;
import io.rampipe.api.UnfinishedException;
import io.rampipe.testkit.Await;
import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.osgi.service.log.FormatterLogger;

/** Pin strategies and syncbacks that throw, hang, or answer what cannot be. */
@Timeout(60)
class GuardTest {
    private static final Duration SOON = Duration.ofSeconds(30);
    private static final Target TARGET = Target.directory(FilePath.of("/some/where"));
    private static final FilePath POOL = FilePath.of("/run/rampipe/pool/abc");
    private static final PinRequest REQUEST = new PinRequest("abc", TARGET, List.of(), POOL, 1000);
    private static final Pin PIN =
            new Pin(
                    "abc",
                    TARGET,
                    "bad",
                    "bad",
                    Pin.OVERLAY,
                    Pin.Step.PINNED,
                    Instant.EPOCH,
                    Map.of());

    private final ExecutorService threads = Executors.newCachedThreadPool();
    private final List<String> told = Collections.synchronizedList(new ArrayList<>());
    private final List<Pin> journal = Collections.synchronizedList(new ArrayList<>());
    private final List<String> calls = Collections.synchronizedList(new ArrayList<>());
    private final CountDownLatch hang = new CountDownLatch(1);
    private long patience = Duration.ofSeconds(30).toNanos();
    private final Guard guard =
            new Guard(
                    "strategy 'bad'",
                    threads,
                    () -> patience,
                    (FormatterLogger)
                            Proxy.newProxyInstance(
                                    GuardTest.class.getClassLoader(),
                                    new Class<?>[] {FormatterLogger.class},
                                    (proxy, method, arguments) -> {
                                        told.add(method.getName() + " " + List.of(arguments));
                                        return null;
                                    }));

    /** What the strategy does when a method is called. */
    private interface Behaviour {
        Object call(Object[] arguments) throws Exception;
    }

    @AfterEach
    void end() {
        hang.countDown();
        threads.shutdownNow();
    }

    private <T> T behaving(Class<T> type, Map<String, Behaviour> behaviour) {
        return type.cast(
                Proxy.newProxyInstance(
                        GuardTest.class.getClassLoader(),
                        new Class<?>[] {type},
                        (proxy, method, arguments) -> {
                            calls.add(method.getName());
                            Behaviour b = behaviour.get(method.getName());
                            if (b != null) {
                                return b.call(arguments);
                            }
                            try {
                                return method.isDefault()
                                        ? java.lang.reflect.InvocationHandler.invokeDefault(
                                                proxy, method, arguments)
                                        : method.getReturnType() == boolean.class
                                                ? Boolean.FALSE
                                                : null;
                            } catch (InvocationTargetException e) {
                                throw e.getCause();
                            }
                        }));
    }

    private PinStrategy strategy(Map<String, Behaviour> behaviour) {
        return new GuardedStrategy(behaving(PinStrategy.class, behaviour), guard);
    }

    private SyncBack sync(Map<String, Behaviour> behaviour) {
        return new GuardedSync(behaving(SyncBack.class, behaviour), guard);
    }

    private Object hang() throws InterruptedException {
        hang.await();
        return null;
    }

    private void assertSetAside(String why) {
        assertTrue(
                guard.setAside().orElse("(not set aside)").contains(why),
                guard.setAside()::toString);
        assertEquals(
                1,
                told.stream().filter(l -> l.contains("is set aside")).count(),
                () -> "told once: " + told);
    }

    private static Pin written(Object[] arguments, Pin pin) throws IOException {
        ((PinJournal) arguments[1]).write(pin);
        return pin;
    }

    @Test
    void whatIsMeantForTheEngineComesThrough() throws Exception {
        BusyException busy = new BusyException("in use");
        PinStrategy strategy =
                strategy(
                        Map.of(
                                "unusable", a -> Optional.empty(),
                                "examine", a -> new Estimate(1, 2, 3),
                                "pin", a -> written(a, PIN),
                                "unmount",
                                        a -> {
                                            throw busy;
                                        }));
        assertEquals(new Estimate(1, 2, 3), strategy.examine(TARGET, List.of()));
        assertEquals(PIN, strategy.pin(REQUEST, journal::add));
        for (int i = 0; i < 10; i++) {
            assertSame(busy, assertThrows(BusyException.class, () -> strategy.unmount(PIN)));
        }
        assertEquals(Optional.empty(), strategy.unusable());
        assertEquals(List.of(), told);
    }

    @Test
    void aPinStrategyThatThrowsAgainAndAgainIsSetAside() {
        PinStrategy strategy =
                strategy(
                        Map.of(
                                "unusable",
                                a -> Optional.empty(),
                                "examine",
                                a -> {
                                    throw new IllegalStateException("oops");
                                }));
        for (int i = 0; i < 5; i++) {
            assertEquals(Optional.empty(), strategy.unusable());
            Target target = Target.directory(FilePath.of("/some/where/" + i));
            IOException e =
                    assertThrows(IOException.class, () -> strategy.examine(target, List.of()));
            assertTrue(e.getMessage().contains("oops"), e.getMessage());
        }
        assertTrue(strategy.unusable().orElse("").contains("oops"));
        assertSetAside("oops");
    }

    @Test
    void aPinStrategyThatLacksAClassIsSetAsideAtOnce() {
        PinStrategy strategy =
                strategy(
                        Map.of(
                                "examine",
                                a -> {
                                    throw new java.lang.reflect.UndeclaredThrowableException(null);
                                },
                                "mounted",
                                a -> {
                                    throw new NoClassDefFoundError("gone");
                                }));
        assertThrows(IOException.class, () -> strategy.examine(TARGET, List.of()));
        assertEquals(Optional.empty(), guard.setAside());
        assertThrows(IOException.class, () -> strategy.mounted(PIN));
        assertSetAside("gone");
    }

    @Test
    void aPinStrategyThatDoesNotReturnIsSetAsideAndThatTargetLeftToIt() throws Exception {
        PinStrategy strategy =
                strategy(
                        Map.of(
                                "unmount",
                                a -> hang(),
                                "mounted",
                                a -> Boolean.TRUE,
                                "discard",
                                a -> null));
        patience = 1;
        assertThrows(Guard.HangingException.class, () -> strategy.unmount(PIN));
        patience = Duration.ofSeconds(30).toNanos();
        assertSetAside("has not returned");
        // Not two at a time for one target; others go on.
        IOException e = assertThrows(IOException.class, () -> strategy.mounted(PIN));
        assertTrue(e.getMessage().contains("unmounts /some/where"), e.getMessage());
        assertFalse(calls.contains("mounted"));
        Pin other =
                new Pin(
                        "xyz",
                        TARGET,
                        "bad",
                        "bad",
                        Pin.OVERLAY,
                        Pin.Step.PINNED,
                        Instant.EPOCH,
                        Map.of());
        assertTrue(strategy.mounted(other));
        hang.countDown();
        Await.until(
                SOON,
                () -> {
                    try {
                        return strategy.mounted(PIN);
                    } catch (Guard.HangingException still) {
                        return false;
                    }
                },
                told::toString);
    }

    @Test
    void aPinThatIsNotFinishedInTimeKeepsItsRecordAndMakesNoOther() throws Exception {
        CountDownLatch begun = new CountDownLatch(1);
        List<Exception> refused = Collections.synchronizedList(new ArrayList<>());
        PinStrategy strategy =
                strategy(
                        Map.of(
                                "pin",
                                a -> {
                                    written(a, PIN.at(Pin.Step.MOUNTING));
                                    begun.countDown();
                                    hang();
                                    try {
                                        return written(a, PIN);
                                    } catch (IOException e) {
                                        refused.add(e);
                                        throw e;
                                    }
                                }));
        patience = Duration.ofSeconds(1).toNanos();
        GuardedStrategy.UnfinishedPinException e =
                assertThrows(
                        GuardedStrategy.UnfinishedPinException.class,
                        () -> strategy.pin(REQUEST, journal::add));
        begun.await();
        assertEquals(Pin.Step.MOUNTING, e.pin().step());
        hang.countDown();
        Await.until(SOON, () -> !refused.isEmpty(), told::toString);
        assertEquals(List.of(PIN.at(Pin.Step.MOUNTING)), journal);
    }

    @Test
    void aPinOfSomethingElseIsNotRecorded() {
        Pin etc =
                new Pin(
                        "abc",
                        Target.directory(FilePath.of("/etc")),
                        "bad",
                        "bad",
                        Pin.OVERLAY,
                        Pin.Step.PINNED,
                        Instant.EPOCH,
                        Map.of());
        PinStrategy strategy = strategy(Map.of("pin", a -> written(a, etc)));
        IOException e = assertThrows(IOException.class, () -> strategy.pin(REQUEST, journal::add));
        assertTrue(e.getMessage().contains("a record of /etc"), e.getMessage());
        assertEquals(List.of(), journal);
        assertSetAside("/etc");
    }

    @Test
    void aPinWhoseRamIsElsewhereIsNotRecorded() {
        for (String place : new String[] {"/etc", POOL + "/../../x", POOL + "x/upper"}) {
            Pin pin = PIN.with(Pin.UPPER, place);
            PinStrategy strategy = strategy(Map.of("pin", a -> written(a, pin)));
            assertThrows(IOException.class, () -> strategy.pin(REQUEST, journal::add));
        }
        assertEquals(List.of(), journal);
        assertSetAside("outside of the pin's /run/rampipe/pool/abc");
    }

    @Test
    void aPinThatWasNotJournalledIsNone() {
        PinStrategy strategy = strategy(Map.of("pin", a -> PIN));
        assertThrows(Guard.NonsenseException.class, () -> strategy.pin(REQUEST, journal::add));
        assertSetAside("not journalled");
    }

    @Test
    void aPinThatFailsButIsMountedIsKept() {
        PinStrategy strategy =
                strategy(
                        Map.of(
                                "pin",
                                a -> {
                                    written(a, PIN.at(Pin.Step.MOUNTING));
                                    throw new IllegalStateException("half-way");
                                },
                                "mounted",
                                a -> Boolean.TRUE));
        assertThrows(
                GuardedStrategy.UnfinishedPinException.class,
                () -> strategy.pin(REQUEST, journal::add));
    }

    @Test
    void estimatesThatCannotBeAreNone() {
        for (Estimate e :
                new Estimate[] {
                    null,
                    new Estimate(-1, 1, 1),
                    new Estimate(1, -1, 1),
                    new Estimate(1, 1, -1),
                    new Estimate(1, 1, 1, -1)
                }) {
            PinStrategy strategy =
                    strategy(e == null ? Map.of("examine", a -> null) : Map.of("examine", a -> e));
            assertThrows(Guard.NonsenseException.class, () -> strategy.examine(TARGET, List.of()));
        }
        assertSetAside("estimates null");
    }

    @Test
    void aSyncbackThatThrowsIsSetAsideAndGoesOnBeingAsked() throws Exception {
        List<Integer> times = new ArrayList<>();
        SyncBack sync =
                sync(
                        Map.of(
                                "checkpoint",
                                a -> {
                                    times.add(1);
                                    if (times.size() < 7) {
                                        throw new NullPointerException("oops");
                                    }
                                    return new Result(true, 1, 1, 1);
                                }));
        for (int i = 0; i < 6; i++) {
            assertThrows(IOException.class, () -> sync.checkpoint(PIN));
        }
        assertSetAside("oops");
        assertTrue(sync.unusable().isPresent());
        assertEquals(new Result(true, 1, 1, 1), sync.checkpoint(PIN));
    }

    @Test
    void aSyncbackThatAnswersNonsenseIsSetAside() {
        SyncBack sync =
                sync(
                        Map.of(
                                "checkpoint", a -> new Result(true, -1, 0, 0),
                                "dirty", a -> new Dirty(0, -5, 0)));
        assertThrows(Guard.NonsenseException.class, () -> sync.checkpoint(PIN));
        assertThrows(Guard.NonsenseException.class, () -> sync.dirty(PIN));
        assertThrows(Guard.NonsenseException.class, () -> sync.version(PIN));
        assertThrows(Guard.NonsenseException.class, () -> sync.begin(PIN));
        assertSetAside("files=-1");
    }

    @Test
    void aLastSyncbackThatHangsIsUnfinishedAndClosedAfterwards() throws Exception {
        SyncBack.Last last =
                behaving(SyncBack.Last.class, Map.of("finish", a -> hang(), "close", a -> null));
        SyncBack sync = sync(Map.of("begin", a -> last));
        try (SyncBack.Last guarded = sync.begin(PIN)) {
            patience = 1;
            assertThrows(UnfinishedException.class, guarded::finish);
            assertThrows(UnfinishedException.class, guarded::finish);
            patience = Duration.ofSeconds(30).toNanos();
        }
        assertThrows(IOException.class, () -> sync.begin(PIN));
        assertFalse(calls.contains("close"), "while it may be at work");
        assertSetAside("writes the rest of /some/where");
        hang.countDown();
        Await.until(SOON, () -> calls.contains("close"), calls::toString);
        // It was only slow.
        Await.until(SOON, () -> guard.setAside().isEmpty(), told::toString);
    }

    @Test
    void aLastSyncbackThatBeginsTooLateIsClosed() throws Exception {
        SyncBack.Last last = behaving(SyncBack.Last.class, Map.of());
        SyncBack sync =
                sync(
                        Map.of(
                                "begin",
                                a -> {
                                    hang();
                                    return last;
                                }));
        patience = 1;
        assertThrows(Guard.HangingException.class, () -> sync.begin(PIN));
        hang.countDown();
        Await.until(SOON, () -> calls.contains("close"), calls::toString);
    }

    @Test
    void aBundleGoesOnlyAfterWhatItHasBegun() throws Exception {
        CountDownLatch begun = new CountDownLatch(1);
        CountDownLatch go = new CountDownLatch(1);
        SyncBack.Last last =
                behaving(SyncBack.Last.class, Map.of("finish", a -> Result.NOT_AT_REST));
        SyncBack sync =
                sync(
                        Map.of(
                                "dirty",
                                a -> new Dirty(0, 0, 0),
                                "begin",
                                a -> last,
                                "checkpoint",
                                a -> {
                                    begun.countDown();
                                    go.await();
                                    calls.add("done");
                                    return Result.NOT_AT_REST;
                                }));
        SyncBack.Last open = sync.begin(PIN);
        threads.submit(() -> sync.checkpoint(PIN));
        begun.await();
        threads.submit(
                () -> {
                    guard.close();
                    calls.add("gone");
                    return null;
                });
        Await.until(
                SOON,
                () -> {
                    try {
                        sync.dirty(PIN);
                        return false;
                    } catch (IOException e) {
                        return e.getMessage().contains("is being stopped or updated");
                    }
                },
                calls::toString);
        assertFalse(calls.contains("gone"));
        go.countDown();
        Await.until(SOON, () -> calls.contains("done"), calls::toString);
        // What it has begun it may finish.
        assertEquals(Result.NOT_AT_REST, open.finish());
        assertFalse(calls.contains("gone"));
        open.close();
        Await.until(SOON, () -> calls.contains("gone"), calls::toString);
    }

    /** A method with a default would otherwise be answered without asking the strategy. */
    @Test
    void everyMethodIsGuarded() {
        for (Class<?>[] pair :
                new Class<?>[][] {
                    {PinStrategy.class, GuardedStrategy.class}, {SyncBack.class, GuardedSync.class}
                }) {
            for (java.lang.reflect.Method m : pair[0].getMethods()) {
                if (!java.lang.reflect.Modifier.isStatic(m.getModifiers())) {
                    org.junit.jupiter.api.Assertions.assertDoesNotThrow(
                            () -> pair[1].getDeclaredMethod(m.getName(), m.getParameterTypes()),
                            () -> pair[1].getSimpleName() + " lacks " + m);
                }
            }
        }
    }
}
