package io.rampipe.control.internal;

import io.rampipe.api.FilePath;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.ReadableByteChannel;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * What goes over the socket.
 *
 * <p>A request is a line {@code RAMPIPE 1 LENGTH} and that many bytes: fields, each ended by a NUL
 * byte, as on a command line they cannot contain one. The first is what to do, the second the
 * client's working directory:
 *
 * <ul>
 *   <li>{@code run}, directory, command, arguments: a command of scope {@code rampipe}. The
 *       arguments reach it as they are; no shell looks at them.
 *   <li>{@code gogo}, directory, line: anything that Gogo understands.
 * </ul>
 *
 * <p>The answer is a sequence of frames: a byte that says what it is, the length as four bytes,
 * most significant first, and that many bytes. {@code o} is for standard output, {@code e} for
 * standard error, and {@code x}, the last, holds the exit status in decimal. Then the client may
 * send another request, in the same session, or close.
 */
final class Protocol {
    static final byte OUTPUT = 'o';
    static final byte ERROR = 'e';
    static final byte EXIT = 'x';

    static final int DONE = 0;
    static final int FAILED = 1;
    static final int WRONG_USAGE = 2;
    static final int UNREACHABLE = 3;
    static final int NOT_PERMITTED = 4;

    /** Bytes of fields: as much as Linux allows for one argument (MAX_ARG_STRLEN). */
    static final int LONGEST = 128 * 1024;

    private static final String GREETING = "RAMPIPE 1 ";
    private static final int LONGEST_LINE = GREETING.length() + 8;

    private Protocol() {}

    /** The peer does not keep to the protocol. */
    static final class Violation extends IOException {
        private static final long serialVersionUID = 1L;

        Violation(String message) {
            super(message);
        }
    }

    /**
     * What a client asks for.
     *
     * @param directory in the form of {@link FilePath#text}, as are the arguments
     */
    record Request(boolean gogo, String directory, List<String> arguments) {}

    /**
     * Reads a request, waiting for it as long as the channel does.
     *
     * @return null if the peer closed instead
     * @throws Violation if it is none
     */
    static Request read(ReadableByteChannel from) throws IOException {
        ByteBuffer one = ByteBuffer.allocate(1);
        StringBuilder line = new StringBuilder();
        while (true) {
            if (from.read(one.clear()) < 0) {
                if (line.length() == 0) {
                    return null;
                }
                throw new EOFException("the client left in the middle of a request");
            }
            char c = (char) (one.get(0) & 0xff);
            if (c == '\n') {
                break;
            }
            line.append(c);
            if (line.length() > LONGEST_LINE) {
                throw new Violation("not a RamPipe client");
            }
        }
        ByteBuffer fields = ByteBuffer.allocate(length(line.toString()));
        while (fields.hasRemaining()) {
            if (from.read(fields) < 0) {
                throw new EOFException("the client left in the middle of a request");
            }
        }
        return request(fields.array());
    }

    private static int length(String line) throws Violation {
        if (!line.matches(GREETING + "\\d{1,8}")) {
            throw new Violation("not a RamPipe client, or one of another version");
        }
        int length = Integer.parseInt(line.substring(GREETING.length()));
        if (length > LONGEST) {
            throw new Violation(
                    "the arguments are too long: "
                            + length
                            + " bytes; "
                            + LONGEST
                            + " are allowed");
        }
        return length;
    }

    private static Request request(byte[] bytes) throws Violation {
        List<String> fields = new ArrayList<>();
        int start = 0;
        for (int i = 0; i < bytes.length; i++) {
            if (bytes[i] == 0) {
                fields.add(FilePath.ofBytes(bytes, start, i - start).text());
                start = i + 1;
            }
        }
        if (start != bytes.length || fields.size() < 3) {
            throw new Violation("the request is not complete");
        }
        boolean gogo = fields.get(0).equals("gogo");
        if (!gogo && !fields.get(0).equals("run") || gogo && fields.size() != 3) {
            throw new Violation("the request is not understood");
        }
        return new Request(gogo, fields.get(1), List.copyOf(fields.subList(2, fields.size())));
    }

    /** A frame's head. */
    static ByteBuffer head(byte type, int length) {
        return ByteBuffer.allocate(5).put(type).putInt(length).flip();
    }

    static byte[] exit(int status) {
        return Integer.toString(status).getBytes(StandardCharsets.US_ASCII);
    }
}
