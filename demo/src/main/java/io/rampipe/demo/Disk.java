package io.rampipe.demo;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Writing as careful programs do. */
final class Disk {
    private Disk() {}

    /** Writes a new file and waits until its content is on disk (its name may not be). */
    static void create(Path file, byte[] content) throws IOException {
        try (FileChannel out =
                FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            write(out, content);
            out.force(true);
        }
    }

    /** Adds to a file that exists and waits until that is on disk. */
    static void append(Path file, byte[] content) throws IOException {
        try (FileChannel out = FileChannel.open(file, StandardOpenOption.APPEND)) {
            write(out, content);
            out.force(true);
        }
    }

    /** Waits until the names in a directory are on disk. */
    static void syncNames(Path directory) throws IOException {
        try (FileChannel names = FileChannel.open(directory, StandardOpenOption.READ)) {
            names.force(true);
        }
    }

    private static void write(FileChannel out, byte[] content) throws IOException {
        ByteBuffer rest = ByteBuffer.wrap(content);
        while (rest.hasRemaining()) {
            out.write(rest);
        }
    }
}
