package io.rampipe.engine.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.util.HashSet;
import java.util.Set;

/** How much a directory tree takes, without following links or entering mounts. */
final class DiskUse {
    private static final int BLOCK = 512;

    private DiskUse() {}

    /**
     * Bytes allocated below an open directory; what vanishes while it is counted is left out. A
     * file with several names counts once: each that overlayfs has copied up has another one in its
     * index.
     */
    static long of(Fd directory) throws LinuxException {
        return of(directory, Stat.of(directory).device(), new HashSet<>());
    }

    private static long of(Fd directory, long device, Set<Long> linked) throws LinuxException {
        long total = 0;
        for (FilePath name : At.list(directory)) {
            try {
                Stat stat = Stat.at(directory, name);
                if (stat.device() != device) {
                    continue;
                }
                if (stat.isDirectory() || stat.links() == 1 || linked.add(stat.inode())) {
                    total += stat.blocks() * BLOCK;
                }
                if (stat.isDirectory()) {
                    try (Fd below = At.openDirectory(directory, name)) {
                        total += of(below, device, linked);
                    }
                }
            } catch (LinuxException e) {
                continue;
            }
        }
        return total;
    }
}
