package io.rampipe.engine.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Access;
import io.rampipe.api.AccessEvent;
import io.rampipe.api.AccessListener;
import io.rampipe.api.EventSource;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.RateEstimator;
import io.rampipe.api.Target;
import io.rampipe.testkit.Await;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Strategies that do what no strategy may do. */
@Timeout(60)
class SenseTest {
    static final Sense.Failures IGNORE = new Told();

    private static final Duration SOON = Duration.ofSeconds(30);
    private static final long PATIENCE = 1_000_000_000L;
    private static final long PIN = 77;

    private final Told told = new Told();
    private final Source good = new Source();
    private final CountDownLatch end = new CountDownLatch(1);
    private final LivePin pin =
            new LivePin(
                    new Pin(
                            "p1",
                            Target.directory(FilePath.of("/pinned")),
                            "overlayfs",
                            "journal",
                            Pin.OVERLAY,
                            Pin.Step.PINNED,
                            Instant.EPOCH,
                            Map.of()),
                    PIN,
                    7,
                    LivePin.State.PINNED);
    private volatile List<Hot> hot = List.of();
    private volatile EventSource source = good;
    private volatile RateEstimator estimator;
    private Sense sense;

    private void start(RateEstimator first) {
        estimator = first;
        Settings settings = TestSettings.of("/watched");
        sense =
                new Sense(
                        () -> settings,
                        () -> told.sources.containsKey(source) ? good : source,
                        () -> told.estimators.containsKey(estimator) ? null : estimator,
                        () -> List.of(pin),
                        found -> hot = found,
                        told,
                        PATIENCE);
        sense.start();
    }

    @AfterEach
    void stop() throws InterruptedException {
        end.countDown();
        sense.stop();
    }

    private void anotherTakesOver(String why) throws Exception {
        RateEstimator bad = estimator;
        Await.until(SOON, () -> told.estimators.containsKey(bad), told::toString);
        assertTrue(told.estimators.get(bad).contains(why), told::toString);
        assertEquals(7, pin.rate(), "a pin keeps its rate while there is no estimator");
        hot = List.of();
        estimator = new Counting();
        sense.wake();
        Await.until(SOON, () -> !hot.isEmpty(), told::toString);
        assertEquals(7, pin.rate(), 0.1, "and takes it along to the next one");
        assertTrue(sense.watching());
    }

    @Test
    void anEstimatorThatThrowsIsSetAside() throws Exception {
        start(
                new Counting() {
                    @Override
                    public double add(long key, double weight, long now) {
                        throw new IllegalStateException("out of ideas");
                    }
                });
        anotherTakesOver("out of ideas");
    }

    @Test
    void anEstimatorThatLacksAClassIsSetAside() throws Exception {
        start(
                new Counting() {
                    @Override
                    public double rate(long key, long now) {
                        throw new NoClassDefFoundError("com/example/Gone");
                    }
                });
        anotherTakesOver("com/example/Gone");
    }

    @Test
    void anEstimatorThatAnswersNoRateIsSetAside() throws Exception {
        start(
                new Counting() {
                    @Override
                    public double rate(long key, long now) {
                        return Double.NaN;
                    }
                });
        anotherTakesOver("NaN");
    }

    @Test
    void anEstimatorThatAnswersANegativeRateIsSetAside() throws Exception {
        start(
                new Counting() {
                    @Override
                    public double add(long key, double weight, long now) {
                        return -1;
                    }
                });
        anotherTakesOver("-1.0");
    }

    @Test
    void anEstimatorThatDoesNotReturnIsSetAsideAndNobodyWaitsForIt() throws Exception {
        start(
                new Counting() {
                    @Override
                    public double add(long key, double weight, long now) {
                        boolean interrupted = false;
                        while (end.getCount() > 0) {
                            try {
                                end.await();
                            } catch (InterruptedException e) {
                                interrupted = true;
                            }
                        }
                        return interrupted ? 1 : 0;
                    }
                });
        Await.until(SOON, () -> good.drained.get() > 0, told::toString);
        try {
            // What an unpin does meanwhile: it may fail, but it comes back.
            sense.unpinned(pin);
        } catch (IOException e) {
            assertTrue(e.getMessage().contains("hangs"), e.getMessage());
        }
        anotherTakesOver("not returned");
        sense.unpinned(pin);
    }

    @Test
    void aSourceThatDoesNotReturnIsSetAside() throws Exception {
        Source bad =
                new Source() {
                    @Override
                    public int drain(AccessListener listener) {
                        while (end.getCount() > 0) {
                            LockSupport.parkNanos(1_000_000);
                        }
                        return 0;
                    }
                };
        source = bad;
        start(new Counting());
        Await.until(SOON, () -> told.sources.containsKey(bad), told::toString);
        Await.until(SOON, () -> !hot.isEmpty(), told::toString);
        assertTrue(told.estimators.isEmpty(), told::toString);
    }

    @Test
    void aSourceThatFailsAgainAndAgainIsSetAside() throws Exception {
        Source bad =
                new Source() {
                    @Override
                    public int drain(AccessListener listener) {
                        throw new UnsupportedOperationException("not yet written");
                    }
                };
        source = bad;
        start(new Counting());
        Await.until(SOON, () -> told.sources.containsKey(bad), told::toString);
        assertEquals(
                "java.lang.UnsupportedOperationException: not yet written", told.sources.get(bad));
        Await.until(SOON, () -> !hot.isEmpty(), told::toString);
        assertFalse(bad.open > 0, "each session was closed");
    }

    /** What was reported. */
    private static final class Told implements Sense.Failures {
        private final Map<EventSource, String> sources =
                new java.util.concurrent.ConcurrentHashMap<>();
        private final Map<RateEstimator, String> estimators =
                new java.util.concurrent.ConcurrentHashMap<>();
        private final List<String> problems = new CopyOnWriteArrayList<>();

        @Override
        public void source(EventSource source, Exception why) {
            sources.put(source, why.getMessage());
        }

        @Override
        public void estimator(RateEstimator estimator, String why) {
            estimators.put(estimator, why);
        }

        @Override
        public void problem(String what) {
            problems.add(what);
        }

        @Override
        public String toString() {
            return sources + " " + estimators + " " + problems;
        }
    }

    /** Counts what was added, or seeded, and forgets nothing. */
    private static class Counting implements RateEstimator {
        private final Map<Long, Double> rates = new HashMap<>();

        @Override
        public double add(long key, double weight, long now) {
            return rates.merge(key, weight, Double::sum);
        }

        @Override
        public double rate(long key, long now) {
            return rates.getOrDefault(key, 0.0);
        }

        @Override
        public void seed(long key, double rate, long now) {
            rates.put(key, rate);
        }

        @Override
        public void forget(long key) {
            rates.remove(key);
        }

        @Override
        public int size() {
            return rates.size();
        }

        @Override
        public long memory() {
            return 0;
        }
    }

    /** Has one write to tell, again and again. */
    private static class Source implements EventSource, EventSource.Session, AccessEvent {
        private final AtomicInteger drained = new AtomicInteger();
        volatile int open;

        @Override
        public Optional<String> unusable() {
            return Optional.empty();
        }

        @Override
        public Session open() {
            open++;
            return this;
        }

        @Override
        public void watch(Collection<FilePath> roots) {}

        @Override
        public void pinned(Pin pin, long directory) {}

        @Override
        public void unpinned(Pin pin) {}

        @Override
        public void ignore(long directory) {}

        @Override
        public boolean await(long nanos) {
            return true;
        }

        @Override
        public void wake() {}

        @Override
        public int drain(AccessListener listener) {
            drained.incrementAndGet();
            listener.access(this);
            return 1;
        }

        @Override
        public EventSource.SourceStats stats() {
            return new EventSource.SourceStats(0, 0, 0, 0, 0, "");
        }

        @Override
        public void close() {
            open--;
        }

        @Override
        public long directory() {
            return 1;
        }

        @Override
        public long file() {
            return 2;
        }

        @Override
        public int kinds() {
            return Access.WRITE;
        }

        @Override
        public double scale() {
            return 1;
        }

        @Override
        public Location locate() {
            return new Location() {
                @Override
                public Optional<FilePath> directory() {
                    return Optional.of(FilePath.of("/watched/d"));
                }

                @Override
                public FilePath name() {
                    return FilePath.of("f");
                }
            };
        }
    }
}
