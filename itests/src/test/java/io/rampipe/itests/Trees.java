package io.rampipe.itests;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Stat;
import io.rampipe.testkit.tree.Snapshot;
import java.io.IOException;
import java.nio.file.Path;

/** Trees on disk as the tests of the shipped daemon see them. */
final class Trees {
    private Trees() {}

    /**
     * FIFOs and sockets make a directory ineligible: who waits at one on disk would not be met
     * through the overlay.
     */
    static void removeMeetingPoints(Fd directory) throws IOException {
        for (FilePath name : At.list(directory)) {
            Stat stat = Stat.at(directory, name);
            if (stat.isDirectory()) {
                try (Fd below = At.openDirectory(directory, name)) {
                    removeMeetingPoints(below);
                }
            } else if (stat.type() == Stat.FIFO || stat.type() == Stat.SOCKET) {
                At.unlink(directory, name);
            }
        }
    }

    static Snapshot snapshot(Path target) throws IOException {
        try (Fd root = open(target)) {
            return Snapshot.of(root);
        }
    }

    static Fd open(Path directory) throws IOException {
        return At.open(FilePath.of(directory.toString()), At.O_RDONLY | At.O_DIRECTORY);
    }
}
