package io.rampipe.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NotifySocketTest {
    /** Binds a socket, says so, and prints one datagram; Java cannot receive one. */
    private static final String RECEIVER =
            """
            use Socket; $| = 1; alarm 30;
            my $name = $ARGV[0] =~ s/^@/\\0/r;
            socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die $!;
            # Not pack_sockaddr_un: it pads abstract names.
            bind($s, pack('S a*', AF_UNIX, $name)) or die $!;
            print "bound\\n"; recv($s, my $text, 4096, 0) // die $!; print $text, "\\n";
            """;

    @TempDir Path directory;

    private static void check(String where) throws IOException, InterruptedException {
        Process receiver =
                new ProcessBuilder("perl", "-e", RECEIVER, where)
                        .redirectError(ProcessBuilder.Redirect.INHERIT)
                        .start();
        try (BufferedReader out = receiver.inputReader(StandardCharsets.UTF_8);
                NotifySocket socket = new NotifySocket(where)) {
            assertEquals("bound", out.readLine());
            socket.send("READY=1\nSTATUS=größer");
            assertEquals("READY=1", out.readLine());
            assertEquals("STATUS=größer", out.readLine());
            assertEquals(0, receiver.waitFor());
        } finally {
            receiver.destroyForcibly();
        }
    }

    @Test
    void sendsADatagramToAPath() throws Exception {
        check(directory.resolve("notify").toString());
    }

    @Test
    void sendsADatagramToAnAbstractName() throws Exception {
        check("@rampipe-test-" + ProcessHandle.current().pid());
    }

    @Test
    void anErrorNamesTheSocket() throws Exception {
        String where = directory.resolve("nobody").toString();
        try (NotifySocket socket = new NotifySocket(where)) {
            LinuxException e = assertThrows(LinuxException.class, () -> socket.send("READY=1"));
            assertTrue(e.getMessage().contains(where), e.getMessage());
            assertTrue(e.is(Errno.ENOENT), e.getMessage());
        }
        assertThrows(LinuxException.class, () -> new NotifySocket("relative"));
        assertThrows(LinuxException.class, () -> new NotifySocket("/" + "x".repeat(200)));
    }

    @Test
    void theMonotonicClockIsTheKernels() throws Exception {
        long before = System.nanoTime() / 1000;
        long now = NotifySocket.monotonicMicros();
        long after = System.nanoTime() / 1000;
        assertTrue(before <= now && now <= after + 1, before + " " + now + " " + after);
    }
}
