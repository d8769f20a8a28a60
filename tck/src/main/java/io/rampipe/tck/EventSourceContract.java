package io.rampipe.tck;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import io.rampipe.api.Access;
import io.rampipe.api.AccessEvent;
import io.rampipe.api.AccessListener;
import io.rampipe.api.EventSource;
import io.rampipe.api.FilePath;
import io.rampipe.testkit.Await;
import io.rampipe.testkit.Command;
import io.rampipe.testkit.NeedsMounts;
import io.rampipe.testkit.ScratchDisk;
import java.io.File;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * What every event source has to report of what other processes do on a real disk. Extend it, and
 * say how a session is opened.
 */
@NeedsMounts
@Timeout(value = 120, unit = TimeUnit.SECONDS)
public abstract class EventSourceContract {
    private static ScratchDisk disk;

    /** What {@link #session} has handed over. */
    protected final Recorder seen = new Recorder();

    /** Watches {@link #root}. */
    protected EventSource.Session session;

    /** On a disk that is used by all tests; each has a directory of its own. */
    protected Path root;

    /** Opens a session that is asked for opens and reads as well, or not. */
    protected abstract EventSource.Session open(boolean opens, boolean reads) throws IOException;

    @BeforeAll
    static void makeDisk() throws IOException {
        disk = ScratchDisk.make(96, "mkfs.ext4", "-q", "-F", "-N", "60000");
    }

    @AfterAll
    static void removeDisk() {
        disk.close();
    }

    @BeforeEach
    void open() throws IOException {
        root = Files.createTempDirectory(disk.root(), "test");
        session = open(false, false);
        session.watch(List.of(FilePath.of(root.toString())));
    }

    @AfterEach
    void close() {
        session.close();
    }

    @Test
    void everyKindOfEventIsReported() throws Exception {
        shell("echo a > f");
        Recorder.Event appeared = seen.until(session, Access.APPEAR, "f");
        Recorder.Event written = seen.until(session, Access.WRITE, "f");
        seen.until(session, Access.CLOSE_WRITE, "f");
        assertEquals(appeared.file(), written.file());
        assertEquals(appeared.directory(), written.directory());
        assertNotEquals(0, written.file());
        assertEquals(1, written.scale());
        assertFalse(written.has(Access.OPEN | Access.READ | Access.DIRECTORY));
        assertEquals(Optional.of(path("f")), written.path());

        shell("mv f g");
        seen.until(session, Access.DISAPPEAR, "f");
        Recorder.Event moved = seen.until(session, Access.APPEAR, "g");
        assertNotEquals(written.file(), moved.file());
        assertEquals(written.directory(), moved.directory());

        shell("rm g");
        seen.until(session, Access.DISAPPEAR, "g");

        shell("mkdir d");
        assertTrue(seen.until(session, Access.APPEAR, "d").has(Access.DIRECTORY));
        shell("mv d e");
        assertTrue(seen.until(session, Access.APPEAR, "e").has(Access.DIRECTORY));
        shell("rmdir e");
        assertTrue(seen.until(session, Access.DISAPPEAR, "e").has(Access.DIRECTORY));
        assertEquals(0, seen.overflows);
    }

    @Test
    void opensAndReadsAreReportedOnlyWhenAskedFor() throws Exception {
        shell("echo a > f");
        try (EventSource.Session more = open(true, true)) {
            Recorder all = new Recorder();
            more.watch(List.of(FilePath.of(root.toString())));
            shell("cat f; ls >&2; echo b > mark");
            all.until(more, Access.OPEN, "f");
            all.until(more, Access.READ, "f");
            all.until(more, Access.WRITE, "mark");
            assertFalse(all.saw("."), "reading a directory is no access of a file");
            seen.until(session, Access.WRITE, "mark");
            assertTrue(seen.events.stream().noneMatch(e -> e.has(Access.OPEN | Access.READ)));
        }
    }

    @Test
    void namesOfAnyBytes() throws Exception {
        shell("echo a > \"$(printf 'new\\nline \\377\\001')\"");
        FilePath name = FilePath.ofRaw("new\nline \u00ff\u0001");
        Recorder.Event e =
                seen.until(session, "the name", x -> x.name().equals(name) && x.has(Access.WRITE));
        assertEquals(Optional.of(FilePath.of(root.toString()).resolve(name)), e.path());
    }

    @Test
    void aFullQueueIsReported() throws Exception {
        shell("seq 1 20000 | xargs touch");
        Await.until(
                Recorder.LIMIT,
                () -> {
                    session.drain(seen);
                    return seen.overflows > 0;
                },
                () -> "overflow, but " + seen.events.size() + " events");
        assertEquals(seen.overflows, session.stats().overflows());
        shell("echo a > after");
        seen.until(session, Access.WRITE, "after");
    }

    @Test
    void aDirectoryIsFoundWhereItHasMoved() throws Exception {
        shell("mkdir -p a/b; echo x > a/b/f");
        Recorder.Event e = seen.until(session, Access.WRITE, "f");
        shell("mv a c");
        // A source may have to hear of it first.
        session.drain(seen);
        assertEquals(Optional.of(path("c/b")), e.location().directory());
        shell("mv c/b \"d (deleted)\"");
        session.drain(seen);
        assertEquals(Optional.of(path("d (deleted)")), e.location().directory());
        shell("rm -r \"d (deleted)\"");
        session.drain(seen);
        assertEquals(Optional.empty(), e.location().directory());
    }

    @Test
    void aCoveredDirectoryHasNoPath() throws Exception {
        shell("mkdir a; echo x > a/f");
        Recorder.Event e = seen.until(session, Access.WRITE, "f");
        Command.run("mount", "-t", "tmpfs", "cover", root.resolve("a").toString());
        assertEquals(Optional.empty(), e.location().directory());
        Command.run("umount", root.resolve("a").toString());
        assertEquals(Optional.of(path("a")), e.location().directory());
    }

    @Test
    void theFileSystemCanBeUnmountedWhileWatched() throws Exception {
        try (ScratchDisk other = ScratchDisk.ext4(16)) {
            Files.createDirectory(other.root().resolve("d"));
            session.watch(List.of(FilePath.of(other.root().resolve("d").toString())));
            Command.shell("echo a > " + other.root().resolve("d/f"));
            Recorder.Event e = seen.until(session, Access.WRITE, "f");
            assertTrue(e.path().isPresent());
            other.unmount();
            assertEquals(Optional.empty(), e.path());
            other.mount();
            session.watch(List.of(FilePath.of(other.root().resolve("d").toString())));
            Command.shell("echo a > " + other.root().resolve("d/g"));
            seen.until(session, Access.WRITE, "g");
        }
    }

    @Test
    void anotherSetOfRootsTakesTheFirstOnesPlace() throws Exception {
        try (ScratchDisk other = ScratchDisk.ext4(16)) {
            session.watch(List.of(FilePath.of(other.root().toString())));
            shell("echo a > old");
            Command.shell("echo a > " + other.root().resolve("new"));
            seen.until(session, Access.WRITE, "new");
            assertFalse(seen.saw("old"));
        }
    }

    @Test
    void whatCannotBeWatchedIsNamedAndTheRestIsWatched() throws Exception {
        FilePath missing = path("missing");
        IOException e =
                assertThrows(
                        IOException.class,
                        () -> session.watch(List.of(missing, FilePath.of(root.toString()))));
        assertTrue(e.getMessage().contains(missing.toString()), e.getMessage());
        shell("echo a > f");
        seen.until(session, Access.WRITE, "f");
    }

    @Test
    void waitingEndsWithEventsOrWhenWoken() throws Exception {
        session.drain(seen);
        assertFalse(session.await(1_000_000));
        session.wake();
        assertFalse(session.await(-1));
        Process writer = start("echo a > f");
        assertTrue(session.await(-1));
        // Waiting does not read: it is still there.
        assertTrue(session.await(-1));
        writer.waitFor();
        seen.until(session, Access.WRITE, "f");
    }

    @Test
    void drainingAllocatesNothingForAnEvent() throws Exception {
        AccessListener nothing =
                new AccessListener() {
                    @Override
                    public void access(AccessEvent event) {}

                    @Override
                    public void overflow() {}
                };
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        long allocated = 0;
        int events = 0;
        for (int round = 0; round < 3; round++) {
            shell("seq 1 4000 | xargs touch; seq 1 4000 | xargs rm");
            long before = threads.getCurrentThreadAllocatedBytes();
            events = session.drain(nothing);
            allocated = threads.getCurrentThreadAllocatedBytes() - before;
        }
        assertTrue(events >= 8000, "only " + events);
        assertTrue(allocated < 8192, allocated + " bytes for " + events + " events");
    }

    @Test
    void manySessionsLeaveNoDescriptors() throws Exception {
        long before = descriptors();
        for (int i = 0; i < 1000; i++) {
            try (EventSource.Session each = open(false, false)) {
                each.watch(List.of(FilePath.of(root.toString())));
            }
        }
        assertEquals(before, descriptors());
    }

    private static long descriptors() {
        return new File("/proc/self/fd").list().length;
    }

    protected FilePath path(String name) {
        return FilePath.of(root.resolve(name).toString());
    }

    protected void shell(String script) throws IOException {
        Command.shell("cd " + root + "; " + script);
    }

    protected Process start(String script) throws IOException {
        return new ProcessBuilder("/bin/sh", "-c", "cd " + root + "; " + script).start();
    }
}
