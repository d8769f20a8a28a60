package io.rampipe.linux;

import io.rampipe.api.FilePath;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Instant;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32C;

/**
 * What a directory tree on disk was like at one moment, in a compact form that is kept in a file:
 * which names were in which directories, and state (size, times, mode, owner, number of links) of
 * each file. So it can be told later what others have changed meanwhile. 24 bytes for each name and
 * 48 for each file, in memory while it is looked at and in the file. {@code docs/redo-log.md} has
 * the format of the file. One thread at a time.
 */
public final class Baseline {
    private static final long MAGIC = 0x41425350_4d415258L;
    private static final int VERSION = 1;
    private static final int PREAMBLE = 16;

    private static final int NAME = 1;
    private static final int STATE = 2;
    private static final int NAME_LENGTH = 24;
    private static final int STATE_LENGTH = 48;

    /** Not to be compared: the change time says nothing. */
    private static final long LOOSE = Long.MIN_VALUE;

    private static final int SMALL = 64 << 10;

    private static final int SIZE = 0;
    private static final int CHANGE = 1;
    private static final int REST = 2;
    private static final int LINKS = 3;

    private final Table names = new Table(1);
    private final Table states = new Table(4);
    private long directories;

    /** Bytes of the file that are good; 0 if it must be written anew. */
    private long length;

    /** What the file does not have yet. */
    private ByteBuffer pending = ByteBuffer.allocateDirect(4096).order(ByteOrder.LITTLE_ENDIAN);

    /** Nothing is known. */
    public Baseline() {}

    // Looking

    /** Whether the names in that directory are known. */
    public boolean knows(long directory) {
        return states.find(directory) >= 0;
    }

    /** Inode number that the name had; 0 if there was none, or the directory is not known. */
    public long inode(long directory, FilePath name) {
        int slot = names.find(key(directory, name));
        return slot < 0 ? 0 : names.get(slot, 0);
    }

    /**
     * Whether the name is as it was. A directory is if it is the same one, whatever happened in it.
     * A file is if nothing but its number of links or its access time has changed.
     *
     * @param now null if there is nothing of that name
     */
    public boolean same(long directory, FilePath name, Stat now) {
        long before = inode(directory, name);
        if (now == null || before == 0) {
            return now == null && before == 0;
        }
        return before == now.inode() && (now.isDirectory() || untouched(now));
    }

    /**
     * Whether a file, whatever its names, is as it was; of a directory, its owner and mode. False
     * if it was not there.
     */
    public boolean untouched(Stat now) {
        int slot = states.find(now.inode());
        if (slot < 0 || states.get(slot, REST) != rest(now)) {
            return false;
        }
        if (now.isDirectory()) {
            return true;
        }
        if (states.get(slot, SIZE) != now.size()) {
            return false;
        }
        long change = states.get(slot, CHANGE);
        // A link made or removed counts as a change of the file, but is none of its contents.
        return change == LOOSE
                || change == now.change()
                || states.get(slot, LINKS) != (now.links() & 0xffffffffL);
    }

    /** What makes a name differ that is not the {@link #same}; for people. */
    public String difference(long directory, FilePath name, Stat now) {
        long before = inode(directory, name);
        if (before != now.inode()) {
            return before == 0 ? "it is new" : "another file has the name";
        }
        int slot = states.find(now.inode());
        if (slot < 0) {
            return "it was not there";
        }
        if (states.get(slot, SIZE) != now.size()) {
            return "its size was " + states.get(slot, SIZE) + ", and is " + now.size();
        }
        long since = now.change() - states.get(slot, CHANGE);
        return (states.get(slot, REST) == rest(now) ? "its status" : "its data, owner or mode")
                + " changed "
                + TimeUnit.NANOSECONDS.toMillis(since)
                + " ms later, at "
                + Instant.ofEpochSecond(0, now.change());
    }

    /** Whether the directory had the mode and owner of another one. */
    public boolean hadModeOf(long directory, Stat other) {
        int slot = states.find(directory);
        return slot >= 0 && states.get(slot, REST) == rest(other);
    }

    // Learning

    /** There is this directory now, with no names in it so far. */
    public void directory(Stat stat) {
        put(stat.inode(), ++directories, LOOSE, rest(stat), 0);
    }

    /** That is what the file, or the directory's owner and mode, is like now. */
    public void refresh(Stat stat) {
        if (stat.isDirectory()) {
            int slot = states.find(stat.inode());
            if (slot >= 0) {
                put(stat.inode(), states.get(slot, SIZE), LOOSE, rest(stat), 0);
            }
        } else {
            put(stat.inode(), stat.size(), stat.change(), rest(stat), stat.links() & 0xffffffffL);
        }
    }

    /** The name has that file or directory now. */
    public void name(long directory, FilePath name, Stat stat) {
        putName(directory, name, stat.inode());
        if (!stat.isDirectory()) {
            refresh(stat);
        }
    }

    /** The name is free now. */
    public void remove(long directory, FilePath name) {
        if (inode(directory, name) != 0) {
            putName(directory, name, 0);
        }
    }

    /** We are about to change the file's change time without changing the file. */
    public void loosen(long inode) {
        int slot = states.find(inode);
        if (slot >= 0 && states.get(slot, CHANGE) != LOOSE) {
            put(
                    inode,
                    states.get(slot, SIZE),
                    LOOSE,
                    states.get(slot, REST),
                    states.get(slot, LINKS));
        }
    }

    /**
     * Everything below a directory, and the directory itself, is as it is now.
     *
     * @param directory open for reading
     */
    public void tree(Fd directory) throws IOException {
        Stat self = Stat.of(directory);
        directory(self);
        for (FilePath name : At.list(directory)) {
            try {
                Stat stat = Stat.at(directory, name);
                name(self.inode(), name, stat);
                if (stat.isDirectory() && stat.device() == self.device()) {
                    try (Fd sub = At.openDirectory(directory, name)) {
                        tree(sub);
                    }
                }
            } catch (LinuxException e) {
                if (!e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP)) {
                    throw e;
                }
            }
        }
    }

    private void putName(long directory, FilePath name, long inode) {
        long key = key(directory, name);
        if (key == 0) {
            return;
        }
        if (names.find(key) >= 0 && names.get(names.find(key), 0) == inode) {
            return;
        }
        names.put(key, inode);
        int start = begin(NAME, NAME_LENGTH);
        pending.putLong(key).putLong(inode);
        end(start);
    }

    private void put(long inode, long size, long change, long rest, long links) {
        int slot = states.find(inode);
        if (slot >= 0
                && states.get(slot, SIZE) == size
                && states.get(slot, CHANGE) == change
                && states.get(slot, REST) == rest
                && states.get(slot, LINKS) == links) {
            return;
        }
        states.put(inode, size, change, rest, links);
        writeState(inode, size, change, rest, links);
    }

    private void writeState(long inode, long size, long change, long rest, long links) {
        int start = begin(STATE, STATE_LENGTH);
        pending.putLong(inode).putLong(size).putLong(change).putLong(rest).putLong(links);
        end(start);
    }

    /** Names are keyed by more than the directory's number, which may be given to another one. */
    private long key(long directory, FilePath name) {
        int slot = states.find(directory);
        if (slot < 0) {
            return 0;
        }
        long h = mix(mix(directory) + states.get(slot, SIZE));
        String raw = name.raw();
        for (int i = 0; i < raw.length(); i++) {
            h = (h ^ raw.charAt(i)) * 0x100000001b3L;
        }
        return mix(h) | 1;
    }

    private static long rest(Stat s) {
        long h = mix((long) s.mode() << 32 ^ s.uid());
        h = mix(h ^ s.gid());
        return s.isDirectory() ? h : mix(h ^ s.modifySeconds() * 1_000_000_000L + s.modifyNanos());
    }

    private static long mix(long z) {
        long x = (z ^ z >>> 30) * 0xbf58476d1ce4e5b9L;
        x = (x ^ x >>> 27) * 0x94d049bb133111ebL;
        return x ^ x >>> 31;
    }

    // The file

    /**
     * What is in the file; empty if there is none, or it is none of ours. What a writer that was
     * killed has not finished is left out.
     */
    public static Optional<Baseline> load(FilePath file) throws IOException {
        ByteBuffer in;
        try (Fd fd = At.openNoLinks(file, At.O_RDONLY | At.O_NOFOLLOW)) {
            in =
                    ByteBuffer.allocateDirect((int) Math.min(Integer.MAX_VALUE, Stat.of(fd).size()))
                            .order(ByteOrder.LITTLE_ENDIAN);
            Io.readFully(fd, in, 0);
            in.flip();
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return Optional.empty();
            }
            throw e;
        }
        if (in.remaining() < PREAMBLE || in.getLong(0) != MAGIC || in.getInt(8) != VERSION) {
            return Optional.empty();
        }
        Baseline b = new Baseline();
        b.read(in.position(PREAMBLE));
        return Optional.of(b);
    }

    private void read(ByteBuffer in) {
        CRC32C crc = new CRC32C();
        while (in.remaining() >= NAME_LENGTH) {
            int at = in.position();
            int type = in.getInt(at + 4);
            int size = type == NAME ? NAME_LENGTH : STATE_LENGTH;
            if (type != NAME && type != STATE || in.remaining() < size) {
                break;
            }
            crc.reset();
            crc.update(in.duplicate().limit(at + size).position(at + 4));
            if ((int) crc.getValue() != in.getInt(at)) {
                break;
            }
            if (type == NAME) {
                names.put(in.getLong(at + 8), in.getLong(at + 16));
            } else {
                states.put(
                        in.getLong(at + 8),
                        in.getLong(at + 16),
                        in.getLong(at + 24),
                        in.getLong(at + 32),
                        in.getLong(at + 40));
                if (in.getLong(at + 24) == LOOSE) {
                    directories = Math.max(directories, in.getLong(at + 16));
                }
            }
            in.position(at + size);
        }
        length = in.position();
    }

    /**
     * Brings the file up to date: adds to the one that this was read from, or writes all of it.
     * Whoever is killed meanwhile leaves the older state or the newer one.
     */
    public void save(FilePath file) throws IOException {
        long live = (long) names.size() * NAME_LENGTH + (long) states.size() * STATE_LENGTH;
        if (length == 0 || length + pending.position() > 2 * live + SMALL) {
            writeAnew(file);
        } else if (pending.position() > 0) {
            try (Fd fd = At.openNoLinks(file, At.O_RDWR | At.O_NOFOLLOW)) {
                Io.truncate(fd, length);
                append(fd);
            }
        }
    }

    private void writeAnew(FilePath file) throws IOException {
        FilePath fresh = FilePath.ofRaw(file.name().raw() + ".new");
        try (Fd dir = At.openNoLinks(file.parent(), At.O_PATH | At.O_DIRECTORY);
                Fd fd =
                        At.open(
                                dir,
                                fresh,
                                At.O_RDWR | At.O_CREAT | At.O_TRUNC | At.O_NOFOLLOW,
                                0600)) {
            pending.clear();
            pending.putLong(MAGIC).putInt(VERSION).putInt(0);
            names.forEach(
                    (key, values, at) -> {
                        int start = begin(NAME, NAME_LENGTH);
                        pending.putLong(key).putLong(values[at]);
                        end(start);
                    });
            states.forEach(
                    (inode, values, at) ->
                            writeState(
                                    inode,
                                    values[at],
                                    values[at + 1],
                                    values[at + 2],
                                    values[at + 3]));
            length = 0;
            append(fd);
            At.rename(dir, fresh, dir, file.name());
        }
    }

    private void append(Fd fd) throws IOException {
        pending.flip();
        int more = pending.remaining();
        Io.writeFully(fd, pending, length);
        length += more;
        pending.clear();
    }

    private int begin(int type, int size) {
        if (pending.remaining() < size) {
            ByteBuffer larger =
                    ByteBuffer.allocateDirect(pending.capacity() * 2)
                            .order(ByteOrder.LITTLE_ENDIAN);
            larger.put(pending.flip());
            pending = larger;
        }
        int start = pending.position();
        pending.putInt(0).putInt(type);
        return start;
    }

    private void end(int start) {
        CRC32C crc = new CRC32C();
        crc.update(pending.duplicate().limit(pending.position()).position(start + 4));
        pending.putInt(start, (int) crc.getValue());
    }

    /** A hash table from a long that is not 0 to some longs. Grows; keeps keys for ever. */
    private static final class Table {
        private final int width;
        private long[] keys = new long[64];
        private long[] values;
        private int size;

        Table(int width) {
            this.width = width;
            this.values = new long[keys.length * width];
        }

        interface Each {
            void take(long key, long[] values, int at);
        }

        int size() {
            return size;
        }

        int find(long key) {
            int slot = slot(key);
            return keys[slot] == 0 ? -1 : slot;
        }

        long get(int slot, int which) {
            return values[slot * width + which];
        }

        void put(long key, long... with) {
            if (key == 0) {
                return;
            }
            if (size * 3 > keys.length * 2) {
                grow();
            }
            int slot = slot(key);
            if (keys[slot] == 0) {
                keys[slot] = key;
                size++;
            }
            System.arraycopy(with, 0, values, slot * width, width);
        }

        void forEach(Each each) {
            for (int i = 0; i < keys.length; i++) {
                if (keys[i] != 0) {
                    each.take(keys[i], values, i * width);
                }
            }
        }

        private void grow() {
            long[] oldKeys = keys;
            long[] oldValues = values;
            keys = new long[oldKeys.length * 2];
            values = new long[keys.length * width];
            for (int i = 0; i < oldKeys.length; i++) {
                if (oldKeys[i] != 0) {
                    int slot = slot(oldKeys[i]);
                    keys[slot] = oldKeys[i];
                    System.arraycopy(oldValues, i * width, values, slot * width, width);
                }
            }
        }

        private int slot(long key) {
            int mask = keys.length - 1;
            int slot = (int) (mix(key) >>> 32) & mask;
            while (keys[slot] != 0 && keys[slot] != key) {
                slot = slot + 1 & mask;
            }
            return slot;
        }
    }
}
