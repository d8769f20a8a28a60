package io.rampipe.testkit.lab;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.launcher.LauncherDiscoveryRequest;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/** What runs in the guest: tests, and a file that tells how each fares, at once. */
final class Guest {
    private Guest() {}

    /**
     * @param arguments a file with the unique ids of what to run, and the file to write
     */
    public static void main(String[] arguments) throws IOException {
        List<DiscoverySelector> selected =
                Files.readAllLines(Path.of(arguments[0])).stream()
                        .<DiscoverySelector>map(DiscoverySelectors::selectUniqueId)
                        .toList();
        LauncherDiscoveryRequest request =
                LauncherDiscoveryRequestBuilder.request().selectors(selected).build();
        try (FileChannel out =
                FileChannel.open(
                        Path.of(arguments[1]),
                        StandardOpenOption.CREATE,
                        StandardOpenOption.TRUNCATE_EXISTING,
                        StandardOpenOption.WRITE)) {
            LauncherFactory.create().execute(request, new Teller(out));
        }
        // Threads that a test has left do not keep the guest.
        System.exit(0);
    }

    private record Teller(FileChannel out) implements TestExecutionListener {
        @Override
        public void executionStarted(TestIdentifier test) {
            tell(test, Event.Kind.STARTED, "", "");
        }

        @Override
        public void executionSkipped(TestIdentifier test, String reason) {
            tell(test, Event.Kind.ABORTED, reason, "");
        }

        @Override
        public void executionFinished(TestIdentifier test, TestExecutionResult result) {
            Throwable thrown = result.getThrowable().orElse(null);
            Event.Kind kind =
                    switch (result.getStatus()) {
                        case SUCCESSFUL -> Event.Kind.PASSED;
                        case ABORTED -> Event.Kind.ABORTED;
                        case FAILED -> Event.Kind.FAILED;
                    };
            tell(test, kind, message(kind, thrown), trace(thrown));
        }

        private static String message(Event.Kind kind, Throwable thrown) {
            if (thrown == null) {
                return "";
            }
            boolean plain =
                    thrown.getMessage() != null
                            && (kind == Event.Kind.ABORTED || thrown instanceof AssertionError);
            return plain ? thrown.getMessage() : thrown.toString();
        }

        private static String trace(Throwable thrown) {
            if (thrown == null) {
                return "";
            }
            java.io.StringWriter text = new java.io.StringWriter();
            thrown.printStackTrace(new java.io.PrintWriter(text));
            return text.toString();
        }

        private synchronized void tell(
                TestIdentifier test, Event.Kind kind, String message, String trace) {
            Event event =
                    new Event(test.getUniqueId(), kind, test.getDisplayName(), message, trace);
            try {
                ByteBuffer line =
                        ByteBuffer.wrap((event.line() + "\n").getBytes(StandardCharsets.US_ASCII));
                while (line.hasRemaining()) {
                    out.write(line);
                }
                // The guest may die in the next moment, and its page cache with it.
                out.force(false);
            } catch (IOException e) {
                throw new UncheckedIOException("the results cannot be told", e);
            }
        }
    }
}
