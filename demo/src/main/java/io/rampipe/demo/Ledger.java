package io.rampipe.demo;

import java.io.IOException;
import java.nio.ByteOrder;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * What was promised to whoever wrote: for each stream of changes the number of the last one begun
 * and of the last one acknowledged. A mapped file beside the disk under test (in RAM), so that an
 * entry costs nothing and outlives the load's process. One writer at a time for each stream.
 */
final class Ledger {
    private static final int STREAMS = 8;
    private static final int STREAM_BYTES = 2 * Long.BYTES;

    private final MappedByteBuffer map;

    private Ledger(MappedByteBuffer map) {
        this.map = map;
    }

    /** Opens or makes the one of that name in a directory. */
    static Ledger open(Path directory, String name) throws IOException {
        Files.createDirectories(directory);
        try (FileChannel file =
                FileChannel.open(
                        directory.resolve(name),
                        StandardOpenOption.READ,
                        StandardOpenOption.WRITE,
                        StandardOpenOption.CREATE)) {
            MappedByteBuffer map =
                    file.map(FileChannel.MapMode.READ_WRITE, 0, STREAMS * STREAM_BYTES);
            map.order(ByteOrder.nativeOrder());
            return new Ledger(map);
        }
    }

    Stream stream(int index) {
        return new Stream(index * STREAM_BYTES);
    }

    /** Changes with the numbers 1, 2, 3 and so on. */
    final class Stream {
        private final int at;

        private Stream(int at) {
            this.at = at;
        }

        /** The last change that may be on disk. */
        long begun() {
            return map.getLong(at);
        }

        /** The last change that must be on disk. */
        long acknowledged() {
            return map.getLong(at + Long.BYTES);
        }

        /** Notes that the next change begins, and returns its number. */
        long begin() {
            return beginTo(acknowledged() + 1);
        }

        /** Notes that all changes up to this one begin as one. */
        long beginTo(long number) {
            map.putLong(at, number);
            return number;
        }

        /** Notes that this change, and so each before it, was reported as done. */
        void acknowledge(long number) {
            map.putLong(at + Long.BYTES, number);
        }
    }
}
