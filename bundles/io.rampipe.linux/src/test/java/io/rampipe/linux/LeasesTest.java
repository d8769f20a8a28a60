package io.rampipe.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.testkit.Await;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class LeasesTest {
    private static final Duration LIMIT = Duration.ofSeconds(10);

    @TempDir Path dir;
    private FilePath file;

    @BeforeEach
    void make() throws Exception {
        file = FilePath.of(Files.writeString(dir.resolve("f"), "x").toString());
    }

    private Fd open(int flags) throws LinuxException {
        return At.open(Fd.CWD, file, flags, 0);
    }

    @Test
    void aWriterWaitsAndTheVirtualMachineLives() throws Exception {
        try (Fd fd = open(At.O_RDONLY)) {
            Leases.takeWrite(fd);
            assertEquals(Leases.State.HELD, Leases.state(fd));
            Process writer =
                    new ProcessBuilder("sh", "-c", "echo y >> \"$0\"", file.toString()).start();
            Await.until(
                    LIMIT,
                    () -> Leases.state(fd) == Leases.State.WRITER_WAITS,
                    () -> "the writer does not come");
            assertTrue(writer.isAlive());
            Leases.release(fd);
            assertTrue(writer.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS));
        }
        assertEquals("xy\n", Files.readString(dir.resolve("f")));
    }

    @Test
    void aReaderIsToldFromAWriter() throws Exception {
        try (Fd fd = open(At.O_RDONLY)) {
            Leases.takeWrite(fd);
            Process reader = new ProcessBuilder("cat", file.toString()).start();
            Await.until(
                    LIMIT,
                    () -> Leases.state(fd) == Leases.State.READER_WAITS,
                    () -> "the reader does not come");
            Process writer = new ProcessBuilder("truncate", "-s0", file.toString()).start();
            Await.until(
                    LIMIT,
                    () -> Leases.state(fd) == Leases.State.WRITER_WAITS,
                    () -> "the writer does not come");
            Leases.release(fd);
            assertTrue(reader.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS));
            assertTrue(writer.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS));
        }
    }

    @Test
    void onlyWhileNobodyElseHasItOpen() throws Exception {
        for (int flags : new int[] {At.O_RDONLY, At.O_WRONLY}) {
            try (Fd fd = open(At.O_RDONLY)) {
                try (Fd other = open(flags)) {
                    LinuxException e =
                            assertThrows(LinuxException.class, () -> Leases.takeWrite(fd));
                    assertTrue(e.is(Errno.EAGAIN), other + ": " + e.getMessage());
                }
                Leases.takeWrite(fd);
            }
        }
    }

    @Test
    void manyAtOnce() throws Exception {
        assertTrue(OpenFiles.ensure(3000) >= 3000, "limit of open files");
        Fd[] all = new Fd[2000];
        try {
            for (int i = 0; i < all.length; i++) {
                Path path = Files.createFile(dir.resolve("n" + i));
                all[i] = At.open(FilePath.of(path.toString()), At.O_RDONLY);
                Leases.takeWrite(all[i]);
            }
            for (Fd fd : all) {
                assertEquals(Leases.State.HELD, Leases.state(fd));
            }
        } finally {
            for (Fd fd : all) {
                if (fd != null) {
                    fd.close();
                }
            }
        }
    }
}
