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
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Strategies exchanged in a running daemon, by the commands that ship. */
@NeedsMounts
@Timeout(240)
class StrategiesIT {
    private static final Duration SOON = Duration.ofSeconds(40);

    private ScratchDisk disk;
    private Daemon daemon;
    private Path jars;
    private Path profile;

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(96);
        jars = disk.aside("jars");
        profile = Files.createDirectories(disk.root().resolve("home/profile"));
        daemon =
                new Daemon(disk.aside("daemon"))
                        .set("watch.directories", disk.root().toString())
                        .set("pool.size", "64M")
                        .set("stop.timeout", "5s");
    }

    @AfterEach
    void tearDown() throws Exception {
        daemon.close();
        disk.close();
    }

    private void install(String bundle, String name, String other) throws Exception {
        OtherStrategy.of(bundle, name, other, jars);
        startBundle(other);
        Await.until(
                SOON,
                () -> strategy(other).get("state").getAsString().equals("active"),
                () -> "not active: " + daemon.logText());
    }

    /** Gogo's start takes a URL or a number, no name. */
    private void startBundle(String other) throws IOException {
        daemon.command("gogo", "start " + jars.resolve(other + ".jar").toUri()).ok();
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
        none.addProperty("in_use", false);
        return none;
    }

    private boolean inUse(String name) throws IOException {
        return strategy(name).get("in_use").getAsBoolean();
    }

    private void fails(String why, String... command) throws IOException {
        Daemon.Outcome outcome = daemon.command(command);
        assertEquals(1, outcome.status(), outcome.toString());
        assertTrue(outcome.err().contains(why), outcome.toString());
    }

    @Test
    void anEstimatorPutIntoUseChoosesFromThenOnAndAfterARestart() throws Exception {
        daemon.start();
        Files.writeString(
                daemon.configuration(), "\n# mine\n#rate.use = ema\n", StandardOpenOption.APPEND);
        install("io.rampipe.rate.ema", "ema", "second");
        assertFalse(inUse("second"));
        fails(
                "there is no rate strategy third; there are ema, sketch, window, second",
                "use",
                "rate",
                "third");
        daemon.command("use", "rate", "second").ok();
        assertTrue(inUse("second") && !inUse("ema"));
        String file = Files.readString(daemon.configuration());
        assertTrue(file.endsWith("\n# mine\n#rate.use = ema\nrate.use = second\n"), file);
        Path hot = Files.writeString(profile.resolve("f"), "");
        Await.until(
                SOON,
                () -> {
                    Files.writeString(hot, "x", StandardOpenOption.APPEND);
                    return daemon.pinned(profile);
                },
                () -> "not pinned: " + daemon.logText());
        assertEquals(0, daemon.stop(), daemon::logText);

        daemon.startAgain("holding");
        assertEquals("missing", strategy("second").get("state").getAsString());
        String status = daemon.command("status").ok().out();
        assertTrue(status.contains("rate estimator 'second' is not there"), status);
        startBundle("second");
        Await.until(SOON, () -> inUse("second"), () -> "not in use: " + daemon.logText());
        daemon.command("use", "rate", "ema").ok();
        assertTrue(inUse("ema") && !inUse("second"));
        assertTrue(
                Files.readString(daemon.configuration()).endsWith("\nrate.use = ema\n"),
                () -> "not written");
    }

    @Test
    void theOrderOfPinStrategiesIsChangedAndPinsStayWhereTheyAre() throws Exception {
        daemon.set("strategy.order", "overlayfs").start();
        install("io.rampipe.pin.overlayfs", "overlayfs", "second");
        Path first = Files.createDirectories(disk.root().resolve("home/first"));
        daemon.command("pin", first.toString()).ok();
        daemon.command("use", "pin", "second").ok();
        assertTrue(
                Files.readString(daemon.configuration())
                        .contains("strategy.order = second, overlayfs\n"));
        daemon.command("pin", profile.toString()).ok();
        assertEquals("overlayfs", daemon.pin(first).orElseThrow().get("strategy").getAsString());
        assertEquals("second", daemon.pin(profile).orElseThrow().get("strategy").getAsString());
        String other = Files.createDirectories(disk.root().resolve("home/other")).toString();
        String why = daemon.command("why", other).ok().out();
        assertTrue(why.contains("second would take the directory"), why);
        assertTrue(why.contains("overlayfs would take the directory"), why);

        // Its bundle away, and there again: the pin is kept, with what was written meanwhile.
        daemon.command("gogo", "stop other.second").ok();
        Await.until(
                SOON,
                () -> state(profile).equals("orphaned"),
                () -> "not orphaned: " + daemon.logText());
        assertEquals("stopped", strategy("second").get("state").getAsString());
        assertEquals(1, strategy("second").get("pins").getAsInt());
        Files.writeString(profile.resolve("f"), "meanwhile");
        startBundle("second");
        Await.until(
                SOON,
                () -> state(profile).equals("pinned"),
                () -> "not taken over: " + daemon.logText());
        assertEquals(0, daemon.stop(), daemon::logText);
        assertEquals("meanwhile", Files.readString(profile.resolve("f")));
    }

    private String state(Path target) throws IOException {
        return daemon.pin(target).orElseThrow().get("state").getAsString();
    }

    @Test
    void aPinMovesToAnotherStrategyWithAllThatIsInIt() throws Exception {
        daemon.set("strategy.order", "overlayfs").start();
        install("io.rampipe.pin.overlayfs", "overlayfs", "second");
        Path file = Files.writeString(profile.resolve("f"), "old");
        Files.writeString(profile.resolve("gone"), "");
        daemon.command("pin", profile.toString()).ok();
        Files.writeString(file, "new");
        Files.move(file, profile.resolve("renamed"), StandardCopyOption.ATOMIC_MOVE);
        Files.delete(profile.resolve("gone"));
        fails("there is no pin strategy third", "migrate", profile.toString(), "third");
        fails("is pinned by overlayfs already", "migrate", profile.toString(), "overlayfs");
        fails(
                "is pinned as part of " + profile,
                "migrate",
                profile.resolve("renamed").toString(),
                "second");
        try (RandomAccessFile open =
                new RandomAccessFile(profile.resolve("renamed").toFile(), "rw")) {
            open.seek(3);
            fails("use", "migrate", profile.toString(), "second");
            assertEquals(
                    "overlayfs", daemon.pin(profile).orElseThrow().get("strategy").getAsString());
            open.writeBytes("er");
        }
        daemon.command("migrate", profile.toString(), "second").ok();
        JsonObject pin = daemon.pin(profile).orElseThrow();
        assertEquals("second", pin.get("strategy").getAsString());
        assertEquals("pinned", pin.get("state").getAsString());
        assertEquals("newer", Files.readString(profile.resolve("renamed")));
        Files.writeString(profile.resolve("later"), "later");
        daemon.command("unpin", profile.toString()).ok();
        assertEquals(0, daemon.stop(), daemon::logText);
        disk.unmount();
        disk.mount();
        assertEquals("newer", Files.readString(profile.resolve("renamed")));
        assertEquals("later", Files.readString(profile.resolve("later")));
        assertFalse(Files.exists(file) || Files.exists(profile.resolve("gone")));
    }
}
