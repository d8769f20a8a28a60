package io.rampipe.source.fanotify.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import io.rampipe.api.Access;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Target;
import io.rampipe.tck.Overlays;
import io.rampipe.tck.Recorder;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Pins are watched through the mount over their target. */
@NeedsMounts
@Timeout(value = 120, unit = TimeUnit.SECONDS)
class PinnedTest {
    private static final long ONE = 1001;
    private static final long TWO = 1002;

    private final Recorder seen = new Recorder();
    private ScratchDisk disk;
    private Overlays overlays;
    private FanotifySession session;
    private Path first;
    private Path second;

    @BeforeEach
    void open() throws IOException {
        disk = ScratchDisk.ext4(16);
        Path pool = disk.aside("pool");
        Command.run("mount", "-t", "tmpfs", "pool", pool.toString());
        overlays = new Overlays(pool);
        first = Files.createDirectories(disk.root().resolve("first/sub")).getParent();
        second = Files.createDirectory(disk.root().resolve("second"));
        session = new FanotifySession(false, false, true, System::nanoTime, Recorder.SILENT);
        session.watch(List.of(FilePath.of(disk.root().toString())));
    }

    @AfterEach
    void close() throws IOException {
        session.close();
        overlays.close();
        disk.close();
    }

    @Test
    void eventsCarryThePinsIdentity() throws Exception {
        overlays.mount("p1", first, Overlays.EXPORTABLE);
        overlays.mount("p2", second, Overlays.EXPORTABLE);
        session.pinned(overlays.pin("p1", first), ONE);
        session.pinned(overlays.pin("p2", second), TWO);
        assertEquals(3, session.stats().marks());

        write(first.resolve("f"));
        write(first.resolve("sub/f"));
        write(second.resolve("g"));
        Recorder.Event top =
                seen.until(session, "f", e -> e.path().equals(path(first.resolve("f"))));
        Recorder.Event below =
                seen.until(session, "sub/f", e -> e.path().equals(path(first.resolve("sub/f"))));
        Recorder.Event other = seen.until(session, Access.WRITE, "g");
        assertEquals(ONE, top.directory());
        assertEquals(ONE, below.directory());
        assertNotEquals(top.file(), below.file());
        assertEquals(TWO, other.directory());
        // The disk below saw nothing.
        assertTrue(
                seen.events.stream().allMatch(e -> e.directory() == ONE || e.directory() == TWO));
    }

    @Test
    void aWatchedPinCanBeUnmounted() throws Exception {
        overlays.mount("p1", first, Overlays.EXPORTABLE);
        Pin pin = overlays.pin("p1", first);
        session.pinned(pin, ONE);
        write(first.resolve("f"));
        seen.until(session, Access.WRITE, "f");
        write(first.resolve("queued"));
        overlays.unmount(first);
        session.unpinned(pin);
        session.unpinned(pin);
        assertEquals(1, session.stats().marks());
        write(first.resolve("ondisk"));
        seen.until(session, Access.WRITE, "ondisk");

        overlays.mount("p1", first, Overlays.EXPORTABLE);
        session.pinned(pin, ONE);
        session.pinned(pin, TWO);
        write(first.resolve("again"));
        assertEquals(TWO, seen.until(session, Access.WRITE, "again").directory());
        session.unpinned(pin);
        overlays.unmount(first);
    }

    @Test
    void overlaysWithTheSameIdAreToldApart() throws Exception {
        // What kernels before 6.6 do always: the id is that of the upper's file system.
        String likeOldKernels = Overlays.EXPORTABLE + ",uuid=null";
        try {
            overlays.mount("p1", first, likeOldKernels);
        } catch (IOException e) {
            abort("this kernel has no uuid=null: " + e.getMessage());
        }
        overlays.mount("p2", second, likeOldKernels);
        session.pinned(overlays.pin("p1", first), ONE);
        session.pinned(overlays.pin("p2", second), TWO);
        write(first.resolve("f"));
        write(second.resolve("g"));
        assertEquals(ONE, seen.until(session, Access.WRITE, "f").directory());
        assertEquals(TWO, seen.until(session, Access.WRITE, "g").directory());
        session.unpinned(overlays.pin("p2", second));
        overlays.unmount(second);
        session.unpinned(overlays.pin("p1", first));
        overlays.unmount(first);
    }

    @Test
    void aPinWithoutHandlesIsWatchedByItsMount() throws Exception {
        overlays.mount("p1", first, "index=off");
        Pin pin = overlays.pin("p1", first);
        session.pinned(pin, ONE);
        write(first.resolve("f"));
        write(first.resolve("g"));
        Recorder.Event f = seen.until(session, Access.WRITE, "f");
        Recorder.Event g = seen.until(session, Access.WRITE, "g");
        assertEquals(ONE, f.directory());
        assertNotEquals(f.file(), g.file());
        assertEquals(path(first.resolve("f")), f.path());
        session.unpinned(pin);
        overlays.unmount(first);
    }

    @Test
    void aFileThatIsPinnedAloneIsWatchedWhereItsOverlayIsHidden() throws Exception {
        write(first.resolve("alone"));
        seen.until(session, Access.WRITE, "alone");
        seen.events.clear();
        Path hidden = disk.aside("hidden");
        overlays.mount("p1", first, hidden, Overlays.EXPORTABLE);
        Command.run(
                "mount",
                "--bind",
                hidden.resolve("alone").toString(),
                first.resolve("alone").toString());
        session.pinned(
                overlays.pin(
                        "p1",
                        Target.file(FilePath.of(first.resolve("alone").toString())),
                        Map.of(Pin.HIDDEN, FilePath.of(hidden.toString()).raw())),
                ONE);
        write(first.resolve("alone"));
        Recorder.Event e = seen.until(session, Access.WRITE, "alone");
        assertEquals(ONE, e.directory());
        assertEquals(path(first.resolve("alone")), e.path());
        Command.run("umount", first.resolve("alone").toString());
    }

    @Test
    void aFileFromElsewhereIsWatchedByItsMount() throws Exception {
        Path file = Files.createFile(first.resolve("data"));
        Path source = Files.createFile(disk.aside("pool").resolve("data"));
        Files.createFile(disk.aside("pool").resolve("unrelated"));
        Command.run("mount", "--bind", source.toString(), file.toString());
        Pin pin = overlays.pin("p1", Target.file(FilePath.of(file.toString())), Map.of());
        session.pinned(pin, ONE);
        write(disk.aside("pool").resolve("unrelated"));
        write(file);
        Recorder.Event e = seen.until(session, Access.WRITE, "data");
        assertEquals(ONE, e.directory());
        assertEquals(path(file), e.path());
        assertFalse(seen.events.stream().anyMatch(x -> x.file() != e.file()));
        session.unpinned(pin);
        Command.run("umount", file.toString());
    }

    @Test
    void aRootCoveredByAPinIsWatchedBelowIt() throws Exception {
        overlays.mount("p1", first, Overlays.EXPORTABLE);
        try (FanotifySession late =
                new FanotifySession(false, false, true, System::nanoTime, Recorder.SILENT)) {
            late.watch(List.of(FilePath.of(first.toString())));
            write(second.resolve("f"));
            assertEquals(path(second.resolve("f")), seen.until(late, Access.WRITE, "f").path());
        }
    }

    @Test
    void aPathIsFoundThoughTheOnlyRootIsPinned() throws Exception {
        try (FanotifySession only =
                new FanotifySession(false, false, true, System::nanoTime, Recorder.SILENT)) {
            only.watch(List.of(FilePath.of(first.toString())));
            overlays.mount("p1", first, Overlays.EXPORTABLE);
            write(second.resolve("f"));
            assertEquals(path(second.resolve("f")), seen.until(only, Access.WRITE, "f").path());
        }
    }

    @Test
    void aPinThatIsNotThereIsNamed() {
        Path missing = disk.root().resolve("missing");
        IOException e =
                assertThrows(
                        IOException.class, () -> session.pinned(overlays.pin("p1", missing), ONE));
        assertTrue(e.getMessage().contains(missing.toString()), e.getMessage());
    }

    private static Optional<FilePath> path(Path path) {
        return Optional.of(FilePath.of(path.toString()));
    }

    private static void write(Path file) throws IOException {
        Command.shell("echo x >> '" + file + "'");
    }
}
