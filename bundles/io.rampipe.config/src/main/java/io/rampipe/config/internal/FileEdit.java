package io.rampipe.config.internal;

import io.rampipe.api.Printable;
import java.io.IOException;
import java.io.StringReader;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFileAttributeView;
import java.nio.file.attribute.PosixFileAttributes;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;

/**
 * Changes one value in a properties file that people write: comments, order and everything else
 * stay. The file is replaced as a whole, so that it is the old or the new one whatever happens.
 */
final class FileEdit {
    private static final FileAttribute<?> READABLE =
            PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-r--r--"));

    private final Path file;

    FileEdit(Path file) {
        this.file = file;
    }

    /**
     * On return it is on disk.
     *
     * @throws IOException if it was not changed, with the cause
     */
    void set(String key, String value) throws IOException {
        try {
            // A link stays one.
            Path real = Files.exists(file) ? file.toRealPath() : file;
            String before = read(real);
            String after = with(before, key, value);
            check(before, after, key, value);
            replace(real, after);
        } catch (IOException e) {
            throw new IOException(
                    "cannot write "
                            + Printable.of(file.toString())
                            + ": "
                            + (e.getClass() == IOException.class ? e.getMessage() : e)
                            + "; nothing was changed",
                    e);
        }
    }

    private static String read(Path real) throws IOException {
        try {
            return Files.readString(real);
        } catch (NoSuchFileException e) {
            return "";
        }
    }

    /** The text with another value: in the place of the old one, or after its commented line. */
    static String with(String text, String key, String value) {
        String line = key + " = " + value.replace("\\", "\\\\");
        List<String> lines = new ArrayList<>(List.of(text.split("\n", -1)));
        int at = -1;
        int end = -1;
        int commented = -1;
        for (int i = 0; i < lines.size(); i++) {
            String l = lines.get(i).stripLeading();
            if (l.startsWith("#") || l.startsWith("!")) {
                if (key.equals(key(l.substring(1).stripLeading()))) {
                    commented = i;
                }
                continue;
            }
            int first = i;
            while (goesOn(lines.get(i)) && i + 1 < lines.size()) {
                i++;
            }
            // Of several the last one counts.
            if (key.equals(key(l))) {
                at = first;
                end = i;
            }
        }
        if (at >= 0) {
            lines.subList(at, end + 1).clear();
            lines.add(at, line);
        } else if (commented >= 0) {
            lines.add(commented + 1, line);
        } else {
            // Behind the last line break there is an empty line.
            boolean broken = lines.get(lines.size() - 1).isEmpty();
            lines.add(broken ? lines.size() - 1 : lines.size(), line);
        }
        String all = String.join("\n", lines);
        return all.endsWith("\n") ? all : all + "\n";
    }

    /** Whether the line's last character is a backslash that is not itself escaped. */
    private static boolean goesOn(String line) {
        String l = line.endsWith("\r") ? line.substring(0, line.length() - 1) : line;
        int backslashes = 0;
        while (backslashes < l.length() && l.charAt(l.length() - 1 - backslashes) == '\\') {
            backslashes++;
        }
        return backslashes % 2 == 1;
    }

    private static String key(String line) {
        return line.split("[=:\\s]", 2)[0];
    }

    /** People may write a file in ways that are not understood here: rather nothing than damage. */
    private static void check(String before, String after, String key, String value)
            throws IOException {
        Properties expected = new Properties();
        Properties found = new Properties();
        boolean same;
        try {
            expected.load(new StringReader(before));
            expected.setProperty(key, value);
            found.load(new StringReader(after));
            same = found.equals(expected);
        } catch (IllegalArgumentException e) {
            same = false;
        }
        if (!same) {
            throw new IOException("it is written in a way that only people can change; set " + key);
        }
    }

    private static void replace(Path real, String text) throws IOException {
        // FileInstall does not look at this one.
        Path fresh = real.resolveSibling(real.getFileName() + ".new");
        Files.deleteIfExists(fresh);
        try {
            Files.createFile(fresh, READABLE);
            if (Files.exists(real)) {
                copyOwner(real, fresh);
            }
            try (FileChannel out = FileChannel.open(fresh, StandardOpenOption.WRITE)) {
                ByteBuffer bytes = ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
                while (bytes.hasRemaining()) {
                    out.write(bytes);
                }
                out.force(true);
            }
            Files.move(fresh, real, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            try {
                Files.deleteIfExists(fresh);
            } catch (IOException more) {
                e.addSuppressed(more);
            }
            throw e;
        }
        try (FileChannel directory =
                FileChannel.open(real.toAbsolutePath().getParent(), StandardOpenOption.READ)) {
            directory.force(true);
        }
    }

    private static void copyOwner(Path from, Path to) throws IOException {
        PosixFileAttributes old =
                Files.readAttributes(from, PosixFileAttributes.class, LinkOption.NOFOLLOW_LINKS);
        PosixFileAttributeView view = Files.getFileAttributeView(to, PosixFileAttributeView.class);
        view.setOwner(old.owner());
        view.setGroup(old.group());
        view.setPermissions(old.permissions());
    }
}
