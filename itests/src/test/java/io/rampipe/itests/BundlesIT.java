package io.rampipe.itests;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.api.RamPipe;
import io.rampipe.api.RamPipe.PinStatus;
import io.rampipe.api.RamPipe.StrategyStatus;
import io.rampipe.testkit.NeedsMounts;
import java.io.File;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;
import javax.inject.Inject;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.osgi.framework.Bundle;
import org.osgi.framework.BundleContext;
import org.osgi.framework.startlevel.BundleStartLevel;

/**
 * The bundle of each strategy stopped, updated, uninstalled and installed again while a program
 * writes to what is pinned: no pin lost or doubled, each state shown as it is, and all data on disk
 * at the end.
 */
@NeedsMounts
@ExtendWith(RamPipeContainer.class)
public class BundlesIT {
    private static final long LIMIT_NANOS = TimeUnit.SECONDS.toNanos(90);
    private static final int POLL_MILLIS = 10;

    @Inject private BundleContext context;
    @Inject private RamPipe engine;

    private Path disk;
    private Process load;
    private final List<Path> targets = new ArrayList<>();

    @Test
    public void eachStrategyGoesAndComesWhileItsPinsAreDirty() throws Exception {
        disk = makeDisk();
        try {
            configure("rate.half_life = 5s\ncheckpoint.interval = 1s\n");
            for (String name : new String[] {"one", "two", "three"}) {
                Path target = disk.resolve("root/home/" + name);
                Files.createDirectories(target);
                targets.add(target);
            }
            load = startLoad();
            until("not all pinned", () -> pinned("pinned|syncing"));
            for (String[] s :
                    new String[][] {
                        {"source", "inotify", "io.rampipe.source.inotify"},
                        {"source", "fanotify", "io.rampipe.source.fanotify"},
                        {"rate", "window", "io.rampipe.rate.window"},
                        {"rate", "sketch", "io.rampipe.rate.sketch"},
                        {"rate", "ema", "io.rampipe.rate.ema"},
                        {"pin", "dmsnapshot", "io.rampipe.pin.dmsnapshot"},
                        {"pin", "overlayfs", "io.rampipe.pin.overlayfs"},
                        {"sync", "journal", "io.rampipe.sync.journal"}
                    }) {
                goesAndComes(s[0], s[1], s[2]);
            }
            endLoad();
            for (Path target : targets) {
                engine.unpin(FilePath.of(target.toString()));
            }
            assertEquals(List.of(), engine.pins());
            sh("umount " + disk + "/root; mount -o loop " + disk + "/image " + disk + "/root");
            for (Path target : targets) {
                Path model = disk.resolve("model").resolve(target.getFileName());
                assertEquals(
                        -1, Files.mismatch(model, target.resolve("data")), target + " differs");
            }
        } finally {
            if (load != null) {
                load.destroyForcibly();
            }
            for (PinStatus pin : engine.pins()) {
                engine.unpin(pin.target().path());
            }
            configure("");
            sh("umount " + disk + "/root; rm -rf " + disk);
        }
    }

    /** Named by {@code used}, it is what all pins depend on, if it is of their kind at all. */
    private void goesAndComes(String kind, String name, String symbolicName) throws Exception {
        boolean kept = name.equals("overlayfs") || name.equals("journal");
        Bundle bundle = bundle(symbolicName);
        String location = bundle.getLocation();

        bundle.stop();
        shown(kind, name, "stopped", kept ? "orphaned" : "pinned|syncing");
        written();
        bundle.start();
        back(kind, name);

        try (InputStream jar = java.net.URI.create(location).toURL().openStream()) {
            bundle.update(jar);
        }
        back(kind, name);

        int level = bundle.adapt(BundleStartLevel.class).getStartLevel();
        bundle.uninstall();
        boolean named = kept || name.equals("ema");
        shown(kind, name, named ? "missing" : "", kept ? "orphaned" : "pinned|syncing");
        written();
        Bundle again = context.installBundle(location);
        again.adapt(BundleStartLevel.class).setStartLevel(level);
        again.start();
        back(kind, name);
        written();
    }

    private void back(String kind, String name) throws Exception {
        String state = name.equals("dmsnapshot") ? "active|unusable" : "active";
        shown(kind, name, state, "pinned|syncing");
    }

    /**
     * @param state of the strategy; empty if it is not to be listed at all
     * @param pins states of all pins, of which there is one for each target
     */
    private void shown(String kind, String name, String state, String pins) throws Exception {
        until(
                kind + " " + name + " is not shown as " + state + ", or pins not as " + pins,
                () -> {
                    List<String> states =
                            engine.strategies().stream()
                                    .filter(s -> s.kind().equals(kind) && s.name().equals(name))
                                    .map(StrategyStatus::state)
                                    .toList();
                    boolean right =
                            state.isEmpty()
                                    ? states.isEmpty()
                                    : states.size() == 1 && states.get(0).matches(state);
                    return right && pinned(pins);
                });
        assertTrue(load.isAlive(), "a program got an error");
    }

    /** Each target once, and nothing else. */
    private boolean pinned(String state) {
        List<PinStatus> all = engine.pins();
        List<String> paths = all.stream().map(p -> p.target().path().toString()).sorted().toList();
        List<String> expected = targets.stream().map(Path::toString).sorted().toList();
        assertTrue(
                expected.containsAll(paths) && paths.stream().distinct().count() == paths.size(),
                () -> "pins: " + all);
        return paths.equals(expected) && all.stream().allMatch(p -> p.state().matches(state));
    }

    /** Programs go on whatever is away. */
    private void written() throws Exception {
        Path file = targets.get(0).resolve("data");
        long size = Files.size(file);
        until("nothing is written", () -> Files.size(file) > size + 100);
        assertTrue(load.isAlive(), "a program got an error");
    }

    /** Another process than RamPipe's, whose own accesses do not count; ends when it is told. */
    private Process startLoad() throws Exception {
        Files.createDirectory(disk.resolve("model"));
        String script =
                """
                cd "$0"
                n=0
                while [ ! -e stop ]; do
                    n=$((n + 1))
                    for name; do
                        echo "line $n" >> "root/home/$name/data"
                        echo "line $n" >> "model/$name"
                    done
                    sleep 0.01
                done
                """;
        List<String> command = new ArrayList<>(List.of("/bin/sh", "-euc", script, disk.toString()));
        targets.forEach(t -> command.add(t.getFileName().toString()));
        return new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectInput(new File("/dev/null"))
                .redirectOutput(disk.resolve("load.log").toFile())
                .start();
    }

    private void endLoad() throws Exception {
        Files.createFile(disk.resolve("stop"));
        assertTrue(load.waitFor(LIMIT_NANOS, TimeUnit.NANOSECONDS), "the load does not end");
        assertEquals(0, load.exitValue(), () -> "a program got an error");
    }

    private Bundle bundle(String symbolicName) {
        return Arrays.stream(context.getBundles())
                .filter(b -> symbolicName.equals(b.getSymbolicName()))
                .findFirst()
                .orElseThrow(() -> new AssertionError("no bundle " + symbolicName));
    }

    private Path makeDisk() throws Exception {
        Path where = Files.isDirectory(Path.of("/dev/shm")) ? Path.of("/dev/shm") : Path.of("/tmp");
        Path home = Files.createTempDirectory(where, "rampipe-disk-");
        Files.createDirectory(home.resolve("root"));
        sh(
                "cd "
                        + home
                        + "; truncate -s 96M image; mkfs.ext4 -q -F image; mount -o loop image root");
        return home;
    }

    /** The configuration that FileInstall of the container looks at. */
    private void configure(String more) throws Exception {
        Path file = Path.of(context.getProperty("rampipe.conf"), "rampipe.cfg");
        Path fresh = file.resolveSibling("rampipe.new");
        String watch = more.isEmpty() ? "" : "watch.directories = " + disk.resolve("root") + "\n";
        Files.writeString(fresh, watch + "pool.size = 64M\n" + more);
        Files.move(fresh, file, java.nio.file.StandardCopyOption.ATOMIC_MOVE);
        until(
                "not in force",
                () -> engine.status().state().equals(more.isEmpty() ? "observing" : "watching"));
        assertFalse(engine.status().problems().stream().anyMatch(p -> p.contains("not watched")));
    }

    private static void until(String otherwise, Callable<Boolean> condition) throws Exception {
        long end = System.nanoTime() + LIMIT_NANOS;
        while (!condition.call()) {
            assertTrue(System.nanoTime() - end < 0, otherwise);
            Thread.sleep(POLL_MILLIS);
        }
    }

    private static void sh(String script) throws Exception {
        Process p =
                new ProcessBuilder("/bin/sh", "-ec", script)
                        .redirectErrorStream(true)
                        .redirectInput(new File("/dev/null"))
                        .start();
        String out = new String(p.getInputStream().readAllBytes());
        assertEquals(0, p.waitFor(), out);
    }
}
