package io.rampipe.replay;

import java.io.BufferedInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.GZIPInputStream;

/** A trace in memory: parallel arrays, because there may be millions of events. */
final class Trace {
    private static final int MOST = 1 << 28;

    int ticks;
    long[] tickMillis = new long[1024];

    /** First event, and first size, of each tick; one more at the end. */
    int[] tickEvents = new int[1025];

    int[] tickSizes = new int[1025];

    int events;
    int[] eventFile = new int[1024];
    byte[] eventKinds = new byte[1024];
    float[] eventScale = new float[1024];

    int sizes;
    int[] sizeFile = new int[1024];
    long[] sizeBytes = new long[1024];

    int directories;

    /** -1 if it is not known. */
    int[] parentOf = new int[1024];

    int files;
    int[] directoryOf = new int[1024];
    long millis;

    private final InputStream in;

    private Trace(InputStream in) {
        this.in = in;
    }

    /** Throws, naming the file, if it is no trace, or was cut off. */
    static Trace read(Path file) throws IOException {
        try (InputStream in =
                new BufferedInputStream(new GZIPInputStream(Files.newInputStream(file), 1 << 16))) {
            Trace trace = new Trace(in);
            byte[] magic = in.readNBytes(TraceFormat.MAGIC.length());
            if (!TraceFormat.MAGIC.equals(new String(magic, StandardCharsets.US_ASCII))) {
                throw new IOException("it is no trace of version 1");
            }
            trace.read();
            return trace;
        } catch (IOException e) {
            throw new IOException(file + ": " + e.getMessage(), e);
        }
    }

    private void read() throws IOException {
        while (true) {
            int tag = one();
            switch (tag) {
                case TraceFormat.END -> {
                    millis += number();
                    tickEvents[ticks] = events;
                    tickSizes[ticks] = sizes;
                    return;
                }
                case TraceFormat.DIRECTORY -> directory();
                case TraceFormat.FILE -> file();
                case TraceFormat.TICK -> tick();
                case TraceFormat.SIZE -> size();
                default -> throw new IOException("it has a record of unknown kind " + tag);
            }
        }
    }

    private void directory() throws IOException {
        if (directories == parentOf.length) {
            parentOf = Arrays.copyOf(parentOf, 2 * directories);
        }
        parentOf[directories] = below(directories + 1) - 1;
        skip();
        directories++;
    }

    private void file() throws IOException {
        if (files == directoryOf.length) {
            directoryOf = Arrays.copyOf(directoryOf, 2 * files);
        }
        directoryOf[files++] = below(directories);
        skip();
    }

    private void tick() throws IOException {
        if (ticks + 1 == tickMillis.length) {
            tickMillis = Arrays.copyOf(tickMillis, 2 * tickMillis.length);
            tickEvents = Arrays.copyOf(tickEvents, 2 * tickEvents.length);
            tickSizes = Arrays.copyOf(tickSizes, 2 * tickSizes.length);
        }
        millis += number();
        tickMillis[ticks] = millis;
        tickEvents[ticks] = events;
        tickSizes[ticks] = sizes;
        ticks++;
        for (int n = below(MOST); n > 0; n--) {
            if (events == eventFile.length) {
                eventFile = Arrays.copyOf(eventFile, 2 * events);
                eventKinds = Arrays.copyOf(eventKinds, 2 * events);
                eventScale = Arrays.copyOf(eventScale, 2 * events);
            }
            eventFile[events] = below(files);
            int kinds = one();
            eventKinds[events] = (byte) (kinds & ~TraceFormat.SCALED);
            eventScale[events] =
                    (kinds & TraceFormat.SCALED) == 0 ? 1 : (float) number() / TraceFormat.SCALE;
            events++;
        }
    }

    private void size() throws IOException {
        if (sizes == sizeFile.length) {
            sizeFile = Arrays.copyOf(sizeFile, 2 * sizes);
            sizeBytes = Arrays.copyOf(sizeBytes, 2 * sizes);
        }
        sizeFile[sizes] = below(files);
        sizeBytes[sizes] = number();
        sizes++;
    }

    private void skip() throws IOException {
        in.skipNBytes(number());
    }

    private int below(int limit) throws IOException {
        long n = number();
        if (n < 0 || n >= limit) {
            throw new IOException("it has the number " + n + " where only " + limit + " are known");
        }
        return (int) n;
    }

    private int one() throws IOException {
        int b = in.read();
        if (b < 0) {
            throw new EOFException("it is cut off");
        }
        return b;
    }

    private long number() throws IOException {
        long n = 0;
        for (int shift = 0; shift < 64; shift += 7) {
            int b = one();
            n |= (long) (b & 0x7f) << shift;
            if (b < 0x80) {
                return n;
            }
        }
        throw new IOException("it has a number of more than 64 bits");
    }
}
