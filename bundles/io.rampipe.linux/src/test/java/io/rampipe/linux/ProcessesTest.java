package io.rampipe.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ProcessesTest {
    private static final int MANY = 1000;

    @TempDir Path dir;
    private Process process;

    @BeforeEach
    void start() throws Exception {
        Files.createDirectories(dir.resolve("in/deep"));
        Files.createDirectories(dir.resolve("out"));
        Files.writeString(dir.resolve("in/f"), "x");
        process =
                new ProcessBuilder("sh", "-c", "exec 5<../f; echo ready; read x")
                        .directory(dir.resolve("in/deep").toFile())
                        .start();
        assertEquals("ready", process.inputReader().readLine());
    }

    @AfterEach
    void end() throws Exception {
        process.destroyForcibly().waitFor();
    }

    private Fd open(String name) throws LinuxException {
        return At.open(FilePath.of(dir.resolve(name).toString()), At.O_PATH);
    }

    private boolean found(List<Processes.Holder> holders) {
        return holders.stream().anyMatch(h -> h.pid() == process.pid());
    }

    @Test
    void whoStandsBelowADirectory() throws Exception {
        try (Fd in = open("in");
                Fd deep = open("in/deep");
                Fd out = open("out")) {
            List<Processes.Holder> holders = Processes.inside(in, inode -> false, MANY);
            assertTrue(found(holders));
            assertEquals(
                    "process "
                            + process.pid()
                            + " (sh, working directory "
                            + dir.resolve("in/deep")
                            + ")",
                    holders.get(0).toString());
            assertTrue(found(Processes.inside(deep, inode -> false, MANY)));
            assertFalse(found(Processes.inside(out, inode -> false, MANY)));
        }
    }

    @Test
    void whoHasAFileOpen() throws Exception {
        try (Fd file = open("in/f");
                Fd out = open("out")) {
            Stat stat = Stat.of(file);
            List<Processes.Holder> holders = Processes.using(stat, true, MANY);
            assertEquals(1, holders.size(), "not this process, which has it open as well");
            assertEquals("descriptor 5", holders.get(0).what());
            assertTrue(
                    found(Processes.inside(out, inode -> inode == stat.inode(), MANY)),
                    "a file that was asked for");
        }
    }

    @Test
    void whoIsOnAMount() throws Exception {
        try (Fd in = open("in")) {
            assertTrue(found(Processes.onMounts(Set.of(Stat.of(in).mount()), MANY)));
            assertFalse(found(Processes.onMounts(Set.of(-1L), MANY)));
        }
    }

    @Test
    void namespaces() throws Exception {
        List<MountNamespace> all = MountNamespace.all();
        assertTrue(all.get(0).own());
        assertEquals(1, all.stream().filter(MountNamespace::own).count());
        assertFalse(all.get(0).mounts().isEmpty());
    }
}
