package io.rampipe.control.internal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.rampipe.api.FilePath;
import io.rampipe.testkit.Await;
import java.io.IOException;
import java.lang.reflect.Proxy;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.nio.file.attribute.UserPrincipal;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.felix.gogo.runtime.CommandProcessorImpl;
import org.apache.felix.gogo.runtime.threadio.ThreadIOImpl;
import org.apache.felix.service.command.CommandSession;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.osgi.service.log.Logger;

/** The rampipe client and the socket together, with Gogo behind them. */
@Timeout(60)
class ControlTest {
    private static final Path CLIENT =
            Path.of("../../distribution/src/bin/rampipe").toAbsolutePath();
    private static final Duration LIMIT = Duration.ofSeconds(20);

    @TempDir private Path dir;
    private final List<String> log = Collections.synchronizedList(new ArrayList<>());
    private final ThreadIOImpl io = new ThreadIOImpl();
    private final Commands commands = new Commands();
    private CommandProcessorImpl gogo;
    private Path socket;
    private Server server;

    @BeforeEach
    void begin() throws IOException {
        io.start();
        gogo = new CommandProcessorImpl(io);
        for (String name : List.of("echo", "directory", "fail", "wrong", "both", "block", "much")) {
            gogo.addCommand("rampipe", commands, name);
        }
        gogo.addCommand("other", commands, "secret");
        socket = dir.resolve("run/control");
    }

    @AfterEach
    void end() throws IOException {
        commands.go.countDown();
        if (server != null) {
            server.close();
        }
        gogo.stop();
        io.stop();
    }

    private Server serve() throws IOException {
        return serve(Connection.Limits.STANDARD, 4, self());
    }

    private Server serve(Connection.Limits limits, int most, UserPrincipal allowed)
            throws IOException {
        Logger logger =
                (Logger)
                        Proxy.newProxyInstance(
                                getClass().getClassLoader(),
                                new Class<?>[] {Logger.class},
                                (self, method, args) -> {
                                    log.add(method.getName() + " " + Arrays.deepToString(args));
                                    return null;
                                });
        server = new Server(socket, most, allowed, limits, gogo, logger);
        return server;
    }

    private static UserPrincipal self() throws IOException {
        return Files.getOwner(Path.of("/proc/self"));
    }

    private record Ran(int status, String out, String err) {}

    private Ran client(String... arguments) throws Exception {
        List<String> line = new ArrayList<>(List.of("perl", CLIENT.toString()));
        line.addAll(List.of(arguments));
        return run(line, "");
    }

    private Ran run(List<String> line, String input) throws Exception {
        Path out = Files.createTempFile(dir, "out", "");
        Path err = Files.createTempFile(dir, "err", "");
        ProcessBuilder builder =
                new ProcessBuilder(line)
                        .directory(dir.toFile())
                        .redirectOutput(out.toFile())
                        .redirectError(err.toFile());
        builder.environment().put("RAMPIPE_RUNTIME", socket.getParent().toString());
        Process process = builder.start();
        try (var stdin = process.getOutputStream()) {
            stdin.write(input.getBytes(StandardCharsets.UTF_8));
        }
        try {
            assertTrue(process.waitFor(LIMIT.toSeconds(), TimeUnit.SECONDS), "client hangs");
            return new Ran(process.exitValue(), Files.readString(out), Files.readString(err));
        } finally {
            process.destroyForcibly();
        }
    }

    /** Called by Gogo. */
    public static final class Commands {
        final CountDownLatch started = new CountDownLatch(1);
        final CountDownLatch go = new CountDownLatch(1);

        public String echo(String[] words) {
            StringBuilder out = new StringBuilder();
            for (String word : words) {
                out.append('[');
                for (byte b : FilePath.of(word).bytes()) {
                    out.append(b >= ' ' && b < 127 ? "" + (char) b : String.format("\\%02x", b));
                }
                out.append(']');
            }
            return out.toString();
        }

        public Object directory(CommandSession session, String[] words) {
            return session.get(Session.DIRECTORY);
        }

        public void fail(String[] words) throws IOException {
            throw new IOException("disk full: /x\u001b[2J\nnext");
        }

        public void wrong(String[] words) {
            throw new IllegalArgumentException("unknown option -x");
        }

        public String both(String[] words) {
            System.out.println("ä on standard output");
            System.err.println("on standard error");
            return "returned";
        }

        public String block(String[] words) throws InterruptedException {
            started.countDown();
            go.await();
            return "went on";
        }

        public void much(String[] words) {
            started.countDown();
            byte[] line = "x".repeat(999).concat("\n").getBytes(StandardCharsets.US_ASCII);
            for (int i = 0; i < Integer.parseInt(words[0]); i++) {
                System.out.write(line, 0, line.length);
            }
        }

        public String secret(String[] words) {
            return "secret";
        }
    }

    @Test
    void argumentsArriveAsTheyAre() throws Exception {
        serve();
        String[] hostile = {
            "echo",
            "",
            " ",
            "a b",
            "'",
            "\"",
            "$SCOPE",
            "${.variables}",
            "$(secret)",
            "(other:secret)",
            "{other:secret}",
            "[1 2]",
            "<a=b>",
            "a;b",
            "a|b",
            "a&",
            ">/tmp/x",
            "*",
            "?",
            "~",
            "\\",
            "a\nb",
            "a\tb\r",
            "\u001b[31m",
            "#",
            "%x",
            "--",
            "-1",
            "true",
            "null",
            "ä\ud834\udd1e",
            "!!",
            "^a^b"
        };
        Ran ran = client(hostile);
        assertEquals("", ran.err());
        assertEquals(
                commands.echo(Arrays.copyOfRange(hostile, 1, hostile.length)) + "\n", ran.out());
        assertEquals(0, ran.status());

        // Bytes that are not UTF-8: Java cannot pass them to a process, so a shell makes them.
        ran =
                run(
                        List.of(
                                "sh",
                                "-c",
                                "perl '" + CLIENT + "' echo \"$(printf '/a\\377\\200b')\""),
                        "");
        assertEquals("[/a\\ff\\80b]\n", ran.out());
    }

    @Test
    void theClientsDirectoryIsTold() throws Exception {
        serve();
        assertEquals(new Ran(0, dir.toRealPath() + "\n", ""), client("directory"));
    }

    @Test
    void exitStatusAndStreamsAreThoseOfTheCommand() throws Exception {
        serve();
        assertEquals(
                new Ran(0, "ä on standard output\nreturned\n", "on standard error\n"),
                client("both"));
        assertEquals(new Ran(1, "", "rampipe: disk full: /x\\u001b[2J\\nnext\n"), client("fail"));
        assertEquals(new Ran(2, "", "rampipe: unknown option -x\n"), client("wrong"));
        assertEquals(
                new Ran(2, "", "rampipe: there is no command nothing; see rampipe help\n"),
                client("nothing"));
        // Only scope rampipe, and only a name.
        for (String name :
                List.of("secret", "other:secret", "echo x", "$x", "{", ".variables", "")) {
            assertEquals(2, client(name).status(), name);
        }
    }

    @Test
    void gogoIsThereForWhoWantsIt() throws Exception {
        serve();
        assertEquals(new Ran(0, "secret\n", ""), client("gogo", "other:secret"));
        assertEquals(new Ran(0, "[x][y]\n", ""), client("gogo", "a=x;", "echo", "$a", "y"));
        assertEquals(1, client("gogo", "rampipe:fail").status());
        assertEquals(
                new Ran(1, "1\n[1]\n[1][2]\n", "rampipe: disk full: /x\\u001b[2J\\nnext\n"),
                run(
                        List.of("perl", CLIENT.toString(), "shell"),
                        "x=1\n\n# nothing\necho $x\necho $x 2\nfail\nexit\necho not this\n"));
    }

    @Test
    void theClientExplainsItself() throws Exception {
        assertEquals(2, client().status());
        assertTrue(client("--help").out().contains("--runtime DIR"));
        assertTrue(client("--version").out().startsWith("rampipe "));
        assertEquals(2, client("--nonsense").status());
        assertEquals(2, client("--runtime").status());
        assertEquals(2, client("gogo").status());

        Ran ran = client("echo");
        assertEquals(3, ran.status());
        assertTrue(
                ran.err()
                        .startsWith(
                                "rampipe: the daemon is not running: nobody answers at " + socket),
                ran.err());
        serve().close();
        assertFalse(Files.exists(socket));
        assertEquals(3, client("echo").status());
        assertEquals(2, client("--runtime", dir + "/" + "x".repeat(100), "echo").status());
        Path other = Files.createDirectory(dir.resolve("other"));
        assertEquals(3, client("--runtime=" + other, "echo").status());
    }

    @Test
    void aDaemonThatDiesIsNoSuccess() throws Exception {
        Files.createDirectory(socket.getParent());
        try (ServerSocketChannel dying = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            dying.bind(UnixDomainSocketAddress.of(socket));
            Thread death =
                    new Thread(
                            () -> {
                                try (SocketChannel peer = dying.accept()) {
                                    peer.read(ByteBuffer.allocate(100));
                                    peer.write(
                                            ByteBuffer.wrap(
                                                    new byte[] {'o', 0, 0, 0, 9, 'h', 'a'}));
                                } catch (IOException e) {
                                    log.add(e.toString());
                                }
                            });
            death.start();
            Ran ran = client("echo", "x");
            assertEquals(3, ran.status());
            assertTrue(ran.err().contains("connection to the daemon is lost"), ran.err());
            death.join();
        }
    }

    @Test
    void aBrokenPipeIsQuiet() throws Exception {
        serve();
        Ran ran =
                run(List.of("sh", "-c", "perl '" + CLIENT + "' much 5000 | head -n 1 | wc -c"), "");
        assertEquals(new Ran(0, "1000\n", ""), ran);
        ran = run(List.of("sh", "-c", "perl '" + CLIENT + "' much 5000 | wc -c"), "");
        assertEquals(new Ran(0, "5000000\n", ""), ran);
    }

    @Test
    void argumentsThatAreTooLongAreRefused() throws Exception {
        serve();
        String big = "x".repeat(100_000);
        assertEquals(0, client("echo", big).status());
        Ran ran = client("echo", big, big);
        assertEquals(2, ran.status());
        assertTrue(ran.err().contains("too long"), ran.err());

        // By the daemon as well.
        try (SocketChannel raw = connect()) {
            send(raw, "RAMPIPE 1 131073\n");
            assertEquals("2", answer(raw).get("x"));
        }
    }

    @Test
    void whatIsNoRequestIsRefused() throws Exception {
        serve();
        for (String bytes :
                List.of(
                        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                        "RAMPIPE 2 5\nrun\0\0",
                        "RAMPIPE 1 -5\n",
                        "RAMPIPE 1 5\nabcde",
                        "RAMPIPE 1 6\nrun\0/\0",
                        "RAMPIPE 1 8\nsay\0/\0x\0",
                        "RAMPIPE 1 12\ngogo\0/\0x\0yy\0")) {
            try (SocketChannel raw = connect()) {
                send(raw, bytes);
                Map<String, String> answer = answer(raw);
                assertEquals("2", answer.get("x"), bytes);
                assertTrue(answer.get("e").startsWith("rampipe: "), bytes);
            }
        }
        try (SocketChannel raw = connect()) {
            send(raw, "RAMPIPE 1 100\nrun\0");
        }
        assertEquals(0, client("echo").status());
    }

    /** Only the limit that is looked at is short: a slow machine must not meet another. */
    @Test
    void whoeverIsIdleIsCutOff() throws Exception {
        Duration soon = Duration.ofMillis(50);
        serve(new Connection.Limits(soon, LIMIT, LIMIT), 4, self());
        try (SocketChannel raw = connect()) {
            assertEquals(Map.of(), answer(raw));
        }
        server.close();
        serve(new Connection.Limits(LIMIT, soon, LIMIT), 4, self());
        try (SocketChannel raw = connect()) {
            send(raw, "RAMPIPE 1 11\nrun\0/\0echo\0");
            assertEquals("0", answer(raw).get("x"));
            assertEquals(Map.of(), answer(raw));
        }
        server.close();
        // One that takes no answer: the command ends all the same.
        serve(new Connection.Limits(LIMIT, LIMIT, soon), 4, self());
        try (SocketChannel raw = connect()) {
            send(raw, "RAMPIPE 1 16\nrun\0/\0much\0" + "9999\0");
            commands.started.await();
            Await.until(LIMIT, () -> idle(), () -> "still served");
        }
    }

    private boolean idle() {
        return Thread.getAllStackTraces().keySet().stream()
                .noneMatch(t -> t.getName().startsWith("pipe-"));
    }

    @Test
    void clientsAreBounded() throws Exception {
        serve(Connection.Limits.STANDARD, 2, self());
        try (SocketChannel one = connect();
                SocketChannel two = connect()) {
            send(one, "RAMPIPE 1 11\nrun\0/\0echo\0");
            send(two, "RAMPIPE 1 11\nrun\0/\0echo\0");
            assertEquals("0", answer(one).get("x"));
            assertEquals("0", answer(two).get("x"));
            Ran ran = client("echo");
            assertEquals(new Ran(3, "", "rampipe: too many clients at a time: 2\n"), ran);
        }
        Await.until(LIMIT, () -> client("echo").status() == 0, () -> "no place became free");
    }

    @Test
    void aThousandCallsLeaveNothingBehind() throws Exception {
        serve();
        for (int i = 0; i < 20; i++) {
            call();
        }
        long descriptors = descriptors();
        for (int i = 0; i < 1000; i++) {
            call();
        }
        Await.until(
                LIMIT,
                () -> descriptors() <= descriptors + 2,
                () -> descriptors + " descriptors before, " + descriptors() + " after");
        assertTrue(
                Thread.getAllStackTraces().keySet().stream()
                                .filter(t -> t.getName().startsWith("rampipe-control"))
                                .count()
                        <= 6);
        assertEquals(List.of(), log);
    }

    private void call() throws IOException {
        try (SocketChannel raw = connect()) {
            send(raw, "RAMPIPE 1 13\nrun\0/\0echo\0x\0");
            assertEquals(Map.of("o", "[x]\n", "x", "0"), answer(raw));
        }
    }

    private static long descriptors() {
        String[] names = new java.io.File("/proc/self/fd").list();
        return names == null ? 0 : names.length;
    }

    @Test
    void othersAreRefused() throws Exception {
        assumeTrue("root".equals(System.getProperty("user.name")), "needs root");
        serve();
        assertEquals(
                "rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)));
        assertEquals(
                "rwxr-x---",
                PosixFilePermissions.toString(Files.getPosixFilePermissions(socket.getParent())));
        Files.setPosixFilePermissions(dir, PosixFilePermissions.fromString("rwxr-xr-x"));
        Path client = Files.copy(CLIENT, dir.resolve("client"));
        List<String> asNobody =
                List.of(
                        "setpriv",
                        "--reuid=65534",
                        "--regid=65534",
                        "--clear-groups",
                        "perl",
                        client.toString(),
                        "echo");
        Ran ran = run(asNobody, "");
        assertEquals(4, ran.status(), ran.err());
        assertTrue(ran.err().startsWith("rampipe: permission denied"), ran.err());

        // Even with every permission on the way open, the kernel tells who is there.
        Files.setPosixFilePermissions(
                socket.getParent(), PosixFilePermissions.fromString("rwxr-xr-x"));
        Files.setPosixFilePermissions(socket, PosixFilePermissions.fromString("rw-rw-rw-"));
        ran = run(asNobody, "");
        assertEquals(4, ran.status(), ran.err());
        assertEquals("rampipe: permission denied: you are not root\n", ran.err());
        assertEquals("", ran.out());
        assertEquals(1, log.size());
    }

    @Test
    void aSocketThatIsLeftOverIsReplaced() throws Exception {
        serve().close();
        try (ServerSocketChannel dead = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            dead.bind(UnixDomainSocketAddress.of(socket));
        }
        assertTrue(Files.exists(socket));
        Files.writeString(socket.resolveSibling("control.new"), "from a daemon that was killed");
        serve();
        assertEquals(0, client("echo").status());

        // But not one that somebody answers at.
        Server first = server;
        assertThrows(FileAlreadyExistsException.class, this::serve);
        server = first;
        assertEquals(0, client("echo").status());
        assertArrayEquals(
                new String[] {"control"}, new java.io.File(socket.getParent().toString()).list());
    }

    @Test
    void aDirectoryThatOthersCanWriteToIsRefused() throws Exception {
        Files.createDirectory(socket.getParent());
        Files.setPosixFilePermissions(
                socket.getParent(), PosixFilePermissions.fromString("rwxrwxrwx"));
        assertTrue(
                assertThrows(IOException.class, this::serve).getMessage().contains("chmod 0750"));
        Files.delete(socket.getParent());
        Path real = Files.createDirectory(dir.resolve("real"));
        Files.createSymbolicLink(socket.getParent(), real);
        assertThrows(IOException.class, this::serve);
        Files.delete(socket.getParent());
        Files.createDirectory(
                socket.getParent(),
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwxr-x---")));
        Files.writeString(socket, "not mine");
        assertThrows(IOException.class, this::serve);
        assertEquals("not mine", Files.readString(socket));
    }

    @Test
    void aCommandThatEndsTheDaemonIsAnswered() throws Exception {
        serve();
        try (SocketChannel idle = connect();
                SocketChannel busy = connect()) {
            send(busy, "RAMPIPE 1 12\nrun\0/\0block\0");
            commands.started.await();
            Thread stop =
                    new Thread(
                            () -> {
                                try {
                                    server.close();
                                } catch (IOException e) {
                                    log.add(e.toString());
                                }
                            });
            stop.start();
            assertEquals(Map.of(), answer(idle));
            assertFalse(Files.exists(socket));
            commands.go.countDown();
            assertEquals(Map.of("o", "went on\n", "x", "0"), answer(busy));
            stop.join();
            assertEquals(List.of(), log.stream().filter(l -> !l.startsWith("debug")).toList());
        }
    }

    private SocketChannel connect() throws IOException {
        return SocketChannel.open(UnixDomainSocketAddress.of(socket));
    }

    private static void send(SocketChannel to, String bytes) throws IOException {
        ByteBuffer all = ByteBuffer.wrap(bytes.getBytes(StandardCharsets.ISO_8859_1));
        while (all.hasRemaining()) {
            to.write(all);
        }
    }

    /** Frames up to the exit status or the end; those of a type joined. */
    private static Map<String, String> answer(SocketChannel from) throws IOException {
        Map<String, String> frames = new java.util.TreeMap<>();
        while (true) {
            ByteBuffer head = ByteBuffer.allocate(5);
            if (!fill(from, head)) {
                return frames;
            }
            ByteBuffer body = ByteBuffer.allocate(head.getInt(1));
            fill(from, body);
            String type = String.valueOf((char) head.get(0));
            frames.merge(type, new String(body.array(), StandardCharsets.UTF_8), String::concat);
            if (type.equals("x")) {
                return frames;
            }
        }
    }

    private static boolean fill(SocketChannel from, ByteBuffer buffer) throws IOException {
        while (buffer.hasRemaining()) {
            if (from.read(buffer) < 0) {
                return false;
            }
        }
        return true;
    }
}
