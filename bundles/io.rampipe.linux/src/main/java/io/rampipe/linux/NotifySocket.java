package io.rampipe.linux;

import com.sun.jna.Memory;
import java.nio.charset.StandardCharsets;

/**
 * The socket on which a service tells systemd about itself ({@code sd_notify(3)}): one datagram a
 * message. Java's own Unix sockets are streams only. Any thread.
 */
public final class NotifySocket implements AutoCloseable {
    private static final int AF_UNIX = 1;
    private static final int SOCK_DGRAM = 2;
    private static final int SOCK_CLOEXEC = 02000000;
    private static final int MSG_NOSIGNAL = 0x4000;
    private static final int CLOCK_MONOTONIC = 1;

    /** {@code sun_path} of {@code struct sockaddr_un} ({@code unix(7)}). */
    private static final int LONGEST_PATH = 108;

    private static final int PATH_AT = 2;

    private final Fd socket;
    private final Memory address;

    /**
     * @param where value of {@code $NOTIFY_SOCKET}: a path, or {@code @} and an abstract name
     * @throws LinuxException EINVAL for anything else
     */
    public NotifySocket(String where) throws LinuxException {
        address = address(where);
        socket = Fd.check(LibC.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), "open socket", where);
    }

    private static Memory address(String where) throws LinuxException {
        byte[] name = where.getBytes(StandardCharsets.ISO_8859_1);
        boolean isAbstract = where.startsWith("@");
        // A path needs its terminating NUL; an abstract name is told by its length alone.
        int room = isAbstract ? LONGEST_PATH : LONGEST_PATH - 1;
        if (!isAbstract && !where.startsWith("/") || name.length < 2 || name.length > room) {
            throw new LinuxException("use socket", where, Errno.EINVAL);
        }
        if (isAbstract) {
            name[0] = 0;
        }
        Memory memory = new Memory(PATH_AT + name.length + (isAbstract ? 0 : 1));
        memory.clear();
        memory.setShort(0, (short) AF_UNIX);
        memory.write(PATH_AT, name, 0, name.length);
        return memory;
    }

    /**
     * Sends a message; waits while systemd's queue is full.
     *
     * @param message assignments such as {@code READY=1}, one a line
     */
    public void send(String message) throws LinuxException {
        byte[] text = message.getBytes(StandardCharsets.UTF_8);
        Memory buffer = new Memory(Math.max(1, text.length));
        buffer.write(0, text, 0, text.length);
        while (true) {
            long sent =
                    LibC.sendto(
                            socket.number(),
                            buffer,
                            text.length,
                            MSG_NOSIGNAL,
                            address,
                            (int) address.size());
            if (sent >= 0) {
                return;
            }
            if (LibC.errno() != Errno.EINTR) {
                throw LinuxException.last("tell systemd through", socket);
            }
        }
    }

    /** Microseconds of {@code CLOCK_MONOTONIC}, as {@code MONOTONIC_USEC=} wants them. */
    public static long monotonicMicros() throws LinuxException {
        Memory time = LibC.scratch();
        if (LibC.clock_gettime(CLOCK_MONOTONIC, time) < 0) {
            throw LinuxException.last("read", "the monotonic clock");
        }
        return time.getLong(0) * 1_000_000 + time.getLong(8) / 1000;
    }

    @Override
    public void close() {
        socket.close();
    }
}
