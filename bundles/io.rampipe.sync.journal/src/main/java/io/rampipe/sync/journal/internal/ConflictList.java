package io.rampipe.sync.journal.internal;

import io.rampipe.api.Conflict;
import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.NoSuchFileException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The conflicts on a disk, in {@link Disk#HOME}: so they outlive the daemon and the machine, and go
 * with the disk. An entry is written before its copy is made, and ends with it. {@code
 * docs/redo-log.md} has the format. Any thread.
 */
final class ConflictList {
    /** The one of this daemon: lists are rewritten by one thread at a time. */
    static final ConflictList ALL = new ConflictList();

    static final FilePath FILE = FilePath.of("conflicts");

    /** The path of an entry that is about the target as a whole. */
    static final FilePath TARGET = FilePath.of(".");

    private static final FilePath FRESH = FilePath.of("conflicts.new");
    private static final FilePath NO_NAME = FilePath.of("");
    private static final String VERSION = "1";
    private static final int FIELDS = 9;
    private static final int MOST = 10_000;
    private static final long MOST_BYTES = 16 << 20;

    /** How long an entry without a copy is told. */
    private static final long WEEK_MILLIS = 7L * 24 * 60 * 60 * 1000;

    /** A line; paths are below the target. */
    private record Entry(
            long when,
            String pin,
            long inode,
            String handle,
            FilePath target,
            FilePath path,
            FilePath copy,
            String what) {

        boolean tells(Entry other) {
            return pin.equals(other.pin)
                    && path.equals(other.path)
                    && copy.equals(other.copy)
                    && what.equals(other.what);
        }
    }

    /**
     * Adds what is not there yet; durable when this returns.
     *
     * @param identity of the target's directory
     * @return those that are new
     */
    synchronized List<Drift.Found> add(
            Disk disk, Disk.Identity identity, String pin, List<Drift.Found> found)
            throws IOException {
        List<Entry> entries = read(disk);
        entries.removeIf(e -> !lives(disk, e));
        List<Drift.Found> added = new ArrayList<>();
        for (Drift.Found f : found) {
            Entry entry =
                    new Entry(
                            System.currentTimeMillis(),
                            pin,
                            identity.inode(),
                            identity.handle(),
                            identity.path(),
                            f.path(),
                            f.copy(),
                            f.what());
            if (entries.stream().noneMatch(entry::tells)) {
                entries.add(entry);
                added.add(f);
            }
        }
        if (!added.isEmpty()) {
            write(disk, entries.subList(Math.max(0, entries.size() - MOST), entries.size()));
        }
        return added;
    }

    /** Those that still are. */
    synchronized List<Conflict> list(Disk disk) throws IOException {
        List<Conflict> conflicts = new ArrayList<>();
        for (Entry e : read(disk)) {
            if (lives(disk, e)) {
                conflicts.add(
                        new Conflict(
                                e.pin,
                                e.target,
                                e.path.equals(TARGET) ? e.target : e.target.resolve(e.path),
                                e.copy.isEmpty() ? NO_NAME : e.target.resolve(e.copy),
                                e.when,
                                e.what));
            }
        }
        return conflicts;
    }

    /** Its copy is there, or may yet be made from a log; without a copy, it is news for a while. */
    private static boolean lives(Disk disk, Entry e) {
        try {
            if (e.copy.isEmpty()) {
                return System.currentTimeMillis() - e.when < WEEK_MILLIS;
            }
            Fd home = disk.existingHome();
            return home != null && exists(home, FilePath.of(e.pin + StagingDirectory.COMMITTED))
                    || there(disk, e);
        } catch (IOException x) {
            // Not known: better told than not.
            return true;
        }
    }

    private static boolean there(Disk disk, Entry e) throws IOException {
        Disk.Identity identity =
                new Disk.Identity(
                        Stat.deviceText(disk.stat().device()), e.inode, e.handle, e.target);
        try (Disk.Place place = disk.find(identity)) {
            FilePath parent = e.copy.parent();
            if (parent.isEmpty()) {
                return exists(place.directory(), e.copy);
            }
            try (Fd dir =
                    At.openBeneathSameMount(
                            place.directory(), parent, At.O_PATH | At.O_DIRECTORY, 0)) {
                return exists(dir, e.copy.name());
            }
        } catch (LinuxException x) {
            if (x.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.EXDEV, Errno.ESTALE)) {
                return false;
            }
            throw x;
        } catch (NoSuchFileException x) {
            return false;
        }
    }

    private static boolean exists(Fd dir, FilePath name) throws IOException {
        try {
            Stat.at(dir, name);
            return true;
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return false;
            }
            throw e;
        }
    }

    // The file

    private static List<Entry> read(Disk disk) throws IOException {
        List<Entry> entries = new ArrayList<>();
        Fd home = disk.existingHome();
        if (home == null) {
            return entries;
        }
        String text;
        try (Fd fd = At.open(home, FILE, At.O_RDONLY | At.O_NOFOLLOW | At.O_NONBLOCK, 0)) {
            ByteBuffer bytes =
                    ByteBuffer.allocateDirect((int) Math.min(MOST_BYTES, Stat.of(fd).size()));
            Io.readFully(fd, bytes, 0);
            text = StandardCharsets.ISO_8859_1.decode(bytes.flip()).toString();
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return entries;
            }
            throw e;
        }
        for (String line : text.split("\n")) {
            parse(line).ifPresent(entries::add);
        }
        return entries;
    }

    private static void write(Disk disk, List<Entry> entries) throws IOException {
        StringBuilder text = new StringBuilder();
        for (Entry e : entries) {
            text.append(
                            String.join(
                                    "\t",
                                    VERSION,
                                    Long.toString(e.when),
                                    e.pin,
                                    Long.toUnsignedString(e.inode),
                                    orDash(e.handle),
                                    escape(e.target),
                                    escape(e.path),
                                    escape(e.copy),
                                    e.what))
                    .append('\n');
        }
        byte[] bytes = text.toString().getBytes(StandardCharsets.US_ASCII);
        try (Fd fd =
                At.open(
                        disk.home(),
                        FRESH,
                        At.O_RDWR | At.O_CREAT | At.O_TRUNC | At.O_NOFOLLOW,
                        0600)) {
            Io.writeFully(fd, ByteBuffer.allocateDirect(bytes.length).put(bytes).flip(), 0);
            Io.sync(fd);
        }
        At.rename(disk.home(), FRESH, disk.home(), FILE);
        Io.sync(disk.home());
    }

    /** Lines that are none of this version are passed over. */
    private static Optional<Entry> parse(String line) {
        String[] f = line.split("\t", FIELDS);
        if (f.length != FIELDS || !f[0].equals(VERSION)) {
            return Optional.empty();
        }
        try {
            Entry e =
                    new Entry(
                            Long.parseLong(f[1]),
                            f[2],
                            Long.parseUnsignedLong(f[3]),
                            f[4].equals("-") ? "" : f[4],
                            unescape(f[5]),
                            unescape(f[6]),
                            unescape(f[7]),
                            f[8]);
            boolean good =
                    e.pin.matches("[0-9a-z]{1,32}")
                            && e.target.isAbsolute()
                            && !e.path.isEmpty()
                            && !e.path.isAbsolute()
                            && !e.copy.isAbsolute();
            return good ? Optional.of(e) : Optional.empty();
        } catch (IllegalArgumentException | IndexOutOfBoundsException e) {
            return Optional.empty();
        }
    }

    private static String orDash(String text) {
        return text.isEmpty() ? "-" : text;
    }

    private static String escape(FilePath path) {
        StringBuilder out = new StringBuilder();
        String raw = path.raw();
        for (int i = 0; i < raw.length(); i++) {
            char c = raw.charAt(i);
            if (c <= ' ' || c >= 0x7f || c == '%') {
                out.append(String.format("%%%02x", (int) c));
            } else {
                out.append(c);
            }
        }
        return raw.equals("-") ? "%2d" : orDash(out.toString());
    }

    private static FilePath unescape(String text) {
        if (text.equals("-")) {
            return NO_NAME;
        }
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < text.length(); i++) {
            if (text.charAt(i) == '%') {
                out.append((char) Integer.parseInt(text.substring(i + 1, i + 3), 16));
                i += 2;
            } else {
                out.append(text.charAt(i));
            }
        }
        return FilePath.ofRaw(out.toString());
    }
}
