package io.rampipe.source.inotify.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Access;
import io.rampipe.api.EventSource;
import io.rampipe.api.FilePath;
import io.rampipe.tck.EngineLoop;
import io.rampipe.tck.EventSourceContract;
import io.rampipe.tck.Recorder;
import io.rampipe.testkit.Command;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

/** Directories that come, go and move, and the limits. */
class WatchingTest extends EventSourceContract {
    @Override
    protected EventSource.Session open(boolean opens, boolean reads) throws IOException {
        return open(opens, reads, 10_000);
    }

    private static InotifySession open(boolean opens, boolean reads, int most) throws IOException {
        return new InotifySession(opens, reads, most, System::nanoTime, Recorder.SILENT);
    }

    @Test
    void whatIsBelowIsWatchedFromTheStart() throws Exception {
        shell("mkdir -p a/b/c d; echo x > a/b/c/old");
        try (EventSource.Session fresh = open(false, false)) {
            fresh.watch(List.of(FilePath.of(root.toString())));
            assertEquals(5, fresh.stats().marks());
            Recorder later = new Recorder();
            shell("echo x > a/b/c/f");
            later.until(fresh, Access.WRITE, "f");
            assertFalse(later.saw("old"), "nobody has used it");
        }
    }

    @Test
    void directoriesAreWatchedAsSoonAsTheyAreMade() throws Exception {
        shell("mkdir -p a/b/c; echo x > a/b/c/f");
        Recorder.Event e = seen.until(session, Access.APPEAR, "f");
        assertEquals(Optional.of(path("a/b/c/f")), e.path());
        shell("echo y >> a/b/c/f");
        Recorder.Event w = seen.until(session, Access.WRITE, "f");
        assertEquals(e.file(), w.file());
        shell("rm -r a");
        EngineLoop.run(session, seen, Duration.ofSeconds(10), () -> session.stats().marks() == 1);
        assertEquals(1, session.stats().marks());
    }

    @Test
    void aDirectoryThatIsMovedAwayIsNoLongerWatched() throws Exception {
        Command.shell("mkdir -p " + root + "-out");
        shell("mkdir -p a/b");
        seen.until(session, Access.APPEAR, "b");
        shell("mv a " + root + "-out/a; echo x > " + root + "-out/a/b/f; echo x > g");
        seen.until(session, Access.WRITE, "g");
        assertTrue(
                EngineLoop.run(
                        session, seen, Duration.ofSeconds(10), () -> session.stats().marks() == 1),
                () -> session.stats().toString());
        shell("echo x > " + root + "-out/a/b/later; mv " + root + "-out/a back; echo x > h");
        seen.until(session, Access.WRITE, "h");
        assertFalse(seen.saw("later"), "what is moved here brings no accesses along");
        shell("echo x > back/b/i");
        assertEquals(Optional.of(path("back/b/i")), seen.until(session, Access.WRITE, "i").path());
    }

    @Test
    void filesOfADirectoryThatTakesAnothersNameAreToldApart() throws Exception {
        shell("mkdir -p a b; echo x > a/f; echo x > b/f");
        seen.until(session, Access.WRITE, "f");
        seen.events.clear();
        shell("echo x > a/f");
        long first = seen.until(session, Access.WRITE, "f").file();
        seen.events.clear();
        shell("mv a old; mv b a; echo x > a/f");
        Recorder.Event second = seen.until(session, Access.WRITE, "f");
        assertTrue(first != second.file());
        assertEquals(Optional.of(path("a/f")), second.path());
    }

    @Test
    void afterAnOverflowEverythingIsLookedForAgain() throws Exception {
        shell("mkdir gone moved");
        seen.until(session, Access.APPEAR, "moved");
        // More than the queue holds; what happens to directories behind that is lost.
        shell("seq 1 20000 | xargs touch; mkdir -p new/er; mv moved new/place; rmdir gone");
        assertTrue(EngineLoop.run(session, seen, Duration.ofSeconds(20), () -> seen.overflows > 0));
        assertTrue(
                EngineLoop.run(
                        session,
                        seen,
                        Duration.ofSeconds(20),
                        () -> {
                            shell("echo x >> new/er/f; echo x >> new/place/g");
                            return seen.events.stream()
                                            .anyMatch(
                                                    e ->
                                                            e.path()
                                                                    .equals(
                                                                            Optional.of(
                                                                                    path(
                                                                                            "new/er/f"))))
                                    && seen.events.stream()
                                            .anyMatch(
                                                    e ->
                                                            e.path()
                                                                    .equals(
                                                                            Optional.of(
                                                                                    path(
                                                                                            "new/place/g"))));
                        }),
                () -> session.stats().toString());
        assertEquals(4, session.stats().marks());
    }

    @Test
    void withTooManyDirectoriesTheOuterOnesAreWatchedAndTheRestIsCounted() throws Exception {
        shell("mkdir -p a/b/c d/e/f; echo x > d/old");
        try (EventSource.Session few = open(false, false, 4)) {
            few.watch(List.of(FilePath.of(root.toString())));
            assertEquals(4, few.stats().marks());
            assertTrue(few.stats().mode().contains("not watched"), () -> few.stats().toString());
            Recorder later = new Recorder();
            shell("echo x > d/g");
            later.until(few, Access.WRITE, "g");
        }
    }

    @Test
    void aWatchedDirectoryMayVanishAndComeBack() throws Exception {
        shell("mkdir -p top/a");
        try (EventSource.Session other = open(false, false)) {
            other.watch(List.of(path("top")));
            shell("rm -r top");
            Recorder later = new Recorder();
            EngineLoop.run(other, later, Duration.ofSeconds(10), () -> other.stats().marks() == 0);
            shell("mkdir -p top/b");
            assertTrue(
                    EngineLoop.run(
                            other,
                            later,
                            Duration.ofSeconds(20),
                            () -> {
                                shell("echo x >> top/b/f");
                                return later.saw("f");
                            }));
        }
    }

    @Test
    void aFileThatIsWrittenAllTheTimeIsToldOnceARound() throws Exception {
        shell("i=0; while [ $i -lt 2000 ]; do echo x >> f; echo x >> g; i=$((i+1)); done");
        session.drain(seen);
        assertEquals(2, seen.events.size());
        assertTrue(session.stats().events() > 2000);
    }
}
