package io.rampipe.control.internal;

import io.rampipe.api.Printable;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.apache.felix.service.command.CommandProcessor;

/** One client, from its first request until it leaves, or does nothing for too long. */
final class Connection implements AutoCloseable {
    /** Java has no time-outs for Unix sockets: whoever keeps us waiting is cut off from aside. */
    record Limits(Duration request, Duration next, Duration write) {
        /**
         * A client sends its request at once; a person at a shell thinks; a pager does not read on
         * before its user does.
         */
        static final Limits STANDARD =
                new Limits(Duration.ofSeconds(10), Duration.ofMinutes(30), Duration.ofMinutes(10));
    }

    private final SocketChannel channel;
    private final ScheduledExecutorService timer;
    private final Limits limits;
    private final Object writing = new Object();
    private boolean running;
    private boolean ending;

    Connection(SocketChannel channel, ScheduledExecutorService timer, Limits limits) {
        this.channel = channel;
        this.timer = timer;
        this.limits = limits;
    }

    /** Serves the client until it leaves. Closes. */
    void serve(CommandProcessor processor) throws IOException {
        try (this) {
            Protocol.Request request = read(limits.request());
            if (request != null) {
                serve(processor, request);
            }
        }
    }

    private void serve(CommandProcessor processor, Protocol.Request first) throws IOException {
        Frames out = new Frames(Protocol.OUTPUT);
        Frames err = new Frames(Protocol.ERROR);
        try (Session session = new Session(processor, out, err)) {
            for (Protocol.Request next = first; next != null; next = read(limits.next())) {
                if (!begin()) {
                    return;
                }
                int status = session.run(next);
                write(Protocol.EXIT, Protocol.exit(status));
                if (!done()) {
                    return;
                }
            }
        }
    }

    /** Says why it is not served, and closes. */
    void refuse(int status, String why) throws IOException {
        try (this) {
            write(
                    Protocol.ERROR,
                    ("rampipe: " + Printable.of(why) + "\n").getBytes(StandardCharsets.UTF_8));
            write(Protocol.EXIT, Protocol.exit(status));
        }
    }

    /** Closes as soon as no command runs. */
    synchronized void end() throws IOException {
        ending = true;
        if (!running) {
            channel.close();
        }
    }

    private synchronized boolean begin() {
        running = !ending;
        return running;
    }

    private synchronized boolean done() {
        running = false;
        return !ending;
    }

    private Protocol.Request read(Duration limit) throws IOException {
        Future<?> alarm = alarm(limit);
        try {
            return Protocol.read(channel);
        } catch (Protocol.Violation e) {
            refuse(Protocol.WRONG_USAGE, e.getMessage());
            return null;
        } finally {
            alarm.cancel(false);
        }
    }

    private void write(byte type, byte[] bytes) throws IOException {
        write(type, bytes, 0, bytes.length);
    }

    /** Commands write from several threads; a frame stays whole. */
    private void write(byte type, byte[] bytes, int offset, int length) throws IOException {
        synchronized (writing) {
            Future<?> alarm = alarm(limits.write());
            try {
                ByteBuffer[] frame = {
                    Protocol.head(type, length), ByteBuffer.wrap(bytes, offset, length)
                };
                while (frame[1].hasRemaining() || frame[0].hasRemaining()) {
                    channel.write(frame);
                }
            } finally {
                alarm.cancel(false);
            }
        }
    }

    private Future<?> alarm(Duration limit) {
        return timer.schedule(
                () -> {
                    channel.close();
                    return null;
                },
                limit.toMillis(),
                TimeUnit.MILLISECONDS);
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }

    /**
     * Output of a command. Once the client has gone, it goes nowhere: the command is not disturbed.
     */
    private final class Frames extends OutputStream {
        private final byte type;

        Frames(byte type) {
            this.type = type;
        }

        @Override
        public void write(int b) throws IOException {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            if (length > 0 && channel.isOpen()) {
                Connection.this.write(type, bytes, offset, length);
            }
        }
    }
}
