package io.rampipe.control.internal;

import java.io.IOException;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.nio.file.attribute.UserPrincipal;
import java.time.Duration;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import jdk.net.ExtendedSocketOptions;
import org.apache.felix.service.command.CommandProcessor;
import org.osgi.service.log.Logger;

/** Listens, and serves each client on a thread of its own, up to a number of them. */
final class Server implements AutoCloseable {
    private static final int BACKLOG = 64;
    private static final long KEEP_THREADS_SECONDS = 10;
    private static final Duration PAUSE = Duration.ofMillis(100);
    private static final Duration LAST_COMMANDS = Duration.ofSeconds(5);

    private final CommandProcessor processor;
    private final UserPrincipal allowed;
    private final Connection.Limits limits;
    private final Logger log;
    private final SocketFile socket;
    private final ScheduledThreadPoolExecutor timer;
    private final ThreadPoolExecutor workers;
    private final Set<Connection> connections = ConcurrentHashMap.newKeySet();

    /**
     * @param most clients at a time
     * @param allowed whose the clients, and the directory of the socket, have to be
     */
    Server(
            Path path,
            int most,
            UserPrincipal allowed,
            Connection.Limits limits,
            CommandProcessor processor,
            Logger log)
            throws IOException {
        this.processor = processor;
        this.allowed = allowed;
        this.limits = limits;
        this.log = log;
        socket = SocketFile.listen(path, allowed, BACKLOG);
        timer = new ScheduledThreadPoolExecutor(1, threads("rampipe-control-timer"));
        timer.setRemoveOnCancelPolicy(true);
        workers =
                new ThreadPoolExecutor(
                        0,
                        most,
                        KEEP_THREADS_SECONDS,
                        TimeUnit.SECONDS,
                        new SynchronousQueue<>(),
                        threads("rampipe-control"));
        threads("rampipe-control-accept").newThread(this::accept).start();
    }

    private static ThreadFactory threads(String name) {
        AtomicInteger number = new AtomicInteger();
        return work -> {
            Thread thread = new Thread(work, name + "-" + number.incrementAndGet());
            thread.setDaemon(true);
            return thread;
        };
    }

    private void accept() {
        while (socket.isOpen()) {
            try {
                welcome(socket.accept());
            } catch (ClosedChannelException e) {
                return;
            } catch (IOException e) {
                log.warn("cannot accept a client", e);
                // Most likely out of descriptors: again, but not at once.
                LockSupport.parkNanos(PAUSE.toNanos());
            }
        }
    }

    private void welcome(SocketChannel channel) throws IOException {
        Connection connection = new Connection(channel, timer, limits);
        connections.add(connection);
        try {
            workers.execute(() -> serve(channel, connection));
        } catch (RejectedExecutionException e) {
            connections.remove(connection);
            connection.refuse(
                    Protocol.UNREACHABLE,
                    "too many clients at a time: " + workers.getMaximumPoolSize());
        }
    }

    private void serve(SocketChannel channel, Connection connection) {
        try {
            // The socket's mode keeps others out; this does even if somebody changes the mode.
            UserPrincipal peer = channel.getOption(ExtendedSocketOptions.SO_PEERCRED).user();
            if (peer.equals(allowed)) {
                connection.serve(processor);
            } else {
                log.warn("refused {}, who is not {}", peer, allowed);
                connection.refuse(
                        Protocol.NOT_PERMITTED, "permission denied: you are not " + allowed);
            }
        } catch (IOException e) {
            log.debug("a client is gone", e);
        } catch (RuntimeException e) {
            log.error("cannot serve a client", e);
        } finally {
            connections.remove(connection);
            try {
                connection.close();
            } catch (IOException e) {
                log.debug("cannot close a connection", e);
            }
        }
    }

    /**
     * Takes no more clients, and waits a little for commands that run: one of them may be what ends
     * the daemon, and its user waits for the answer.
     */
    @Override
    public void close() throws IOException {
        socket.close();
        for (Connection connection : connections) {
            connection.end();
        }
        workers.shutdown();
        try {
            if (!workers.awaitTermination(LAST_COMMANDS.toMillis(), TimeUnit.MILLISECONDS)) {
                log.warn("a command still runs; its client is cut off");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        for (Connection connection : connections) {
            connection.close();
        }
        timer.shutdownNow();
    }
}
