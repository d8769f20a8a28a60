package io.rampipe.control.internal;

import io.rampipe.api.Printable;
import io.rampipe.control.internal.Protocol.Request;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.List;
import org.apache.felix.service.command.CommandProcessor;
import org.apache.felix.service.command.CommandSession;
import org.apache.felix.service.command.Converter;
import org.apache.felix.service.command.Function;

/** A Gogo session for one client. One thread. */
final class Session implements AutoCloseable {
    /** Session variable with the client's working directory; the commands resolve paths with it. */
    static final String DIRECTORY = "rampipe.cwd";

    private static final String SCOPE = "rampipe";
    private static final String RUN = "rampipe_run";

    private final CommandSession gogo;
    private final OutputStream out;
    private final OutputStream err;

    Session(CommandProcessor processor, OutputStream out, OutputStream err) {
        this.out = out;
        this.err = err;
        gogo = processor.createSession(InputStream.nullInputStream(), out, err);
        gogo.put("SCOPE", SCOPE + ":gogo:*");
    }

    /**
     * Runs it and returns the exit status. Output and errors have been written.
     *
     * @throws IOException if the client is gone
     */
    int run(Request request) throws IOException {
        enter(request.directory());
        try {
            Object result =
                    request.gogo()
                            ? gogo.execute(request.arguments().get(0))
                            : command(request.arguments());
            if (result != null) {
                String text = gogo.format(result, Converter.INSPECT).toString();
                if (!text.isEmpty()) {
                    print(out, text.endsWith("\n") ? text : text + "\n");
                }
            }
            return Protocol.DONE;
        } catch (IllegalArgumentException e) {
            print(err, "rampipe: " + message(e) + "\n");
            return Protocol.WRONG_USAGE;
        } catch (Exception e) {
            print(err, "rampipe: " + message(e) + "\n");
            return Protocol.FAILED;
        }
    }

    private void enter(String directory) {
        gogo.put(DIRECTORY, directory);
        try {
            gogo.currentDir(Path.of(directory));
        } catch (InvalidPathException e) {
            // A name that Java cannot hold: Gogo's own cd and redirections stay where they are.
            return;
        }
    }

    /**
     * Gogo runs a function without arguments, which gives the command the real ones: so they are
     * never part of a line that Gogo reads, and the command has its own streams all the same.
     */
    private Object command(List<String> words) throws Exception {
        String name = words.get(0);
        Object command = name.matches("[a-z][a-z-]*") ? gogo.get(SCOPE + ":" + name) : null;
        if (!(command instanceof Function function)) {
            throw new IllegalArgumentException(
                    "there is no command " + name + "; see rampipe help");
        }
        List<Object> arguments = List.copyOf(words.subList(1, words.size()));
        Function run = (session, none) -> function.execute(session, arguments);
        gogo.put(RUN, run);
        try {
            return gogo.execute(RUN);
        } finally {
            gogo.put(RUN, null);
        }
    }

    private static String message(Exception e) {
        String message = e.getMessage();
        return Printable.of(message == null || message.isBlank() ? e.toString() : message);
    }

    private static void print(OutputStream to, String text) throws IOException {
        to.write(text.getBytes(StandardCharsets.UTF_8));
    }

    @Override
    public void close() {
        gogo.close();
    }
}
