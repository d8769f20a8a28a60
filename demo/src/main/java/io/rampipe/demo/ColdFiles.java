package io.rampipe.demo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Files that nobody writes: read once, and not to be taken for hot. */
final class ColdFiles {
    static final int COUNT = 3000;
    private static final int PER_DIRECTORY = 100;

    private final Path directory;

    ColdFiles(Path directory) {
        this.directory = directory;
    }

    void create() throws IOException {
        for (int i = 0; i < COUNT; i++) {
            Path file = file(i);
            if (i % PER_DIRECTORY == 0) {
                Files.createDirectories(file.getParent());
            }
            Files.write(file, content(i));
        }
    }

    void readOnce() throws IOException {
        for (int i = 0; i < COUNT; i++) {
            Files.readAllBytes(file(i));
        }
    }

    void check(Findings findings) {
        for (int i = 0; i < COUNT; i++) {
            findings.compare(file(i), content(i));
        }
    }

    private Path file(int i) {
        return directory.resolve(String.format("%02d/%04d.jpg", i / PER_DIRECTORY, i));
    }

    private static byte[] content(int i) {
        return Content.bytes("cold", i, Content.size("cold", i, 500, 8_000));
    }
}
