package io.rampipe.testkit;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A real file system on a loop device, gone without a trace when closed, together with everything
 * mounted below it.
 */
public final class ScratchDisk implements AutoCloseable {
    private final Path home;
    private final Path root;
    private final Path image;

    private ScratchDisk(Path home) {
        this.home = home;
        this.root = home.resolve("disk");
        this.image = home.resolve("disk.img");
    }

    public static ScratchDisk ext4(int megabytes) throws IOException {
        return make(
                megabytes, "mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0");
    }

    /** Makes the file system with that command, to which the image's path is added. */
    public static ScratchDisk make(int megabytes, String... mkfs) throws IOException {
        Path where = Files.isDirectory(Path.of("/dev/shm")) ? Path.of("/dev/shm") : Path.of("/tmp");
        ScratchDisk disk = new ScratchDisk(Files.createTempDirectory(where, "rampipe-disk-"));
        try {
            Command.run("truncate", "-s", megabytes + "M", disk.image.toString());
            List<String> command = new ArrayList<>(List.of(mkfs));
            command.add(disk.image.toString());
            Command.run(command.toArray(new String[0]));
            Files.createDirectory(disk.root);
            disk.mount();
            return disk;
        } catch (IOException e) {
            disk.close();
            throw e;
        }
    }

    /** Where it is mounted. */
    public Path root() {
        return root;
    }

    /**
     * A directory beside the disk, not on it (RAM usually), for whatever a test needs; removed with
     * the disk.
     */
    public Path aside(String name) throws IOException {
        return Files.createDirectories(home.resolve(name));
    }

    /** Mounts it, as after {@link #unmount}. */
    public void mount(String... options) throws IOException {
        String all = options.length == 0 ? "loop" : "loop," + String.join(",", options);
        Command.run("mount", "-o", all, image.toString(), root.toString());
    }

    /** Unmounts it: what is read after another {@link #mount} comes from the disk. */
    public void unmount() throws IOException {
        Command.run("umount", root.toString());
    }

    @Override
    public void close() {
        try {
            // Deepest and latest first; lazily only as a last resort, so that nothing is left of a
            // failed test either.
            List<String> points = new ArrayList<>();
            for (String line :
                    Files.readAllLines(
                            Path.of("/proc/self/mountinfo"),
                            java.nio.charset.StandardCharsets.ISO_8859_1)) {
                String point = line.split(" ")[4];
                // A name that no command line can carry goes with the mount below it.
                if (point.startsWith(home.toString()) && point.matches("[!-~]*")) {
                    points.add(0, point);
                }
            }
            for (String point : points) {
                Command.run("umount", "--lazy", printf(point));
            }
            Command.run("rm", "-rf", "--one-file-system", home.toString());
        } catch (IOException e) {
            throw new UncheckedIOException("cannot remove scratch disk " + home, e);
        }
    }

    /** mountinfo's octal escapes, undone. */
    private static String printf(String point) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < point.length(); i++) {
            if (point.charAt(i) == '\\' && i + 3 < point.length()) {
                out.append((char) Integer.parseInt(point.substring(i + 1, i + 4), 8));
                i += 3;
            } else {
                out.append(point.charAt(i));
            }
        }
        return out.toString();
    }
}
