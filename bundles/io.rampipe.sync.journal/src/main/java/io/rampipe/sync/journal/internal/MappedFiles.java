package io.rampipe.sync.journal.internal;

import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;

/**
 * Files that programs have mapped shared and writable. Writing through a mapping of a file on tmpfs
 * changes its times only with the first write to each page, so that they say nothing about such
 * files.
 */
record MappedFiles(Set<Long> inodes, Set<Integer> processes) {
    private static final Path PROC = Path.of("/proc");

    /**
     * Inode numbers of the files mapped through the overlay of this pin, as {@code
     * proc_pid_maps(5)} shows them: the overlay's own, which are those of the lower or of the upper
     * file; before Linux 6.8 the upper file itself (there a mapping is of the real file, {@code
     * fs/overlayfs/file.c}, and {@code fs/proc/task_mmu.c} shows that). And who has mapped them; of
     * older kernels, those too who have mapped files of other pins in the same pool.
     */
    static MappedFiles of(Pin pin) throws IOException {
        Set<String> devices = new HashSet<>();
        for (MountInfo m : MountInfo.all()) {
            if (m.source().raw().equals("rampipe:" + pin.id())) {
                devices.add(device(m.device()));
            }
        }
        if (!devices.isEmpty()) {
            try (Fd upper = At.open(pin.path(Pin.UPPER), At.O_PATH | At.O_DIRECTORY)) {
                devices.add(device(Stat.of(upper).device()));
            }
        }
        Set<Long> inodes = new HashSet<>();
        Set<Integer> processes = new HashSet<>();
        if (devices.isEmpty()) {
            return new MappedFiles(inodes, processes);
        }
        try (DirectoryStream<Path> all = Files.newDirectoryStream(PROC, "[0-9]*")) {
            for (Path process : all) {
                try {
                    String maps =
                            new String(
                                    Files.readAllBytes(process.resolve("maps")),
                                    StandardCharsets.ISO_8859_1);
                    if (find(maps, devices, inodes)) {
                        processes.add(Integer.parseInt(process.getFileName().toString()));
                    }
                } catch (IOException e) {
                    // It has ended.
                }
            }
        }
        return new MappedFiles(inodes, processes);
    }

    private static String device(long device) {
        String text = Stat.deviceText(device);
        int colon = text.indexOf(':');
        return String.format(
                "%02x:%02x",
                Long.parseLong(text.substring(0, colon)),
                Long.parseLong(text.substring(colon + 1)));
    }

    private static boolean find(String maps, Set<String> devices, Set<Long> inodes) {
        boolean found = false;
        // Address, rights, offset, device, inode, path.
        int start = 0;
        while (start < maps.length()) {
            int end = maps.indexOf('\n', start);
            end = end < 0 ? maps.length() : end;
            int rights = maps.indexOf(' ', start) + 1;
            if (rights > start
                    && rights + 4 < end
                    && maps.charAt(rights + 3) == 's'
                    && maps.charAt(rights + 1) == 'w') {
                String[] f = maps.substring(rights, end).split(" +", 5);
                if (f.length > 3 && devices.contains(f[2])) {
                    inodes.add(Long.parseUnsignedLong(f[3]));
                    found = true;
                }
            }
            start = end + 1;
        }
        return found;
    }
}
