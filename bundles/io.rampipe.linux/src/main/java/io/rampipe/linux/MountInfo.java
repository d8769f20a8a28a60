package io.rampipe.linux;

import io.rampipe.api.FilePath;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * One mount of this mount namespace: a line of {@code /proc/self/mountinfo} ({@code
 * proc_pid_mountinfo(5)}).
 *
 * @param device in the form of {@link Stat#device}
 * @param root what of the file system is mounted
 * @param path where, as seen now
 * @param optional such as {@code shared:1}
 * @param source what was named as the device when mounting
 */
public record MountInfo(
        int id,
        int parent,
        long device,
        FilePath root,
        FilePath path,
        String flags,
        List<String> optional,
        String type,
        FilePath source,
        String options) {

    private static final String PIN = "rampipe:";
    private static final Path TABLE = Path.of("/proc/self/mountinfo");

    /** All mounts, in mount order: a later one at the same path covers an earlier one. */
    public static List<MountInfo> all() throws IOException {
        return read(TABLE);
    }

    /** All mounts that a process sees; their paths are those below its root directory. */
    public static List<MountInfo> of(int pid) throws IOException {
        return read(Path.of("/proc/" + pid + "/mountinfo"));
    }

    private static List<MountInfo> read(Path table) throws IOException {
        List<MountInfo> all = new ArrayList<>();
        for (String line :
                new String(Files.readAllBytes(table), StandardCharsets.ISO_8859_1).split("\n")) {
            if (!line.isEmpty()) {
                all.add(parse(line));
            }
        }
        return all;
    }

    /**
     * The id of the pin that it is a mount of, by its source: {@code rampipe:ID}, or a device node
     * of that name.
     */
    public Optional<String> pin() {
        String name = source.raw().substring(source.raw().lastIndexOf('/') + 1);
        return name.startsWith(PIN) ? Optional.of(name.substring(PIN.length())) : Optional.empty();
    }

    /** The mount with that id. */
    public static Optional<MountInfo> byId(long id) throws IOException {
        return all().stream().filter(m -> m.id == id).findFirst();
    }

    /** Number of the peer group ({@code shared:N}); 0 if the mount propagates nothing. */
    public int shared() {
        return group("shared:");
    }

    /** Number of the peer group that this mount receives from ({@code master:N}); 0 if none. */
    public int master() {
        return group("master:");
    }

    private int group(String key) {
        for (String field : optional) {
            if (field.startsWith(key)) {
                return Integer.parseInt(field.substring(key.length()));
            }
        }
        return 0;
    }

    static MountInfo parse(String line) {
        String[] f = line.split(" ");
        int dash = 6;
        List<String> optional = new ArrayList<>();
        while (!f[dash].equals("-")) {
            optional.add(f[dash++]);
        }
        int colon = f[2].indexOf(':');
        return new MountInfo(
                Integer.parseInt(f[0]),
                Integer.parseInt(f[1]),
                Stat.device(
                        Long.parseLong(f[2].substring(0, colon)),
                        Long.parseLong(f[2].substring(colon + 1))),
                unescape(f[3]),
                unescape(f[4]),
                f[5],
                List.copyOf(optional),
                f[dash + 1],
                unescape(f[dash + 2]),
                dash + 3 < f.length ? f[dash + 3] : "");
    }

    /** The kernel writes space, tab, newline and backslash as three octal digits. */
    private static FilePath unescape(String field) {
        StringBuilder out = new StringBuilder(field.length());
        for (int i = 0; i < field.length(); i++) {
            char c = field.charAt(i);
            if (c == '\\'
                    && i + 3 < field.length()
                    && field.substring(i + 1, i + 4).matches("[0-7]{3}")) {
                out.append((char) Integer.parseInt(field.substring(i + 1, i + 4), 8));
                i += 3;
            } else {
                out.append(c);
            }
        }
        return FilePath.ofRaw(out.toString());
    }
}
