package io.rampipe.demo;

import java.io.IOException;
import java.io.Reader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Properties;

/** Figures of one run, gathered by several programs in one file of {@code key=value} lines. */
final class Results {
    private final Path file;

    Results(Path file) {
        this.file = file;
    }

    void put(String key, Object value) throws IOException {
        Files.writeString(
                file,
                key + "=" + value + "\n",
                StandardOpenOption.CREATE,
                StandardOpenOption.APPEND);
    }

    Properties all() throws IOException {
        Properties all = new Properties();
        try (Reader in = Files.newBufferedReader(file)) {
            all.load(in);
        }
        return all;
    }
}
