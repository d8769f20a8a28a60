package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Strategies exchanged again and again in a running daemon while programs write: nothing that gets
 * hot is missed, no pin lost or doubled, nothing leaks. {@code -Drampipe.swaps=N} exchanges the
 * estimator N times and the source N/10 times; what is held before and after is printed.
 */
@NeedsMounts
@Timeout(900)
class SwapIT {
    private static final int SWAPS = Integer.getInteger("rampipe.swaps", 100);
    private static final int WARM_UP = 20;
    private static final int LEAST_HEATED = 3;

    /** Of each kind that many may be there by chance. */
    private static final int SPARE = 4;

    private static final long HEAP_SPARE = 1 << 20;
    private static final Duration SOON = Duration.ofSeconds(60);
    private static final String[] STEADY = {"one", "two", "three"};

    private ScratchDisk disk;
    private Daemon daemon;
    private Load load;

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(96);
        daemon =
                new Daemon(disk.aside("daemon"))
                        .set("watch.directories", disk.root().toString())
                        .set("pool.size", "64M")
                        .set("rate.half_life", "5s")
                        .set("checkpoint.interval", "1s")
                        .set("stop.timeout", "20s")
                        .start();
        load = new Load();
        for (String name : STEADY) {
            load.add(directory(name).resolve("data"));
        }
        for (String name : STEADY) {
            Await.until(SOON, () -> daemon.pinned(directory(name)), daemon::logText);
        }
    }

    @AfterEach
    void tearDown() throws Exception {
        load.close();
        daemon.close();
        disk.close();
    }

    private Path directory(String name) {
        return disk.root().resolve("home/" + name);
    }

    /** The command for one exchange of many. */
    private interface Exchange {
        String command(int n);
    }

    /** So many exchanges by one command of the client, from the n-th on. */
    private void run(Exchange exchange, int n, int batch) throws Exception {
        String commands =
                IntStream.range(n, n + batch)
                        .mapToObj(exchange::command)
                        .collect(Collectors.joining("; "));
        daemon.command("gogo", commands).ok();
    }

    private void exchange(int times, int batch, Exchange exchange) throws Exception {
        for (int n = 0; n < WARM_UP; n += batch) {
            run(exchange, n, batch);
        }
        Footprint before = Footprint.of(daemon.pid());
        int heated = 0;
        Path hot = null;
        long since = 0;
        int n = 0;
        for (; n < times || heated < LEAST_HEATED; n += batch) {
            run(exchange, n, batch);
            load.check();
            Map<String, Integer> pins = pins();
            for (String name : STEADY) {
                assertEquals(1, pins.get(directory(name).toString()), () -> name + ": " + pins);
            }
            // Something else gets hot, one after the other, and must be found in spite of it all.
            if (hot == null) {
                hot = directory("heated" + heated).resolve("data");
                load.add(hot);
                since = System.nanoTime();
            } else if (pins.containsKey(hot.getParent().toString())) {
                load.remove(hot);
                daemon.command("unpin", hot.getParent().toString());
                heated++;
                hot = null;
            } else if (System.nanoTime() - since > SOON.toNanos() / 4) {
                // On a busy machine there may be no time left between two exchanges.
                Path missing = hot.getParent();
                Await.until(
                        SOON,
                        () -> pins().containsKey(missing.toString()),
                        () -> missing + " was not found: " + daemon.logText());
            }
        }
        if (hot != null) {
            load.remove(hot);
            daemon.command("unpin", hot.getParent().toString());
        }
        // What is busy is sampled, by marks that come and go; the kernel and the JVM take their
        // time to let go of things.
        Footprint[] last = new Footprint[1];
        Await.until(
                SOON,
                () -> {
                    last[0] = Footprint.of(daemon.pid());
                    return last[0].leaks(before, SPARE, HEAP_SPARE).isEmpty();
                },
                () -> "leaks: " + last[0].leaks(before, SPARE, HEAP_SPARE) + before + last[0]);
        Footprint after = last[0];
        System.out.printf(
                "%d exchanges, %d directories found%n  before: %s%n  after:  %s%n",
                n, heated, before.summary(), after.summary());
        after.instances()
                .forEach(
                        (type, now) -> {
                            long then = before.instances().getOrDefault(type, 0L);
                            if (now > then + 20) {
                                System.out.printf("  %s: %d, then %d%n", type, then, now);
                            }
                        });
        load.end();
        assertEquals(0, daemon.stop(), daemon::logText);
        disk.unmount();
        disk.mount();
        assertEquals(List.of(), load.differences());
    }

    private Map<String, Integer> pins() throws IOException {
        Map<String, Integer> pins = new TreeMap<>();
        for (JsonElement e : daemon.command("pins", "--json").ok().json().getAsJsonArray("pins")) {
            JsonObject pin = e.getAsJsonObject();
            pins.merge(pin.get("path").getAsString(), 1, Integer::sum);
        }
        return pins;
    }

    @Test
    void estimators() throws Exception {
        String[] names = {"window", "sketch", "ema"};
        exchange(SWAPS, 10, n -> "rampipe:use rate " + names[n % names.length]);
    }

    @Test
    void eventSources() throws Exception {
        String[] names = {"inotify", "fanotify"};
        exchange(SWAPS / 10, 3, n -> "rampipe:use source " + names[n % names.length]);
    }

    @Test
    void bundlesOfStrategies() throws Exception {
        String[] bundles = {
            "io.rampipe.rate.ema",
            "io.rampipe.source.fanotify",
            "io.rampipe.pin.overlayfs",
            "io.rampipe.sync.journal"
        };
        // Each has a class loader of its own, which must go with it.
        exchange(SWAPS / 10, 4, n -> "update " + bundles[n % bundles.length]);
    }

    /** The framework itself, in the same process: everything is written back, then begun anew. */
    @Test
    void theFramework() throws Exception {
        daemon.command("gogo", "update 0");
        Await.until(
                SOON,
                () -> daemon.logText().contains("stopped; everything is on disk"),
                daemon::logText);
        for (String name : STEADY) {
            Await.until(
                    SOON,
                    () -> daemon.command("status").status() == 0 && daemon.pinned(directory(name)),
                    daemon::logText);
        }
        load.end();
        assertEquals(0, daemon.stop(), daemon::logText);
        disk.unmount();
        disk.mount();
        assertEquals(List.of(), load.differences());
    }
}
