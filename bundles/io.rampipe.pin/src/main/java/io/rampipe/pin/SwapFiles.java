package io.rampipe.pin;

import io.rampipe.api.FilePath;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/** Files that the kernel swaps to, from {@code /proc/swaps} ({@code proc_swaps(5)}). */
public final class SwapFiles {
    private static final Path TABLE = Path.of("/proc/swaps");

    private SwapFiles() {}

    /** Inode numbers and names of those on one device. */
    public static Map<Long, FilePath> on(long device) throws IOException {
        Map<Long, FilePath> found = new HashMap<>();
        for (String line : lines()) {
            String[] fields = line.trim().split("\\s+");
            if (fields.length < 2 || !fields[1].equals("file")) {
                continue;
            }
            FilePath path = unescape(fields[0]);
            try {
                Stat stat = Stat.at(Fd.CWD, path);
                if (stat.device() == device) {
                    found.put(stat.inode(), path);
                }
            } catch (LinuxException e) {
                // Not to be seen from here; then it is in no target either.
            }
        }
        return found;
    }

    private static String[] lines() throws IOException {
        try {
            return new String(Files.readAllBytes(TABLE), StandardCharsets.ISO_8859_1).split("\n");
        } catch (NoSuchFileException e) {
            return new String[0];
        }
    }

    /** The kernel writes white space and backslashes as three octal digits. */
    private static FilePath unescape(String field) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < field.length(); i++) {
            if (field.charAt(i) == '\\' && i + 3 < field.length()) {
                out.append((char) Integer.parseInt(field.substring(i + 1, i + 4), 8));
                i += 3;
            } else {
                out.append(field.charAt(i));
            }
        }
        return FilePath.ofRaw(out.toString());
    }
}
