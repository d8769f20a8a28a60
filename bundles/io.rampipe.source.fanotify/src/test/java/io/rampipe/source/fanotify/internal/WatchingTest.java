package io.rampipe.source.fanotify.internal;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.Access;
import io.rampipe.api.EventSource;
import io.rampipe.tck.EventSourceContract;
import io.rampipe.tck.Recorder;
import java.io.IOException;
import java.nio.file.Files;
import org.junit.jupiter.api.Test;

/** What other processes do on a real disk, as the source reports it. */
class WatchingTest extends EventSourceContract {
    @Override
    protected EventSource.Session open(boolean opens, boolean reads) throws IOException {
        return new FanotifySession(opens, reads, true, System::nanoTime, Recorder.SILENT);
    }

    @Test
    void ownAccessesAreCountedAndDropped() throws Exception {
        Files.writeString(root.resolve("mine"), "x");
        shell("echo a > theirs");
        seen.until(session, Access.WRITE, "theirs");
        assertFalse(seen.saw("mine"));
        assertTrue(session.stats().own() > 0);
        assertTrue(session.stats().events() > session.stats().own());
    }

    @Test
    void ignoredDirectoriesAreSilentUntilADirectoryMoves() throws Exception {
        shell("mkdir d; echo a > d/first");
        session.ignore(seen.until(session, Access.WRITE, "first").directory());
        shell("echo a > d/second; echo a > shown");
        seen.until(session, Access.WRITE, "shown");
        assertFalse(seen.saw("second"));

        shell("mv d e");
        seen.until(session, Access.APPEAR, "e");
        shell("echo a > e/third");
        seen.until(session, Access.WRITE, "third");
    }

    @Test
    void aMoveInsideAnIgnoredDirectoryIsNotMissed() throws Exception {
        shell("mkdir -p d/sub; echo a > d/first; echo a > d/sub/first");
        session.ignore(seen.until(session, Access.WRITE, "first").directory());
        seen.events.clear();
        shell("mv d/sub moved; echo a > d/second");
        seen.until(session, Access.WRITE, "second");
    }
}
