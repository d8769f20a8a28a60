package io.rampipe.replay;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.Deflater;
import java.util.zip.GZIPOutputStream;

/** Writes a trace, see {@link TraceFormat}. One thread; a trace that was not closed has no end. */
final class TraceWriter implements AutoCloseable {
    private static final int BUFFER = 64 * 1024;

    private final OutputStream out;
    private int directories;
    private int files;

    TraceWriter(Path file) throws IOException {
        out =
                new BufferedOutputStream(
                        new GZIPOutputStream(Files.newOutputStream(file), BUFFER) {
                            {
                                def.setLevel(Deflater.BEST_COMPRESSION);
                            }
                        },
                        BUFFER);
        out.write(TraceFormat.MAGIC.getBytes(StandardCharsets.US_ASCII));
    }

    /**
     * Returns the directory's number.
     *
     * @param parent that of the directory that it is in; -1 if that is not known
     */
    int directory(int parent, byte[] path) throws IOException {
        out.write(TraceFormat.DIRECTORY);
        number(parent + 1);
        bytes(path);
        return directories++;
    }

    /** Returns the file's number. */
    int file(int directory, byte[] name) throws IOException {
        out.write(TraceFormat.FILE);
        number(directory);
        bytes(name);
        return files++;
    }

    void tick(long millis, int events) throws IOException {
        out.write(TraceFormat.TICK);
        number(millis);
        number(events);
    }

    /** As many as the tick before it announced. */
    void event(int file, int kinds, double scale) throws IOException {
        number(file);
        if (scale == 1) {
            out.write(kinds);
        } else {
            out.write(kinds | TraceFormat.SCALED);
            number(Math.round(scale * TraceFormat.SCALE));
        }
    }

    void size(int file, long bytes) throws IOException {
        out.write(TraceFormat.SIZE);
        number(file);
        number(bytes);
    }

    void end(long millis) throws IOException {
        out.write(TraceFormat.END);
        number(millis);
    }

    private void bytes(byte[] bytes) throws IOException {
        number(bytes.length);
        out.write(bytes);
    }

    private void number(long n) throws IOException {
        long rest = n;
        while (rest >= 0x80 || rest < 0) {
            out.write((int) (rest & 0x7f | 0x80));
            rest >>>= 7;
        }
        out.write((int) rest);
    }

    @Override
    public void close() throws IOException {
        out.close();
    }
}
