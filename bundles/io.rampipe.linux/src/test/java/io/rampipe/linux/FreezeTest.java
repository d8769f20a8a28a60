package io.rampipe.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FreezeTest {
    private static final Duration LONG = Duration.ofSeconds(20);

    @TempDir Path dir;
    private final List<Program> programs = new ArrayList<>();

    @AfterEach
    void end() throws Exception {
        programs.forEach(Program::end);
    }

    /** Not a child of this process, which would wait for it. Its own process group. */
    private record Program(long pid, BufferedReader out) {
        void end() {
            try {
                run("kill", "-KILL", "--", "-" + pid);
                // What it prints ends with it.
                while (out.readLine() != null) {
                    continue;
                }
            } catch (IOException | InterruptedException e) {
                throw new IllegalStateException(e);
            }
        }

        boolean isAlive() {
            return ProcessHandle.of(pid).map(ProcessHandle::isAlive).orElse(false);
        }
    }

    private static void run(String... command) throws IOException, InterruptedException {
        new ProcessBuilder(command).start().waitFor();
    }

    private Program start(String... command) throws IOException {
        List<String> all = new ArrayList<>(List.of("sh", "-c"));
        all.add("setsid sh -c 'echo $$; exec \"$@\"' sh \"$@\" & wait");
        all.add("sh");
        all.addAll(List.of(command));
        BufferedReader out =
                new ProcessBuilder(all).redirectErrorStream(true).start().inputReader();
        Program p = new Program(Long.parseLong(out.readLine()), out);
        programs.add(p);
        return p;
    }

    /** Counts as fast as it can, in a file that it replaces. */
    private Program counter() throws Exception {
        Program p =
                start(
                        "sh",
                        "-c",
                        "i=0; echo ready; while :; do i=$((i+1)); echo $i >> "
                                + dir.resolve("count")
                                + "; done");
        assertEquals("ready", p.out().readLine());
        awaitProgress();
        return p;
    }

    private long count() throws IOException {
        Path file = dir.resolve("count");
        return Files.exists(file) ? Files.size(file) : 0;
    }

    private void awaitProgress() throws Exception {
        long before = count();
        long deadline = System.nanoTime() + LONG.toNanos();
        while (count() == before) {
            assertTrue(System.nanoTime() < deadline, "it does not run");
            Thread.sleep(1);
        }
    }

    private static String state(long pid) throws IOException {
        String stat = Files.readString(Path.of("/proc/" + pid + "/stat"));
        return stat.substring(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
    }

    @Test
    void aProcessStandsStillUntilItIsLetGo() throws Exception {
        Program p = counter();
        try (Freeze freeze = Freeze.of(Set.of((int) p.pid()), LONG)) {
            assertEquals(List.of(), freeze.skipped());
            assertEquals(1, freeze.threads());
            assertEquals("t", state(p.pid()));
            long then = count();
            Thread.sleep(100);
            assertEquals(then, count());
            assertTrue(freeze.held());
        }
        awaitProgress();
    }

    @Test
    void allThreadsStandStill() throws Exception {
        Program p =
                start(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-XX:TieredStopAtLevel=1",
                        "-cp",
                        System.getProperty("java.class.path"),
                        Busy.class.getName());
        assertEquals("ready", p.out().readLine());
        try (Freeze freeze = Freeze.of(Set.of((int) p.pid()), LONG)) {
            assertTrue(freeze.threads() > Busy.THREADS);
            try (var tasks = Files.list(Path.of("/proc/" + p.pid() + "/task"))) {
                for (Path task : tasks.toList()) {
                    assertEquals("t", state(Long.parseLong(task.getFileName().toString())));
                }
            }
        }
        assertTrue(p.isAlive());
    }

    /** Has many threads, new ones all the time. */
    static final class Busy {
        static final int THREADS = 20;

        public static void main(String[] args) throws Exception {
            for (int i = 0; i < THREADS; i++) {
                Thread t =
                        new Thread(
                                () -> {
                                    while (true) {
                                        new Thread(() -> {}).start();
                                    }
                                });
                t.start();
            }
            System.out.println("ready");
        }
    }

    @Test
    void theLimitHoldsThoughNobodyLetsGo() throws Exception {
        Program p = counter();
        try (Freeze freeze = Freeze.of(Set.of((int) p.pid()), Duration.ofMillis(50))) {
            awaitProgress();
            assertFalse(freeze.held());
        }
    }

    @Test
    void childrenBornMeanwhileStandStillToo() throws Exception {
        Program p =
                start(
                        "sh",
                        "-c",
                        "echo ready; while :; do (echo x >> " + dir.resolve("count") + ") & done");
        assertEquals("ready", p.out().readLine());
        awaitProgress();
        int still = 0;
        for (int i = 0; i < 10; i++) {
            try (Freeze freeze = Freeze.of(Set.of((int) p.pid()), LONG)) {
                // Older children may still be at it; they are no concern of a freeze of that one.
                assertTrue(freeze.held());
                Thread.sleep(50);
                long then = count();
                Thread.sleep(20);
                still += then == count() ? 1 : 0;
            }
        }
        assertEquals(10, still);
    }

    @Test
    void signalsAreNotLost() throws Exception {
        Program p =
                start(
                        "sh",
                        "-c",
                        "n=0; trap 'n=$((n+1)); echo $n' USR1; echo ready; while :; do :; done");
        BufferedReader out = p.out();
        assertEquals("ready", out.readLine());
        for (int i = 1; i <= 50; i++) {
            run("kill", "-USR1", "" + p.pid());
            try (Freeze freeze = Freeze.of(Set.of((int) p.pid()), LONG)) {
                assertTrue(freeze.threads() <= 1);
            }
            assertEquals("" + i, out.readLine());
        }
    }

    @Test
    void whoIsStoppedAlreadyStaysStopped() throws Exception {
        Program p = counter();
        run("kill", "-STOP", "" + p.pid());
        Freeze.of(Set.of((int) p.pid()), LONG).close();
        long deadline = System.nanoTime() + LONG.toNanos();
        while (!state(p.pid()).equals("T")) {
            assertTrue(System.nanoTime() < deadline, "it runs");
        }
        run("kill", "-CONT", "" + p.pid());
        awaitProgress();
    }

    @Test
    void whoIsTracedIsLeftAlone() throws Exception {
        Program p = counter();
        try (Freeze debugger = Freeze.of(Set.of((int) p.pid()), LONG);
                Freeze freeze = Freeze.of(Set.of((int) p.pid()), LONG)) {
            assertEquals(0, freeze.threads());
            assertTrue(freeze.skipped().get(0).contains("debugged"), freeze.skipped().toString());
            assertEquals(1, debugger.threads());
        }
        awaitProgress();
    }

    @Test
    void neitherThisProcessNorTheFirstIsHeld() throws Exception {
        int self = (int) ProcessHandle.current().pid();
        try (Freeze freeze = Freeze.of(Set.of(1, self, 1 << 30), LONG)) {
            assertEquals(0, freeze.threads());
        }
    }

    /** Holds another process until it is killed. */
    static final class Holder {
        public static void main(String[] args) throws Exception {
            Freeze freeze = Freeze.of(Set.of(Integer.parseInt(args[0])), Duration.ofHours(1));
            System.out.println(freeze.threads());
            Thread.sleep(Long.MAX_VALUE);
        }
    }

    @Test
    void killedWhileItHoldsOthersItLetsThemGo() throws Exception {
        Program p = counter();
        Program holder =
                start(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-cp",
                        System.getProperty("java.class.path"),
                        Holder.class.getName(),
                        "" + p.pid());
        assertEquals("1", holder.out().readLine());
        assertEquals("t", state(p.pid()));
        run("kill", "-KILL", "" + holder.pid());
        awaitProgress();
        assertFalse("tT".contains(state(p.pid())));
    }
}
