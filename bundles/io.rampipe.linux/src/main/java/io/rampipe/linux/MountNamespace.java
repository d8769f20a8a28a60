package io.rampipe.linux;

import io.rampipe.api.FilePath;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * What the processes of one mount namespace see ({@code mount_namespaces(7)}).
 *
 * @param own whether it is this process's
 * @param pid a process in it
 * @param mounts as in that process's mountinfo
 */
public record MountNamespace(boolean own, int pid, List<MountInfo> mounts) {
    private static final FilePath LINK = FilePath.of("ns/mnt");

    /** All namespaces that have a process, this process's first. */
    public static List<MountNamespace> all() throws IOException {
        List<MountNamespace> all = new ArrayList<>();
        Map<Long, Boolean> seen = new HashMap<>();
        try (Fd proc = At.open(FilePath.of("/proc"), At.O_RDONLY | At.O_DIRECTORY)) {
            seen.put(Stat.behind(proc, FilePath.of("self/ns/mnt")).inode(), true);
            all.add(new MountNamespace(true, LibC.getpid(), MountInfo.all()));
            for (FilePath name : At.list(proc)) {
                char first = name.raw().charAt(0);
                if (first < '0' || first > '9') {
                    continue;
                }
                try {
                    long id = Stat.behind(proc, name.resolve(LINK)).inode();
                    if (!seen.containsKey(id)) {
                        int pid = Integer.parseInt(name.raw());
                        all.add(new MountNamespace(false, pid, MountInfo.of(pid)));
                        seen.put(id, true);
                    }
                } catch (IOException e) {
                    // The process has ended; another one of its namespace will do.
                }
            }
        }
        return all;
    }
}
