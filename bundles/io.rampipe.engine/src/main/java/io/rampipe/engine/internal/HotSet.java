package io.rampipe.engine.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Target;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Properties;

/**
 * What has been hot, in a small text file that survives the machine: replaced in one step, so that
 * any instant shows a whole one. Nothing depends on it but what is pinned early.
 */
final class HotSet {
    private static final int MOST_BYTES = 4 << 20;

    private final Path file;

    /**
     * @param target of a pin
     * @param names of files in it that were hot, if it is a directory
     * @param used when that was
     * @param unused times that it was pinned early since, and not used
     */
    record Entry(Target target, List<FilePath> names, Instant used, int unused) {}

    HotSet(Path file) {
        this.file = file;
    }

    /**
     * @throws IllegalArgumentException if the file is not as it was written; nothing else, whatever
     *     is in it
     */
    List<Entry> load() throws IOException {
        try {
            if (Files.size(file) > MOST_BYTES) {
                throw new IllegalArgumentException("is too large");
            }
            return parse(Files.readString(file, StandardCharsets.ISO_8859_1));
        } catch (NoSuchFileException e) {
            return List.of();
        }
    }

    static List<Entry> parse(String text) {
        Properties p = PinFiles.properties(text);
        List<Entry> entries = new ArrayList<>();
        for (int i = 0; p.containsKey(i + ".path"); i++) {
            String of = i + ".";
            FilePath path = FilePath.ofRaw(p.getProperty(of + "path"));
            List<FilePath> names =
                    Arrays.stream(p.getProperty(of + "names", "").split("/"))
                            .filter(n -> !n.isEmpty())
                            .map(FilePath::ofRaw)
                            .toList();
            try {
                entries.add(
                        new Entry(
                                new Target(
                                        path, Target.Kind.valueOf(p.getProperty(of + "kind", ""))),
                                names,
                                Instant.ofEpochSecond(
                                        Long.parseLong(p.getProperty(of + "used", ""))),
                                Integer.parseInt(p.getProperty(of + "unused", ""))));
            } catch (java.time.DateTimeException e) {
                throw new IllegalArgumentException("has no time in " + of + "used", e);
            }
        }
        return entries;
    }

    static String text(Collection<Entry> entries) {
        Properties p = new Properties();
        int i = 0;
        for (Entry e : entries) {
            String of = i++ + ".";
            p.setProperty(of + "path", e.target().path().raw());
            p.setProperty(of + "kind", e.target().kind().name());
            p.setProperty(
                    of + "names", String.join("/", e.names().stream().map(FilePath::raw).toList()));
            p.setProperty(of + "used", Long.toString(e.used().getEpochSecond()));
            p.setProperty(of + "unused", Integer.toString(e.unused()));
        }
        return PinFiles.text(p);
    }

    void save(Collection<Entry> entries) throws IOException {
        Path fresh = file.resolveSibling(file.getFileName() + ".new");
        byte[] bytes = text(entries).getBytes(StandardCharsets.ISO_8859_1);
        try (FileChannel to =
                FileChannel.open(
                        fresh,
                        StandardOpenOption.CREATE,
                        StandardOpenOption.TRUNCATE_EXISTING,
                        StandardOpenOption.WRITE)) {
            for (ByteBuffer b = ByteBuffer.wrap(bytes); b.hasRemaining(); ) {
                to.write(b);
            }
            to.force(true);
        }
        Files.move(
                fresh, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    void remove() throws IOException {
        Files.deleteIfExists(file);
    }

    @Override
    public String toString() {
        return file.toString();
    }
}
