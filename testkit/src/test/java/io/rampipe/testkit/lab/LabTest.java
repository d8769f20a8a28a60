package io.rampipe.testkit.lab;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.testkit.Command;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Disabled;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Nested;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/** What comes out of the lab is what happened in it. */
class LabTest {
    /** What each test has come to: {@code passed}, or its status, message and stack trace. */
    private static Map<String, String> run(DiscoverySelector selector) {
        Map<String, String> results = new LinkedHashMap<>();
        LauncherFactory.create()
                .execute(
                        LauncherDiscoveryRequestBuilder.request().selectors(selector).build(),
                        new TestExecutionListener() {
                            @Override
                            public void executionSkipped(TestIdentifier test, String reason) {
                                results.put(test.getDisplayName(), "skipped: " + reason);
                            }

                            @Override
                            public void executionFinished(
                                    TestIdentifier test, TestExecutionResult result) {
                                if (test.isTest() || result.getThrowable().isPresent()) {
                                    results.put(test.getDisplayName(), said(result));
                                }
                            }
                        });
        return results;
    }

    private static String said(TestExecutionResult result) {
        Throwable thrown = result.getThrowable().orElse(null);
        if (thrown == null) {
            return "passed";
        }
        StringWriter trace = new StringWriter();
        thrown.printStackTrace(new PrintWriter(trace));
        return result.getStatus() == TestExecutionResult.Status.ABORTED
                ? "skipped: " + thrown.getMessage()
                : "failed: " + thrown.getMessage() + "\n" + trace;
    }

    private static Map<String, String> run(Class<?> type) {
        return run(DiscoverySelectors.selectClass(type));
    }

    /** Skips the calling test where there is no lab. */
    private static Map<String, String> inLab(Map<String, String> results) {
        results.values().stream()
                .filter(r -> r.startsWith("skipped: no User Mode Linux: "))
                .findFirst()
                .ifPresent(r -> Assumptions.abort(r.substring("skipped: ".length())));
        return results;
    }

    @InLab(seconds = 240, memory = 512)
    static class EveryKind {
        private static String begun = "no";
        private String each = "no";

        @BeforeAll
        static void begin() {
            begun = "yes";
        }

        @BeforeEach
        void each() {
            each = "yes";
        }

        @Test
        void passes() throws IOException {
            assertEquals("yes yes", begun + " " + each);
            // None of these is on the machine that starts it.
            assertTrue(Files.readString(Path.of("/proc/cmdline")).contains("lab.out="));
            assertTrue(Command.run("dmsetup", "targets").contains("snapshot-merge"));
            assertTrue(
                    Files.readAllLines(Path.of("/proc/self/mountinfo")).stream()
                            .anyMatch(l -> l.contains(" /mnt/lab ") && l.contains(" ext4 ")));
            Files.writeString(Path.of("/mnt/lab/file"), "written");
        }

        @Test
        void fails() {
            assertEquals("right <&>\n", "wrong");
        }

        @Test
        void throwsSomething() throws IOException {
            throw new IOException("no such thing: ä", new IllegalStateException("the cause"));
        }

        @Test
        void assumes() {
            Assumptions.abort("only on Tuesdays");
        }

        @Test
        @Disabled("never")
        void disabled() {
            throw new AssertionError("it was run");
        }

        @ParameterizedTest(name = "even {0}")
        @ValueSource(ints = {2, 3})
        void even(int number) {
            assertEquals(0, number % 2);
        }

        @TestFactory
        Stream<DynamicTest> made() {
            return Stream.of("one", "two")
                    .map(n -> DynamicTest.dynamicTest(n, () -> assertEquals("one", n)));
        }

        @Nested
        class Inner {
            @Test
            void inside() throws IOException {
                assertTrue(Files.readString(Path.of("/proc/cmdline")).contains("lab.out="));
            }

            @Test
            void failsInside() {
                throw new AssertionError("inner");
            }
        }
    }

    @Test
    void everyTestInsideIsATestOutside() {
        Map<String, String> results = inLab(run(EveryKind.class));
        assertEquals("passed", results.remove("passes()"));
        assertFailed(
                results.remove("fails()"), "expected: <right <&>\n> but was: <wrong>", "fails");
        assertFailed(
                results.remove("throwsSomething()"),
                "java.io.IOException: no such thing: ä",
                "Caused by: java.lang.IllegalStateException: the cause");
        assertEquals("skipped: only on Tuesdays", results.remove("assumes()"));
        assertEquals("skipped: never", results.remove("disabled()"));
        assertEquals("passed", results.remove("even 2"));
        assertFailed(results.remove("even 3"), "expected: <0> but was: <1>", "LabTest$EveryKind");
        assertEquals("passed", results.remove("one"));
        assertFailed(results.remove("two"), "expected: <one> but was: <two>", "LabTest$EveryKind");
        assertEquals("passed", results.remove("inside()"));
        assertFailed(results.remove("failsInside()"), "inner", "LabTest$EveryKind$Inner");
        assertEquals(Map.of(), results);
    }

    @Test
    void onlyWhatWasSelectedIsRun() {
        Map<String, String> results =
                inLab(run(DiscoverySelectors.selectMethod(EveryKind.class, "passes")));
        assertEquals(Map.of("passes()", "passed"), results);
        assertFalse(events(EveryKind.class).contains("throwsSomething"));
    }

    private static void assertFailed(String result, String message, String trace) {
        assertTrue(String.valueOf(result).startsWith("failed: " + message), result);
        assertTrue(result.contains(trace), result);
        assertTrue(result.contains("in the lab's guest"), result);
    }

    private static String events(Class<?> type) {
        try {
            return Files.readString(out(type).resolve("events"));
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private static Path out(Class<?> type) {
        return Path.of("target", "lab", type.getName()).toAbsolutePath();
    }

    /** Makes the guest's kernel panic. */
    private static void die() throws IOException {
        Files.writeString(Path.of("/proc/sysrq-trigger"), "c");
    }

    /** A line for each run of the guest. */
    private static Path runs(Class<?> type) {
        return out(type).resolve("runs");
    }

    private static int countRun(Class<?> type) throws IOException {
        Path runs = runs(type);
        Files.writeString(runs, "run\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        return Files.readAllLines(runs).size();
    }

    @InLab(seconds = 240, memory = 512)
    @TestMethodOrder(MethodOrderer.OrderAnnotation.class)
    static class DiesOnce {
        @Test
        @Order(1)
        void first() throws IOException {
            if (countRun(DiesOnce.class) == 1) {
                die();
            }
        }
    }

    @Test
    void aGuestThatDiesIsTriedOnceMore() throws IOException {
        Files.deleteIfExists(runs(DiesOnce.class));
        assertEquals(Map.of("first()", "passed"), inLab(run(DiesOnce.class)));
        assertEquals(List.of("run", "run"), Files.readAllLines(runs(DiesOnce.class)));
    }

    @InLab(seconds = 240, memory = 512)
    @TestMethodOrder(MethodOrderer.OrderAnnotation.class)
    static class DiesAlways {
        @Test
        @Order(1)
        void before() throws IOException {
            countRun(DiesAlways.class);
        }

        @Test
        @Order(2)
        void dies() throws IOException {
            die();
        }

        @Test
        @Order(3)
        void after() {
            // Nothing runs after the end.
        }
    }

    @Test
    void whatDiesAgainFailsWithTheGuestsLastWords() throws IOException {
        Files.deleteIfExists(runs(DiesAlways.class));
        Map<String, String> results = inLab(run(DiesAlways.class));
        assertEquals("passed", results.get("before()"));
        assertFailed(
                results.get("dies()"), "the guest died, twice, during this test", "Kernel panic");
        assertFailed(
                results.get("after()"), "the guest died, twice, before this test", "Kernel panic");
        assertEquals(List.of("run", "run"), Files.readAllLines(runs(DiesAlways.class)));
    }

    @InLab(seconds = 30, memory = 512)
    static class Hangs {
        @Test
        void hangs() throws Exception {
            countRun(Hangs.class);
            Command.run("sleep", "100");
        }
    }

    @Test
    void whatHangsIsKilledAndNotRepeated() throws IOException {
        Files.deleteIfExists(runs(Hangs.class));
        Map<String, String> results = inLab(run(Hangs.class));
        assertFailed(
                results.get("hangs()"), "the guest was killed, for its time was over,", "30 s");
        assertEquals(List.of("run"), Files.readAllLines(runs(Hangs.class)));
    }

    /** No machine has so much. */
    @InLab(memory = 1 << 30)
    static class TooLarge {
        @Test
        void never() {
            throw new AssertionError("it was run");
        }
    }

    @Test
    void whereTheLabCannotRunEachTestIsSkippedWithTheReason() {
        Map<String, String> results = run(TooLarge.class);
        String result = results.get("never()");
        assertTrue(result.startsWith("skipped: no User Mode Linux: "), result);
    }

    @InLab(seconds = 240, memory = 512)
    static class BadBegin {
        @BeforeAll
        static void begin() {
            throw new IllegalStateException("cannot begin");
        }

        @Test
        void never() {
            throw new AssertionError("it was run");
        }
    }

    @Test
    void whatCannotBeginFails() {
        Map<String, String> results = inLab(run(BadBegin.class));
        assertFailed(
                results.get("never()"), "java.lang.IllegalStateException: cannot begin", "begin");
    }
}
