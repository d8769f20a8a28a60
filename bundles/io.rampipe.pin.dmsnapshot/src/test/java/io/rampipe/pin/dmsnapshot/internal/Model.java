package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.Random;

/** A file, and what should be in it: each operation is done to both. */
final class Model {
    private static final int BLOCK = 4096;
    private static final int MOST = 200_000;

    private final Path file;
    private final FilePath path;
    private final Random random;
    private final int most;
    private byte[] data;
    private int size;

    Model(Path file, int size, int growth, Random random) throws IOException {
        this.file = file;
        this.path = FilePath.of(file.toString());
        this.random = random;
        this.size = size;
        this.most = size + growth;
        data = new byte[most];
        random.nextBytes(data);
        Arrays.fill(data, size, most, (byte) 0);
        try (Fd fd = At.open(Fd.CWD, path, At.O_RDWR | At.O_CREAT | At.O_EXCL, 0600)) {
            put(fd, 0, size);
        }
    }

    /** Fails unless there is what should be there. */
    void check(Path where, String what) throws IOException {
        long found = Files.size(where);
        if (found != size) {
            throw new AssertionError(what + ": has size " + found + " instead of " + size);
        }
        byte[] part = new byte[1 << 20];
        try (InputStream in = Files.newInputStream(where)) {
            for (int at = 0; at < size; ) {
                int n = in.readNBytes(part, 0, part.length);
                int wrong = Arrays.mismatch(data, at, Math.min(size, at + n), part, 0, n);
                if (wrong >= 0) {
                    throw new AssertionError(
                            what + ": differs at " + (at + wrong) + ", size " + size);
                }
                at += n;
            }
        }
    }

    void check() throws IOException {
        check(file, "as programs see it");
    }

    /** The file on disk, under whatever is mounted over it. */
    void checkDisk() throws IOException {
        try (Fd tree = Bench.below(file.getParent());
                Fd fd =
                        At.open(
                                tree,
                                FilePath.of(file.getFileName().toString()),
                                At.O_RDONLY | At.O_NOFOLLOW,
                                0)) {
            check(Path.of("/proc/self/fd/" + fd.number()), "on disk");
        }
    }

    /** One operation; what it was, for messages. */
    String step() throws IOException {
        switch (random.nextInt(10)) {
            case 0, 1:
                return write(position(), length());
            case 2:
                return write(size, Math.min(length(), most - size));
            case 3:
                return mapped();
            case 4:
                return truncate();
            case 5:
                return punch();
            case 6:
                return collapse();
            case 7:
                return insert();
            case 8:
                return direct();
            default:
                return write(Math.min(most - 1, (size / BLOCK + 1) * BLOCK), 100);
        }
    }

    private int position() {
        return size == 0 ? 0 : random.nextInt(size);
    }

    private int length() {
        return 1 + random.nextInt(random.nextBoolean() ? 3 * BLOCK : MOST);
    }

    private static void put(Fd fd, byte[] from, int at, int length) throws IOException {
        ByteBuffer b = ByteBuffer.allocateDirect(Math.min(length, 1 << 20));
        for (int done = 0; done < length; ) {
            b.clear().limit(Math.min(b.capacity(), length - done));
            b.put(from, at + done, b.limit()).flip();
            int n = b.limit();
            Io.writeFully(fd, b, (long) at + done);
            done += n;
        }
    }

    private void put(Fd fd, int at, int length) throws IOException {
        put(fd, data, at, length);
    }

    private void fresh(int at, int length) {
        byte[] bytes = new byte[length];
        random.nextBytes(bytes);
        System.arraycopy(bytes, 0, data, at, length);
        size = Math.max(size, at + length);
    }

    private Fd open(int flags) throws IOException {
        return At.open(path, flags);
    }

    private String write(int at, int wanted) throws IOException {
        int length = Math.min(wanted, most - at);
        if (length <= 0) {
            return "nothing";
        }
        fresh(at, length);
        try (Fd fd = open(At.O_RDWR)) {
            put(fd, at, length);
        }
        return "write " + length + " at " + at;
    }

    private String mapped() throws IOException {
        if (size == 0) {
            return "nothing";
        }
        int at = position();
        int length = Math.min(length(), size - at);
        fresh(at, length);
        try (FileChannel channel =
                FileChannel.open(file, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MappedByteBuffer map = channel.map(FileChannel.MapMode.READ_WRITE, 0, size);
            map.put(at, data, at, length);
            unmap(map);
        }
        return "mapped write " + length + " at " + at;
    }

    /** Java has no other way before it collects garbage. */
    private static void unmap(MappedByteBuffer map) throws IOException {
        try {
            Class<?> type = Class.forName("sun.misc.Unsafe");
            Field field = type.getDeclaredField("theUnsafe");
            field.setAccessible(true);
            Method cleaner = type.getMethod("invokeCleaner", ByteBuffer.class);
            cleaner.invoke(field.get(null), map);
        } catch (ReflectiveOperationException e) {
            throw new IOException(e);
        }
    }

    private String truncate() throws IOException {
        int next =
                random.nextInt(3) == 0
                        ? random.nextInt(most)
                        : Math.max(0, Math.min(most, size + random.nextInt(MOST) - MOST / 2));
        if (next < size) {
            Arrays.fill(data, next, size, (byte) 0);
        }
        size = next;
        try (Fd fd = open(At.O_RDWR)) {
            Io.truncate(fd, next);
        }
        return "truncate to " + next;
    }

    private String punch() throws IOException {
        if (size == 0) {
            return "nothing";
        }
        int at = position();
        int length = Math.min(length(), size - at);
        Arrays.fill(data, at, at + length, (byte) 0);
        try (Fd fd = open(At.O_RDWR)) {
            Io.punchHole(fd, at, length);
        }
        return "punch " + length + " at " + at;
    }

    private String collapse() throws IOException {
        int at = position() / BLOCK * BLOCK;
        int length = (1 + random.nextInt(20)) * BLOCK;
        if (at + length >= size) {
            return "nothing";
        }
        System.arraycopy(data, at + length, data, at, size - at - length);
        Arrays.fill(data, size - length, size, (byte) 0);
        size -= length;
        try (Fd fd = open(At.O_RDWR)) {
            Io.collapse(fd, at, length);
        }
        return "collapse " + length + " at " + at;
    }

    private String insert() throws IOException {
        int at = position() / BLOCK * BLOCK;
        int length = (1 + random.nextInt(20)) * BLOCK;
        if (size + length > most || at >= size) {
            return "nothing";
        }
        System.arraycopy(data, at, data, at + length, size - at);
        Arrays.fill(data, at, at + length, (byte) 0);
        size += length;
        try (Fd fd = open(At.O_RDWR)) {
            Io.insert(fd, at, length);
        }
        return "insert " + length + " at " + at;
    }

    private String direct() throws IOException {
        int at = position() / BLOCK * BLOCK;
        int length = (1 + random.nextInt(16)) * BLOCK;
        if (at + length > most) {
            return "nothing";
        }
        fresh(at, length);
        ByteBuffer b = ByteBuffer.allocateDirect(length + BLOCK).alignedSlice(BLOCK);
        b.clear().limit(length);
        b.put(data, at, length).flip();
        try (Fd fd = open(At.O_RDWR | At.O_DIRECT)) {
            Io.writeFully(fd, b, at);
        }
        return "direct write " + length + " at " + at;
    }
}
