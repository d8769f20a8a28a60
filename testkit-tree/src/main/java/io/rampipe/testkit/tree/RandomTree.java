package io.rampipe.testkit.tree;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import io.rampipe.linux.Xattrs;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Makes a tree of every kind of file, and changes it at random in every way that a program can. All
 * of it follows from the seed and the tree. Root only.
 */
public final class RandomTree {
    private static final FilePath HERE = FilePath.of("");
    private static final int MOST_NAMES = 400;

    /** What programs call their files; in raw form, for two are not UTF-8. */
    private static final String[] NAMES = {
        "a",
        "b",
        "c",
        "data.db",
        "data.db-wal",
        "log",
        "log.1",
        "with space",
        "line\nbreak",
        "\u00ff\u00fe raw",
        "caf\u00e9",
        "-rf",
        ".hidden",
        "\\back",
        "%s",
        "#1"
    };

    private final Random random;
    private final Fd root;
    private final List<FilePath> directories = new ArrayList<>();
    private final List<FilePath> files = new ArrayList<>();

    /**
     * @param root directory to work in; the caller's
     */
    public RandomTree(Random random, Fd root) {
        this.random = random;
        this.root = root;
    }

    /** Fills an empty directory with something of every kind. */
    public void build() throws IOException {
        look();
        for (String name : NAMES) {
            try (Fd fd = create(root, FilePath.ofRaw(name))) {
                write(fd, 0, random.nextInt(30_000));
            }
        }
        for (String dir : List.of("empty", "d", "e", "d/sub", "d/sub/deep", "\u00fd dir\n")) {
            mkdir(FilePath.ofRaw(dir));
        }
        try (Fd d = open(FilePath.of("d"));
                Fd deep = open(FilePath.of("d/sub/deep"))) {
            At.link(root, FilePath.of("a"), d, FilePath.of("linked to a"));
            At.link(root, FilePath.of("a"), deep, FilePath.of("linked too"));
            try (Fd fd = create(d, FilePath.of("sparse"))) {
                write(fd, 100_000, 5000);
                write(fd, 1 << 20, 5000);
                Io.truncate(fd, 3 << 20);
            }
            At.symlink(FilePath.of("../a"), d, FilePath.of("link"));
            At.symlink(FilePath.of("/nowhere/at all"), d, FilePath.of("dangling"));
            At.mknod(d, FilePath.of("null"), Stat.CHARACTER | 0666, 1L << 32 | 3);
            At.mknod(d, FilePath.of("block"), Stat.BLOCK | 0600, 7L << 32 | 250);
            At.mknod(d, FilePath.of("fifo"), Stat.FIFO | 0640, 0);
            At.mknod(d, FilePath.of("socket"), Stat.SOCKET | 0600, 0);
        }
        look();
        for (FilePath f : List.copyOf(files)) {
            attributes(f);
        }
        for (FilePath d : List.copyOf(directories)) {
            attributes(d);
        }
    }

    /** Does so many random things; what the kernel refuses is left. */
    public void change(int operations) throws IOException {
        look();
        for (int i = 0; i < operations; i++) {
            try {
                one();
            } catch (LinuxException e) {
                if (!e.is(
                        Errno.EEXIST,
                        Errno.ENOENT,
                        Errno.ENOTDIR,
                        Errno.EISDIR,
                        Errno.ENOTEMPTY,
                        Errno.EINVAL,
                        Errno.EXDEV,
                        Errno.EOPNOTSUPP,
                        Errno.EPERM,
                        Errno.ENXIO,
                        Errno.ELOOP,
                        Errno.ENODATA,
                        Errno.EBUSY)) {
                    throw e;
                }
                look();
            }
        }
    }

    private void one() throws IOException {
        if (files.size() + directories.size() > MOST_NAMES) {
            removeSome();
            return;
        }
        switch (random.nextInt(22)) {
            case 0, 1 -> createOne();
            case 2, 3, 4 -> overwrite();
            case 5 -> append();
            case 6 -> truncate();
            case 7 -> punch();
            case 8, 9 -> unlink(any(files));
            case 10, 11 -> renameFile();
            case 12 -> renameDirectory();
            case 13 -> link();
            case 14 -> special();
            case 15 -> mkdir(newPath());
            case 16 -> rmdir();
            case 17 -> attributes(any(files));
            case 18 -> attributes(any(directories));
            case 19 -> replaceByRename();
            case 20 -> exchange();
            default -> removeTree();
        }
    }

    // Finding things

    private void look() throws IOException {
        directories.clear();
        files.clear();
        look(root, HERE);
    }

    private void look(Fd dir, FilePath path) throws IOException {
        directories.add(path);
        List<FilePath> names = At.list(dir);
        names.sort(null);
        for (FilePath name : names) {
            if (Stat.at(dir, name).isDirectory()) {
                try (Fd sub = At.openDirectory(dir, name)) {
                    look(sub, path.resolve(name));
                }
            } else {
                files.add(path.resolve(name));
            }
        }
    }

    private FilePath any(List<FilePath> paths) throws IOException {
        if (paths.isEmpty()) {
            throw new LinuxException("choose", "a file", Errno.ENOENT);
        }
        return paths.get(random.nextInt(paths.size()));
    }

    private FilePath newPath() throws IOException {
        String name = NAMES[random.nextInt(NAMES.length)];
        if (random.nextInt(3) > 0) {
            name += random.nextInt(40);
        }
        return any(directories).resolve(FilePath.ofRaw(name));
    }

    private Fd open(FilePath directory) throws IOException {
        return At.openBeneath(root, directory, At.O_RDONLY | At.O_DIRECTORY, 0);
    }

    private Fd openFile(FilePath path) throws IOException {
        // Never a device: somebody may be behind it.
        try (Fd fd = At.openBeneath(root, path, At.O_PATH | At.O_NOFOLLOW, 0)) {
            if (!Stat.of(fd).isRegular()) {
                throw new LinuxException("open", path, Errno.ENXIO);
            }
            return At.reopen(fd, At.O_RDWR);
        }
    }

    // Changing things

    private Fd create(Fd dir, FilePath name) throws IOException {
        return At.open(dir, name, At.O_RDWR | At.O_CREAT | At.O_EXCL, 0644);
    }

    private void createOne() throws IOException {
        FilePath path = newPath();
        try (Fd dir = open(path.parent());
                Fd fd = create(dir, path.name())) {
            if (random.nextInt(4) > 0) {
                write(fd, random.nextInt(4) == 0 ? 200_000 : 0, random.nextInt(60_000));
            }
            files.add(path);
        }
    }

    private void write(Fd fd, long offset, int length) throws IOException {
        byte[] bytes = new byte[length];
        if (random.nextInt(8) > 0) {
            random.nextBytes(bytes);
        }
        ByteBuffer buffer = ByteBuffer.allocateDirect(length);
        buffer.put(bytes).flip();
        Io.writeFully(fd, buffer, offset);
    }

    private void overwrite() throws IOException {
        try (Fd fd = openFile(any(files))) {
            long size = Stat.of(fd).size();
            for (int i = random.nextInt(4); i >= 0; i--) {
                write(fd, (long) (random.nextDouble() * (size + 1)), random.nextInt(6_000));
            }
        }
    }

    private void append() throws IOException {
        try (Fd fd = openFile(any(files))) {
            write(fd, Stat.of(fd).size(), random.nextInt(10_000));
        }
    }

    private void truncate() throws IOException {
        try (Fd fd = openFile(any(files))) {
            Io.truncate(fd, random.nextInt(3) == 0 ? 0 : random.nextInt(100_000));
        }
    }

    private void punch() throws IOException {
        try (Fd fd = openFile(any(files))) {
            long size = Stat.of(fd).size();
            Io.punchHole(fd, (long) (random.nextDouble() * size), 1 + random.nextInt(50_000));
        }
    }

    private void unlink(FilePath path) throws IOException {
        try (Fd dir = open(path.parent())) {
            At.unlink(dir, path.name());
        }
        files.remove(path);
    }

    private void renameFile() throws IOException {
        FilePath from = any(files);
        FilePath to = random.nextInt(3) == 0 ? any(files) : newPath();
        rename(from, to);
    }

    private void renameDirectory() throws IOException {
        FilePath from = any(directories);
        if (!from.isEmpty()) {
            rename(from, random.nextInt(4) == 0 ? any(directories) : newPath());
        }
    }

    private void rename(FilePath from, FilePath to) throws IOException {
        if (to.isEmpty()) {
            return;
        }
        try (Fd a = open(from.parent());
                Fd b = open(to.parent())) {
            At.rename(a, from.name(), b, to.name());
        }
        look();
    }

    private void exchange() throws IOException {
        List<FilePath> from = random.nextBoolean() ? files : directories;
        FilePath one = any(from);
        FilePath two = any(from);
        if (one.isEmpty() || two.isEmpty() || one.contains(two) || two.contains(one)) {
            return;
        }
        try (Fd a = open(one.parent());
                Fd b = open(two.parent())) {
            At.exchange(a, one.name(), b, two.name());
        }
        look();
    }

    private void link() throws IOException {
        FilePath from = any(files);
        FilePath to = newPath();
        try (Fd a = open(from.parent());
                Fd b = open(to.parent())) {
            At.link(a, from.name(), b, to.name());
        }
        files.add(to);
    }

    private void special() throws IOException {
        FilePath path = newPath();
        try (Fd dir = open(path.parent())) {
            switch (random.nextInt(5)) {
                case 0 -> At.symlink(any(files), dir, path.name());
                case 1 -> At.symlink(FilePath.of("/gone/" + random.nextInt()), dir, path.name());
                case 2 -> At.mknod(dir, path.name(), Stat.FIFO | 0600, 0);
                case 3 -> At.mknod(dir, path.name(), Stat.CHARACTER | 0620, 1L << 32 | 5);
                default -> At.mknod(dir, path.name(), Stat.SOCKET | 0755, 0);
            }
        }
        files.add(path);
    }

    private void mkdir(FilePath path) throws IOException {
        try (Fd dir = open(path.parent())) {
            At.mkdir(dir, path.name(), 0755);
        }
        directories.add(path);
    }

    private void rmdir() throws IOException {
        FilePath path = any(directories);
        if (!path.isEmpty()) {
            try (Fd dir = open(path.parent())) {
                At.rmdir(dir, path.name());
            }
            directories.remove(path);
        }
    }

    private void removeTree() throws IOException {
        FilePath path = any(directories);
        if (!path.isEmpty() && random.nextInt(3) == 0) {
            try (Fd dir = open(path.parent())) {
                removeTree(dir, path.name());
            }
            look();
        }
    }

    private void removeTree(Fd dir, FilePath name) throws IOException {
        try (Fd sub = At.openDirectory(dir, name)) {
            for (FilePath n : At.list(sub)) {
                if (Stat.at(sub, n).isDirectory()) {
                    removeTree(sub, n);
                } else {
                    At.unlink(sub, n);
                }
            }
        }
        At.rmdir(dir, name);
    }

    private void removeSome() throws IOException {
        for (int i = 0; i < MOST_NAMES / 4 && !files.isEmpty(); i++) {
            unlink(any(files));
        }
        while (directories.size() > MOST_NAMES / 4) {
            FilePath path = directories.get(directories.size() - 1);
            try (Fd dir = open(path.parent())) {
                removeTree(dir, path.name());
            }
            look();
        }
    }

    /** As editors save: a new file takes the old one's name. */
    private void replaceByRename() throws IOException {
        FilePath path = any(files);
        FilePath temporary = FilePath.of(".tmp-" + random.nextInt(1000));
        try (Fd dir = open(path.parent())) {
            try (Fd fd = create(dir, temporary)) {
                write(fd, 0, random.nextInt(100_000));
            }
            At.rename(dir, temporary, dir, path.name());
        }
    }

    // Attributes

    private void attributes(FilePath path) throws IOException {
        try (Fd fd = At.openBeneath(root, path, At.O_PATH | At.O_NOFOLLOW, 0)) {
            Stat s = Stat.of(fd);
            if (random.nextInt(3) == 0) {
                At.chown(fd, random.nextInt(70_000), random.nextInt(70_000));
            }
            if (!s.isSymlink() && random.nextInt(3) == 0) {
                At.chmod(fd, random.nextInt(010000));
            }
            if (random.nextInt(2) == 0) {
                xattr(fd, s);
            }
            if (random.nextInt(3) == 0) {
                At.setTimes(fd, times(random.nextInt(), random.nextInt(1_000_000_000)));
            }
        }
    }

    private void xattr(Fd fd, Stat s) throws IOException {
        byte[] value = new byte[random.nextInt(200)];
        random.nextBytes(value);
        boolean plain = s.isRegular() || s.isDirectory();
        switch (random.nextInt(5)) {
            case 0 -> Xattrs.set(fd, "trusted.rampipe-test", value);
            case 1 -> {
                if (plain) {
                    Xattrs.set(fd, "user.test" + random.nextInt(3), value);
                }
            }
            case 2 -> {
                if (plain) {
                    Xattrs.set(fd, "system.posix_acl_access", acl());
                }
            }
            case 3 -> {
                if (s.isDirectory()) {
                    Xattrs.set(fd, "system.posix_acl_default", acl());
                } else if (s.isRegular()) {
                    Xattrs.set(fd, "security.capability", capability());
                }
            }
            default -> {
                for (String name : Xattrs.list(fd)) {
                    if (!name.equals("security.selinux")) {
                        Xattrs.remove(fd, name);
                    }
                }
            }
        }
    }

    /** An ACL as {@code acl(5)} is kept: version 2; tag, rights, id. */
    private byte[] acl() {
        ByteBuffer b = ByteBuffer.allocate(4 + 5 * 8).order(ByteOrder.LITTLE_ENDIAN);
        b.putInt(2);
        entry(b, 1, -1);
        entry(b, 2, 1000 + random.nextInt(5));
        entry(b, 4, -1);
        entry(b, 0x10, -1);
        entry(b, 0x20, -1);
        return b.array();
    }

    private void entry(ByteBuffer b, int tag, int id) {
        b.putShort((short) tag).putShort((short) random.nextInt(8)).putInt(id);
    }

    /** {@code CAP_NET_BIND_SERVICE}, effective, in the form of version 2. */
    private static byte[] capability() {
        return ByteBuffer.allocate(20)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(0x02000001)
                .putInt(1 << 10)
                .array();
    }

    private static Stat times(long seconds, int nanos) {
        return new Stat(0, 0, 0, 0, 0, 0, 0, 0, seconds, nanos, seconds, nanos, 0, 0, 0, 0, 0);
    }
}
