package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Bundles of other people's in the daemon that ships, whose strategies throw, hang or answer
 * nonsense: reported, set aside, with everything that is pinned kept and written to disk.
 */
@NeedsMounts
@Timeout(300)
class MisbehavingIT {
    private static final Duration SOON = Duration.ofSeconds(90);

    private static final String ESTIMATOR =
            """
            public double add(long key, double weight, long now) { %s }
            public double rate(long key, long now) { return 0; }
            public void seed(long key, double rate, long now) { }
            public void forget(long key) { }
            public int size() { return 0; }
            public long memory() { return 0; }
            """;

    private static final String SOURCE =
            """
            public Optional<String> unusable() { return Optional.empty(); }
            public Session open() throws IOException { %s return new Session() {
                public void watch(Collection<FilePath> roots) { }
                public void pinned(Pin pin, long directory) { }
                public void unpinned(Pin pin) { }
                public void ignore(long directory) { }
                public boolean await(long nanos) throws IOException { return true; }
                public void wake() { }
                public int drain(AccessListener listener) throws IOException { %s return 0; }
                public SourceStats stats() { return new SourceStats(0, 0, 0, 0, 0, "bad"); }
                public void close() { }
            }; }
            """;

    private static final String PIN =
            """
            public Optional<String> unusable() { return Optional.empty(); }
            public Estimate examine(Target target, List<FilePath> hot) throws IOException { %s }
            public Pin pin(PinRequest request, PinJournal journal) throws IOException { %s }
            public void unmount(Pin pin) { }
            public Pin remount(Pin pin) { return pin; }
            public boolean mounted(Pin pin) { return false; }
            public void discard(Pin pin) { }
            """;

    private static final String SYNC =
            """
            public boolean accepts(String format) { return true; }
            public Result checkpoint(Pin pin) throws IOException { %s }
            public Last begin(Pin pin) throws IOException { %s }
            public Dirty dirty(Pin pin) { return new Dirty(1, 1, 1); }
            public Optional<String> version(Pin pin) { return Optional.empty(); }
            public void forget(Pin pin) { }
            public List<String> recover(Collection<FilePath> directories, Collection<Pin> pins) { return List.of(); }
            """;

    private static final String FINE = "return new Estimate(1024, 1024, 1);";
    private static final String THROWS = "throw new IllegalStateException(\"oops\");";
    private static final String HANGS = "hang(); throw new IOException(\"late\");";

    private ScratchDisk disk;
    private Daemon daemon;
    private Load load;
    private Path jars;
    private Path steady;

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(96);
        jars = disk.aside("jars");
        steady = disk.root().resolve("home/steady");
        load = new Load();
        load.add(steady.resolve("data"));
        daemon =
                new Daemon(disk.aside("daemon"))
                        .set("watch.directories", disk.root().toString())
                        .set("pool.size", "64M")
                        .set("rate.half_life", "5s")
                        .set("checkpoint.interval", "1s")
                        .set("strategy.timeout", "20s")
                        .set("stop.timeout", "20s")
                        .start();
        Await.until(SOON, () -> daemon.pinned(steady), daemon::logText);
    }

    @AfterEach
    void tearDown() throws Exception {
        load.close();
        daemon.close();
        disk.close();
    }

    private void install(String name, String type, int ranking, String body) throws Exception {
        Path jar = Jar.of(jars, name, type, ranking, Jar.API, body);
        daemon.command("gogo", "start " + jar.toUri()).ok();
        Await.until(
                SOON,
                () -> !strategy(name).get("state").getAsString().equals("not listed"),
                daemon::logText);
    }

    private JsonObject strategy(String name) throws IOException {
        for (JsonElement s :
                daemon.command("strategies", "--json").ok().json().getAsJsonArray("strategies")) {
            if (s.getAsJsonObject().get("name").getAsString().equals(name)) {
                return s.getAsJsonObject();
            }
        }
        JsonObject none = new JsonObject();
        none.addProperty("state", "not listed");
        none.addProperty("note", "");
        return none;
    }

    /** Shown as set aside, with that reason; told once in the log. */
    private void setAside(String name, String why) throws Exception {
        Await.until(
                SOON,
                () -> {
                    JsonObject s = strategy(name);
                    return s.get("state").getAsString().equals("unusable")
                            && s.get("note").getAsString().contains(why);
                },
                () -> name + " is not set aside: " + daemon.logText());
    }

    private void uninstall(String name) throws IOException {
        daemon.command("gogo", "uninstall " + name).ok();
    }

    private Path fresh(String name) throws IOException {
        Path directory = Files.createDirectories(disk.root().resolve("home/" + name));
        Files.writeString(directory.resolve("data"), "data\n");
        return directory;
    }

    /** Nothing that was pinned has suffered, and everything reaches the disk. */
    private void allIsWell() throws Exception {
        assertTrue(daemon.pinned(steady), daemon::logText);
        load.end();
        assertEquals(0, daemon.stop(), daemon::logText);
        disk.unmount();
        disk.mount();
        assertEquals(List.of(), load.differences());
    }

    @Test
    void estimators() throws Exception {
        String[][] bad = {
            {"throws", THROWS, "it throws java.lang.IllegalStateException: oops"},
            {"nan", "return 0 * Double.POSITIVE_INFINITY;", "it answers NaN as a rate"},
            {"hangs", "hang(); return 0;", "it has not returned"}
        };
        for (String[] b : bad) {
            install(b[0], "RateEstimator", 0, ESTIMATOR.formatted(b[1]));
            daemon.command("use", "rate", b[0]);
            setAside(b[0], b[2]);
            String status = daemon.command("status").ok().out();
            assertTrue(status.contains("'" + b[0] + "' was set aside: " + b[2]), status);
            assertTrue(daemon.pinned(steady), daemon::logText);
            uninstall(b[0]);
        }
        daemon.command("use", "rate", "ema").ok();
        Path other = disk.root().resolve("home/other");
        load.add(other.resolve("data"));
        Await.until(SOON, () -> daemon.pinned(other), daemon::logText);
        allIsWell();
    }

    @Test
    void eventSources() throws Exception {
        String[][] bad = {
            {"unopened", "if (true) throw new IOException(\"cannot open\");", "", "cannot open"},
            {"throws", "", "if (true) throw new IllegalStateException(\"oops\");", "oops"},
            {"hangs", "", "hang();", "it has not returned"}
        };
        for (String[] b : bad) {
            install(b[0], "EventSource", 1000, SOURCE.formatted(b[1], b[2]));
            Await.until(
                    SOON,
                    () ->
                            daemon.logText().contains("not " + b[0] + ": ")
                                    && daemon.logText().contains(b[3]),
                    daemon::logText);
            Path other = disk.root().resolve("home/other-" + b[0]);
            load.add(other.resolve("data"));
            Await.until(SOON, () -> daemon.pinned(other), daemon::logText);
            uninstall(b[0]);
        }
        allIsWell();
    }

    @Test
    void pinStrategies() throws Exception {
        String etc =
                """
                Pin pin = new Pin(request.id(), Target.directory(FilePath.of("/etc")), "", "",
                    Pin.OVERLAY, Pin.Step.PINNED, java.time.Instant.now(), Map.of());
                journal.write(pin); return pin;
                """;
        String[][] bad = {
            {"throws", THROWS, "return null;", "oops"},
            {"negative", "return new Estimate(-1, 1, 1);", "return null;", "estimates"},
            {"outside", FINE, etc, "a record of /etc"},
            {"silent", FINE, "return null;", "not journalled"},
            {"hangs", FINE, HANGS, "it has not returned for 2"}
        };
        for (String[] b : bad) {
            install(b[0], "PinStrategy", 0, PIN.formatted(b[1], b[2]));
            daemon.command("use", "pin", b[0]).ok();
            // The next in the order takes it.
            Path target = fresh("for-" + b[0]);
            daemon.command("pin", target.toString()).ok();
            assertEquals(
                    "overlayfs", daemon.pin(target).orElseThrow().get("strategy").getAsString());
            // One exception may have its cause in the target.
            for (int i = 0; b[0].equals("throws") && i < 4; i++) {
                daemon.command("why", fresh("why-" + i).toString()).ok();
            }
            setAside(b[0], b[3]);
            String why = daemon.command("why", fresh("more").toString()).ok().out();
            assertTrue(why.contains(b[0] + " is not asked: set aside"), why);
            uninstall(b[0]);
        }
        assertFalse(daemon.command("pins").ok().out().contains("/etc"));
        allIsWell();
    }

    @Test
    void syncbacks() throws Exception {
        String[][] bad = {
            {"throws", THROWS, THROWS, "oops"},
            {"nonsense", "return new Result(true, -1, 0, 0);", "return null;", "files=-1"},
            {"hangs", HANGS, HANGS, "it has not returned for 2"}
        };
        for (String[] b : bad) {
            install(b[0], "SyncBack", 0, SYNC.formatted(b[1], b[2]));
            daemon.command("use", "sync", b[0]).ok();
            Path target = fresh("for-" + b[0]);
            daemon.command("pin", target.toString()).ok();
            Files.writeString(target.resolve("data"), "more\n");
            setAside(b[0], b[3]);
            JsonObject pin = daemon.pin(target).orElseThrow();
            assertEquals("failing", pin.get("state").getAsString(), pin::toString);
            assertEquals("more\n", Files.readString(target.resolve("data")));
            // New pins get another one.
            Path next = fresh("after-" + b[0]);
            daemon.command("pin", next.toString()).ok();
            daemon.command("unpin", next.toString()).ok();
            // Once the bundle is mended, what is in RAM gets to disk.
            Path mended = OtherStrategy.of("io.rampipe.sync.journal", "journal", b[0], jars);
            uninstall(b[0]);
            daemon.command("gogo", "start " + mended.toUri()).ok();
            Await.until(
                    SOON,
                    () -> daemon.command("unpin", target.toString()).status() == 0,
                    () -> target + " stays in RAM: " + daemon.logText());
            assertEquals("more\n", Files.readString(target.resolve("data")));
            daemon.command("gogo", "uninstall other." + b[0]).ok();
        }
        allIsWell();
    }

    @Test
    void aBundleForAnotherVersionOfTheApiSaysWhichOneItNeeds() throws Exception {
        Path jar =
                Jar.of(
                        jars,
                        "future",
                        "RateEstimator",
                        0,
                        "[9.1,10)",
                        ESTIMATOR.formatted("return 0;"));
        Path deployed = Daemon.HOME.resolve("deploy/future-1.0.0.jar");
        try {
            Files.copy(jar, Daemon.HOME.resolve("future.tmp"));
            Files.move(Daemon.HOME.resolve("future.tmp"), deployed);
            Await.until(
                    SOON,
                    () ->
                            strategy("future").get("state").getAsString().equals("unresolved")
                                    && daemon.logText().contains("future"),
                    daemon::logText);
            String note = strategy("future").get("note").getAsString();
            assertTrue(
                    note.contains("needs io.rampipe.api [9.1.0,10.0.0)")
                            && note.contains("1.1.0 is there"),
                    note);
            Daemon.Outcome use = daemon.command("use", "rate", "future");
            assertEquals(1, use.status());
            assertTrue(use.err().contains("needs io.rampipe.api [9.1.0,10.0.0)"), use.err());
        } finally {
            Files.deleteIfExists(deployed);
        }
        Await.until(
                SOON,
                () -> strategy("future").get("state").getAsString().equals("not listed"),
                daemon::logText);
        allIsWell();
    }
}
