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
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The daemon that ships, where fanotify is not to be had, and beside one that has it. */
@NeedsMounts
@Timeout(240)
class InotifyIT {
    private static final Duration SOON = Duration.ofSeconds(40);
    private static final String FILTER = Path.of("without-fanotify").toAbsolutePath().toString();

    private ScratchDisk disk;
    private Path profile;

    @BeforeEach
    void setUp() throws Exception {
        disk = ScratchDisk.ext4(96);
        profile = Files.createDirectories(disk.root().resolve("home/profile"));
    }

    @AfterEach
    void tearDown() {
        disk.close();
    }

    private Daemon daemon(String name) throws IOException {
        return new Daemon(disk.aside(name))
                .set("watch.directories", disk.root().toString())
                .set("pool.size", "64M")
                .set("rate.half_life", "2s")
                .set("pin.min_time", "1s")
                .set("checkpoint.interval", "1s")
                .set("stop.timeout", "5s");
    }

    @Test
    void aDaemonWithoutFanotifySaysSoAndPinsAllTheSame() throws Exception {
        Path hot = profile.resolve("hot.txt");
        Files.writeString(profile.resolve("cold.txt"), "cold\n");
        StringBuilder expected = new StringBuilder();
        try (Daemon daemon = daemon("daemon").through(FILTER).start()) {
            pinned(daemon, hot, expected);
            assertEquals(
                    1,
                    daemon.logText()
                            .lines()
                            .filter(
                                    l ->
                                            l.contains("event source: inotify; not fanotify:")
                                                    && l.contains("CAP_SYS_ADMIN"))
                            .count(),
                    daemon::logText);
            Files.createDirectories(profile.resolve("a/b"));
            for (int i = 0; i < 100; i++) {
                append(hot, expected);
            }
            Files.writeString(profile.resolve("a/b/new.txt"), "new\n");
            // What the daemon itself writes to disk must not keep it hot.
            Await.until(SOON, () -> !daemon.pinned(profile), daemon::logText);
            assertEquals(expected.toString(), Files.readString(hot));
            // And what programs do on the disk must make it hot again.
            pinned(daemon, hot, expected);
            Files.writeString(profile.resolve("a/b/last.txt"), "last\n");
            assertEquals(0, daemon.stop(), daemon::logText);
        }
        disk.unmount();
        disk.mount();
        assertEquals(expected.toString(), Files.readString(hot));
        assertEquals("new\n", Files.readString(profile.resolve("a/b/new.txt")));
        assertEquals("last\n", Files.readString(profile.resolve("a/b/last.txt")));
    }

    @Test
    void aNextDaemonWatchesThePinsOfAKilledOne() throws Exception {
        Path hot = profile.resolve("hot.txt");
        StringBuilder expected = new StringBuilder();
        try (Daemon daemon = daemon("daemon").through(FILTER).start()) {
            pinned(daemon, hot, expected);
            daemon.kill();
            append(hot, expected);
            daemon.start();
            long end = System.nanoTime() + Duration.ofSeconds(6).toNanos();
            Await.until(
                    SOON,
                    () -> {
                        append(hot, expected);
                        return System.nanoTime() - end > 0;
                    },
                    daemon::logText);
            // Three half-lives: without its events it would be cold.
            assertTrue(daemon.pinned(profile), daemon::logText);
            Await.until(SOON, () -> !daemon.pinned(profile), daemon::logText);
            assertEquals(0, daemon.stop(), daemon::logText);
        }
        assertEquals(expected.toString(), Files.readString(hot));
    }

    @Test
    void inAUserNamespaceWithFewWatchesItShowsWhatIsHotAndWhatIsNotWatched() throws Exception {
        // One level below the hot one: those above are watched first.
        for (int i = 0; i < 40; i++) {
            Files.createDirectories(disk.root().resolve("home/many/" + i));
        }
        Path hot = profile.resolve("hot.txt");
        // A limit of the namespace's own: the machine's is left alone.
        try (Daemon daemon =
                daemon("daemon")
                        .set("memory.reserve", "1T")
                        .through(
                                "unshare",
                                "--user",
                                "--map-root-user",
                                "--mount",
                                "/bin/sh",
                                "-ec",
                                "echo 12 > /proc/sys/user/max_inotify_watches; exec \"$@\"",
                                "sh")
                        .start()) {
            Await.until(
                    SOON,
                    () -> {
                        append(hot, new StringBuilder());
                        return rates(daemon).containsKey(profile.toString());
                    },
                    daemon::logText);
            String log = daemon.logText();
            assertTrue(log.contains("event source: inotify; not fanotify:"), log);
            assertTrue(log.contains("fs.inotify.max_user_watches"), log);
            String table = daemon.command("strategies").ok().out();
            assertTrue(table.contains("directories not watched"), table);
        }
    }

    @Test
    void bothSourcesFindTheSameHotSet() throws Exception {
        // Never pinned, so that each daemon sees all of it.
        try (Daemon fanotify =
                        daemon("one").set("memory.reserve", "1T").set("rate.half_life", "10s");
                Daemon inotify =
                        daemon("two")
                                .set("memory.reserve", "1T")
                                .set("rate.half_life", "10s")
                                .set("source.use", "inotify")) {
            fanotify.start();
            inotify.start();
            Process load =
                    new ProcessBuilder(
                                    "/bin/sh",
                                    "-c",
                                    """
                                    cd "$0"
                                    mkdir -p db log app/cache/new few
                                    n=0
                                    while :; do
                                        n=$((n + 1))
                                        echo $n >> db/data; echo $n >> db/journal
                                        [ $((n % 2)) = 0 ] || echo $n >> log/a.log
                                        echo $n > app/fresh && mv app/fresh app/prefs
                                        echo $n > app/cache/new/$((n % 7))
                                        [ $((n % 40)) != 0 ] || echo $n >> few/often-not
                                        sleep 0.1
                                    done
                                    """,
                                    disk.root().toString())
                            .inheritIO()
                            .start();
            try {
                Await.until(
                        Duration.ofSeconds(60),
                        () -> agree(rates(fanotify), rates(inotify)),
                        () ->
                                rates(fanotify)
                                        + "\n"
                                        + rates(inotify)
                                        + "\n"
                                        + fanotify.logText()
                                        + inotify.logText());
            } finally {
                load.destroy();
                load.waitFor();
            }
            assertFalse(fanotify.logText().contains("inotify"), fanotify::logText);
            assertEquals(0, fanotify.stop());
            assertEquals(0, inotify.stop());
        }
    }

    /** The rows of the table in docs/event-sources.md that programs can notice. */
    @Test
    void theyDifferWhereTheDocumentSaysSo() throws Exception {
        Path mapped = Files.createDirectories(disk.root().resolve("mapped")).resolve("data");
        Path gone = Files.createDirectories(disk.root().resolve("gone")).resolve("data");
        Path before = Files.createDirectories(disk.root().resolve("outer/before/inner"));
        Files.write(mapped, new byte[4096]);
        try (FileChannel map =
                        FileChannel.open(
                                mapped, StandardOpenOption.READ, StandardOpenOption.WRITE);
                FileChannel deleted =
                        FileChannel.open(
                                gone, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
                Daemon fanotify =
                        daemon("one").set("memory.reserve", "1T").set("rate.half_life", "10s");
                Daemon inotify =
                        daemon("two")
                                .set("memory.reserve", "1T")
                                .set("rate.half_life", "10s")
                                .set("source.use", "inotify")) {
            MappedByteBuffer memory = map.map(FileChannel.MapMode.READ_WRITE, 0, 4096);
            Files.delete(gone);
            fanotify.start();
            inotify.start();
            Path after = disk.root().resolve("outer/after");
            Files.writeString(before.resolve("data"), "x");
            Files.move(before.getParent(), after, StandardCopyOption.ATOMIC_MOVE);
            int[] n = {0};
            Await.until(
                    Duration.ofSeconds(60),
                    () -> {
                        for (int i = 0; i < 20; i++) {
                            memory.put(n[0] % 4096, (byte) n[0]);
                            memory.force();
                            deleted.write(ByteBuffer.wrap(new byte[] {1}), n[0]++);
                            append(after.resolve("inner/data"), new StringBuilder());
                            // The pace of the load.
                            Thread.sleep(20);
                        }
                        Map<String, Double> one = rates(fanotify);
                        Map<String, Double> two = rates(inotify);
                        String moved = after.resolve("inner/data").toString();
                        return n[0] > 200
                                && rate(one, moved) >= 2
                                && rate(two, moved) >= 2
                                && rate(one, gone.getParent().toString()) >= 2;
                    },
                    () -> rates(fanotify) + "\n" + rates(inotify));
            for (Daemon daemon : new Daemon[] {fanotify, inotify}) {
                assertTrue(rate(rates(daemon), mapped.toString()) < 1, daemon::logText);
            }
            assertTrue(rate(rates(inotify), gone.getParent().toString()) < 1);
            assertEquals(0, fanotify.stop());
            assertEquals(0, inotify.stop());
        }
    }

    private static double rate(Map<String, Double> rates, String path) {
        return rates.getOrDefault(path, 0.0);
    }

    /** What is hot for one is hot for the other, and what must be hot is. */
    private boolean agree(Map<String, Double> one, Map<String, Double> two) {
        Set<String> hot = new TreeSet<>();
        one.forEach((path, rate) -> hot.addAll(rate >= 1 ? Set.of(path) : Set.of()));
        two.forEach((path, rate) -> hot.addAll(rate >= 1 ? Set.of(path) : Set.of()));
        for (String name :
                new String[] {"db", "db/data", "db/journal", "log", "app", "app/prefs"}) {
            if (!hot.contains(disk.root().resolve(name).toString())) {
                return false;
            }
        }
        return !hot.contains(disk.root().resolve("few").toString())
                && hot.stream()
                        .allMatch(
                                path -> {
                                    double a = one.getOrDefault(path, 0.0);
                                    double b = two.getOrDefault(path, 0.0);
                                    // fanotify samples what is busy, and tells processes apart.
                                    return Math.min(a, b) >= 0.4 * Math.max(a, b);
                                });
    }

    private static Map<String, Double> rates(Daemon daemon) {
        try {
            Map<String, Double> rates = new TreeMap<>();
            for (JsonElement each : top(daemon)) {
                JsonObject entry = each.getAsJsonObject();
                rates.put(entry.get("path").getAsString(), entry.get("rate").getAsDouble());
            }
            return rates;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static Iterable<JsonElement> top(Daemon daemon) throws IOException {
        return daemon.command("top", "--json").ok().json().getAsJsonArray("files");
    }

    private void pinned(Daemon daemon, Path hot, StringBuilder expected) throws Exception {
        Await.until(
                SOON,
                () -> {
                    append(hot, expected);
                    return daemon.pinned(profile);
                },
                daemon::logText);
    }

    private static void append(Path file, StringBuilder expected) throws IOException {
        String line = "line " + expected.length() + "\n";
        Files.writeString(file, line, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        expected.append(line);
    }
}
