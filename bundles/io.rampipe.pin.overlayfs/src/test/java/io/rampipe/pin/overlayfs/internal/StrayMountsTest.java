package io.rampipe.pin.overlayfs.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy.Stray;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Records lost, mounts left. */
@NeedsMounts
class StrayMountsTest {
    private Bench bench;

    @BeforeEach
    void open() throws Exception {
        bench = new Bench();
    }

    @AfterEach
    void close() throws Exception {
        bench.close();
    }

    @Test
    void aDirectorysRecordIsMadeAnewFromItsMount() throws Exception {
        check(bench.pin(bench.directory("d"), "a"));
    }

    @Test
    void soItIsWhereverTheDirectoryIsByNow() throws Exception {
        Files.createDirectories(bench.disk.root().resolve("x"));
        Pin pin = bench.pin(bench.directory("x/d"), "a");
        Path moved = bench.disk.root().resolve("y");
        Files.move(bench.disk.root().resolve("x"), moved);
        Pin found = one().pin().orElseThrow();
        assertEquals(Bench.path(moved.resolve("d")), found.target().path());
        assertEquals(pin.attributes(), found.attributes());
    }

    @Test
    void aFilesRecordIsMadeAnewFromItsMounts() throws Exception {
        Path dir = bench.directory("d");
        check(bench.pinFile(dir.resolve("a")));
    }

    private void check(Pin pin) throws Exception {
        Pin found = one().pin().orElseThrow();
        assertEquals(pin.attributes(), found.attributes());
        assertEquals(pin.target(), found.target());
        assertEquals(Pin.Step.PINNED, found.step());
        assertEquals(List.of(), bench.strategy.strays(Bench.path(bench.pool), Set.of(pin.id())));
        bench.strategy.unmount(found);
        bench.strategy.discard(found);
        assertEquals(0, Bench.mounts());
    }

    @Test
    void othersMayCallTheirMountsWhatTheyLike() throws Exception {
        Path pool = bench.pool.resolve("abc");
        for (String d : List.of("upper", "work", "elsewhere", "work2")) {
            Files.createDirectories(pool.resolve(d));
        }
        Path lower = Files.createDirectories(bench.disk.root().resolve("lower"));
        Path point = Files.createDirectories(bench.disk.root().resolve("point"));
        Command.run("mount", "-t", "tmpfs", "rampipe:abc", point.toString());
        Path over = Files.createDirectories(point.resolve("over"));
        String options = "lowerdir=" + lower + ",upperdir=" + pool;
        for (String source : List.of("rampipe:abc", "rampipe:x/../y", "rampipe")) {
            Command.run(
                    "mount",
                    "-t",
                    "overlay",
                    "-o",
                    options + "/elsewhere,workdir=" + pool + "/work2",
                    source,
                    over.toString());
            assertEquals(List.of(), bench.strategy.strays(Bench.path(bench.pool), Set.of()));
            Command.run("umount", over.toString());
        }
        Command.run("umount", point.toString());
    }

    @Test
    void whatCannotBeReachedIsTold() throws Exception {
        Pin pin = bench.pin(bench.directory("d"), "a");
        Path root = bench.disk.root();
        Command.run("mount", "-t", "tmpfs", "cover", root.toString());
        try {
            Stray stray = one();
            assertTrue(stray.pin().isEmpty());
            assertTrue(stray.what().contains(pin.target().toString()), stray.what());
        } finally {
            Command.run("umount", root.toString());
        }
    }

    private Stray one() throws Exception {
        List<Stray> strays = bench.strategy.strays(Bench.path(bench.pool), Set.of());
        assertEquals(1, strays.size());
        return strays.get(0);
    }
}
