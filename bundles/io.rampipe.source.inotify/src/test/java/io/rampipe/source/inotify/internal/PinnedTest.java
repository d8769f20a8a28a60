package io.rampipe.source.inotify.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Access;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Target;
import io.rampipe.tck.EngineLoop;
import io.rampipe.tck.Overlays;
import io.rampipe.tck.Recorder;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Pins are watched through the mount over their target, and the disk below them is not. */
@NeedsMounts
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class PinnedTest {
    private static final long ONE = 1001;
    private static final Duration LIMIT = Duration.ofSeconds(20);

    private final Recorder seen = new Recorder();
    private ScratchDisk disk;
    private Overlays overlays;
    private InotifySession session;
    private Path first;
    private Path below;

    @BeforeEach
    void open() throws IOException {
        disk = ScratchDisk.ext4(16);
        Path pool = disk.aside("pool");
        Command.run("mount", "-t", "tmpfs", "pool", pool.toString());
        overlays = new Overlays(pool);
        first = Files.createDirectories(disk.root().resolve("first/sub")).getParent();
        // The disk once more: what the daemon does below a pin comes this way.
        below = disk.aside("below");
        Command.run("mount", "--bind", disk.root().toString(), below.toString());
        session = new InotifySession(false, false, 1000, System::nanoTime, Recorder.SILENT);
        session.watch(List.of(FilePath.of(disk.root().toString())));
    }

    @AfterEach
    void close() throws IOException {
        session.close();
        overlays.close();
        disk.close();
    }

    @Test
    void eventsCarryThePinsIdentityAndTheDiskBelowIsSilent() throws Exception {
        overlays.mount("p1", first, Overlays.EXPORTABLE);
        session.pinned(overlays.pin("p1", first), ONE);
        write(first.resolve("f"));
        write(first.resolve("sub/f"));
        Recorder.Event top =
                seen.until(session, "f", e -> e.path().equals(path(first.resolve("f"))));
        Recorder.Event deep =
                seen.until(session, "sub/f", e -> e.path().equals(path(first.resolve("sub/f"))));
        assertEquals(ONE, top.directory());
        assertEquals(ONE, deep.directory());
        assertNotEquals(top.file(), deep.file());

        seen.events.clear();
        write(below.resolve("first/checkpoint"));
        write(below.resolve("first/sub/checkpoint"));
        write(first.resolve("last"));
        seen.until(session, Access.WRITE, "last");
        assertFalse(seen.saw("checkpoint"));
    }

    @Test
    void whenItIsUnmountedTheDiskIsWatchedAgain() throws Exception {
        overlays.mount("p1", first, Overlays.EXPORTABLE);
        Pin pin = overlays.pin("p1", first);
        session.pinned(pin, ONE);
        write(first.resolve("f"));
        seen.until(session, Access.WRITE, "f");
        session.unpinned(pin);
        session.unpinned(pin);
        overlays.unmount(first);
        assertTrue(
                EngineLoop.run(
                        session,
                        seen,
                        LIMIT,
                        () -> {
                            write(first.resolve("sub/ondisk"));
                            return seen.saw("ondisk");
                        }));
        // And pinned again.
        overlays.mount("p1", first, Overlays.EXPORTABLE);
        session.pinned(pin, ONE);
        write(first.resolve("again"));
        assertEquals(ONE, seen.until(session, Access.WRITE, "again").directory());
    }

    @Test
    void aWatchedPinCanBeUnmounted() throws Exception {
        overlays.mount("p1", first, Overlays.EXPORTABLE);
        session.pinned(overlays.pin("p1", first), ONE);
        write(first.resolve("f"));
        overlays.unmount(first);
        session.unpinned(overlays.pin("p1", first));
        assertTrue(
                EngineLoop.run(
                        session,
                        seen,
                        LIMIT,
                        () -> {
                            write(first.resolve("ondisk"));
                            return seen.saw("ondisk");
                        }));
    }

    @Test
    void aSinglePinnedFileIsWatchedAndItsDiskIsNot() throws Exception {
        Path file = first.resolve("f");
        Files.writeString(file, "x");
        Path elsewhere = disk.aside("pool").resolve("f");
        Files.writeString(elsewhere, "x");
        Command.run("mount", "--bind", elsewhere.toString(), file.toString());
        Pin pin = overlays.pin("p1", Target.file(FilePath.of(file.toString())), Map.of());
        session.drain(seen);
        session.pinned(pin, ONE);
        seen.events.clear();
        write(file);
        write(below.resolve("first/f"));
        write(first.resolve("other"));
        seen.until(session, Access.WRITE, "other");
        List<Recorder.Event> of =
                seen.events.stream().filter(e -> e.name().equals(FilePath.of("f"))).toList();
        assertEquals(1, of.size(), of::toString);
        assertEquals(ONE, of.get(0).directory());
        assertEquals(path(file), of.get(0).path());
        Command.run("umount", file.toString());
    }

    @Test
    void aSessionThatIsOpenedLaterFindsPinsAsTheyAre() throws Exception {
        overlays.mount("p1", first, Overlays.EXPORTABLE);
        try (InotifySession later =
                new InotifySession(false, false, 1000, System::nanoTime, Recorder.SILENT)) {
            Recorder all = new Recorder();
            later.watch(List.of(FilePath.of(first.toString())));
            Pin pin = overlays.pin("p1", first);
            later.pinned(pin, ONE);
            write(first.resolve("sub/f"));
            assertEquals(ONE, all.until(later, Access.WRITE, "f").directory());
            later.unpinned(pin);
            overlays.unmount(first);
            assertTrue(
                    EngineLoop.run(
                            later,
                            all,
                            LIMIT,
                            () -> {
                                write(first.resolve("sub/ondisk"));
                                return all.saw("ondisk");
                            }));
        }
    }

    private static Optional<FilePath> path(Path path) {
        return Optional.of(FilePath.of(path.toString()));
    }

    private static void write(Path file) throws IOException {
        Command.shell("echo x >> " + file);
    }
}
