package io.rampipe.engine.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy.PinJournal;
import io.rampipe.api.Target;
import java.io.IOException;
import java.io.StringReader;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.time.Instant;
import java.time.format.DateTimeParseException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.BiConsumer;
import java.util.zip.CRC32C;

/**
 * The journal of pins: a small text file a pin in the runtime directory, replaced in one step, so
 * that any instant shows a whole record. It outlives the daemon, not the machine; nor must it: the
 * RAM that it speaks of goes with the machine too.
 */
final class PinFiles implements PinJournal {
    static final String SUFFIX = ".pin";

    private static final String FRESH = ".new";
    private static final String VERSION = "1";
    private static final int MOST_BYTES = 1 << 20;

    private final Path directory;

    PinFiles(Path directory) {
        this.directory = directory;
    }

    @Override
    public void write(Pin pin) throws IOException {
        Properties p = new Properties();
        p.setProperty("id", pin.id());
        p.setProperty("target", pin.target().path().raw());
        p.setProperty("kind", pin.target().kind().name());
        p.setProperty("strategy", pin.strategy());
        p.setProperty("sync", pin.sync());
        p.setProperty("format", pin.format());
        p.setProperty("step", pin.step().name());
        p.setProperty("since", pin.since().toString());
        pin.attributes().forEach((k, v) -> p.setProperty("attribute." + k, v));
        byte[] bytes = text(p).getBytes(StandardCharsets.ISO_8859_1);
        Path file = directory.resolve(pin.id() + SUFFIX);
        Path fresh = directory.resolve(pin.id() + FRESH);
        Files.createDirectories(directory);
        try {
            Files.write(fresh, bytes);
            Files.move(
                    fresh,
                    file,
                    StandardCopyOption.ATOMIC_MOVE,
                    StandardCopyOption.REPLACE_EXISTING);
        } catch (IOException e) {
            // The earlier record is the one that counts.
            try {
                Files.deleteIfExists(fresh);
            } catch (IOException more) {
                e.addSuppressed(more);
            }
            throw e;
        }
    }

    void remove(String id) throws IOException {
        Files.deleteIfExists(directory.resolve(id + SUFFIX));
    }

    static boolean isId(String text) {
        return text.matches("[0-9a-z]{1,32}");
    }

    /** Removes records that were being written when a daemon died: nothing has been done yet. */
    void removeUnfinished() throws IOException {
        if (!Files.isDirectory(directory)) {
            return;
        }
        try (DirectoryStream<Path> files = Files.newDirectoryStream(directory, "*" + FRESH)) {
            for (Path file : files) {
                String name = file.getFileName().toString();
                if (isId(name.substring(0, name.length() - FRESH.length()))) {
                    Files.delete(file);
                }
            }
        }
    }

    /** Makes way for a new record where a damaged one is; that is kept under another name. */
    void setAside(String id) throws IOException {
        Path file = directory.resolve(id + SUFFIX);
        for (int i = 1; Files.exists(file, LinkOption.NOFOLLOW_LINKS); i++) {
            Path aside = directory.resolve(id + SUFFIX + ".damaged-" + i);
            if (!Files.exists(aside, LinkOption.NOFOLLOW_LINKS)) {
                Files.move(file, aside);
            }
        }
    }

    /** All records. What cannot be read is reported and left where it is. */
    List<Pin> load(BiConsumer<Path, String> damaged) throws IOException {
        List<Pin> pins = new ArrayList<>();
        if (!Files.isDirectory(directory)) {
            return pins;
        }
        try (DirectoryStream<Path> files = Files.newDirectoryStream(directory, "*" + SUFFIX)) {
            for (Path file : files) {
                try {
                    if (Files.size(file) > MOST_BYTES) {
                        throw new IllegalArgumentException("is too large for a record");
                    }
                    Pin pin =
                            parse(
                                    new String(
                                            Files.readAllBytes(file), StandardCharsets.ISO_8859_1));
                    if (!file.getFileName().toString().equals(pin.id() + SUFFIX)) {
                        throw new IllegalArgumentException("is the record of another pin");
                    }
                    pins.add(pin);
                } catch (IOException e) {
                    damaged.accept(file, "cannot be read: " + e.getMessage());
                } catch (IllegalArgumentException e) {
                    damaged.accept(file, e.getMessage());
                }
            }
        }
        return pins;
    }

    /**
     * The record that a file contains.
     *
     * @throws IllegalArgumentException if it is not a whole record as it was written; nothing else,
     *     whatever the text
     */
    static Pin parse(String text) {
        Properties p = properties(text);
        Map<String, String> attributes = new TreeMap<>();
        for (String key : p.stringPropertyNames()) {
            if (key.startsWith("attribute.")) {
                attributes.put(key.substring("attribute.".length()), p.getProperty(key));
            }
        }
        FilePath target = FilePath.ofRaw(value(p, "target"));
        if (!target.isAbsolute()) {
            throw new IllegalArgumentException("has a target that is no absolute path");
        }
        Instant since;
        try {
            since = Instant.parse(value(p, "since"));
        } catch (DateTimeParseException e) {
            throw new IllegalArgumentException("has no time in since", e);
        }
        return new Pin(
                value(p, "id"),
                new Target(target, Target.Kind.valueOf(value(p, "kind"))),
                value(p, "strategy"),
                value(p, "sync"),
                value(p, "format"),
                Pin.Step.valueOf(value(p, "step")),
                since,
                attributes);
    }

    private static String value(Properties p, String key) {
        String value = p.getProperty(key);
        if (value == null) {
            throw new IllegalArgumentException("has no " + key);
        }
        return value;
    }

    /** Properties as a text that {@link #properties} checks; adds version and checksum to them. */
    static String text(Properties p) {
        p.setProperty("version", VERSION);
        p.setProperty("checksum", checksum(p));
        StringWriter text = new StringWriter();
        try {
            p.store(text, null);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        // Without store()'s first line, which is the time of day.
        String body = text.toString();
        return body.substring(body.indexOf('\n') + 1);
    }

    /**
     * What {@link #text} was made of.
     *
     * @throws IllegalArgumentException if the text is not whole, or of another version
     */
    static Properties properties(String text) {
        Properties p = new Properties();
        try {
            p.load(new StringReader(text));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        if (!VERSION.equals(p.getProperty("version"))) {
            throw new IllegalArgumentException(
                    "has version " + p.getProperty("version") + ", not " + VERSION);
        }
        if (!checksum(p).equals(p.getProperty("checksum"))) {
            throw new IllegalArgumentException("has a wrong checksum");
        }
        return p;
    }

    static String checksum(Properties p) {
        CRC32C crc = new CRC32C();
        for (String key : new TreeSet<>(p.stringPropertyNames())) {
            if (!key.equals("checksum")) {
                crc.update(
                        (key + '=' + p.getProperty(key) + '\0')
                                .getBytes(StandardCharsets.ISO_8859_1));
            }
        }
        return Long.toHexString(crc.getValue());
    }
}
