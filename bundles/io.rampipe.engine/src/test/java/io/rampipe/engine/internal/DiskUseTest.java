package io.rampipe.engine.internal;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DiskUseTest {
    @TempDir Path directory;

    @Test
    void aFileWithTwoNamesCountsOnce() throws Exception {
        Path file = directory.resolve("file");
        Files.write(file, new byte[1 << 20]);
        Files.createLink(Files.createDirectory(directory.resolve("d")).resolve("again"), file);
        try (Fd fd = At.open(FilePath.of(directory.toString()), At.O_RDONLY | At.O_DIRECTORY)) {
            long used = DiskUse.of(fd);
            assertTrue(used >= 1 << 20 && used < 3 << 19, "used " + used);
        }
    }
}
