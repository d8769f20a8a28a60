package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import java.io.File;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/**
 * Makes a file system of which one file is a piece of the device as it is, by {@code mke2fs(8)}: it
 * can make a file whose blocks follow each other and are not written to ({@code mke2fs.conf(5)},
 * make_hugefiles).
 */
final class FileSystemMaker {
    private static final int SECONDS = 60;
    private static final int MOST_OUTPUT = 2000;

    /** Besides PATH, which services may have without them. */
    private static final List<String> USUAL = List.of("/usr/sbin", "/sbin", "/usr/local/sbin");

    private static final long SUPERBLOCK = 1024;
    private static final int MAGIC = 0xef53;
    private static final int EXTENT_MAGIC = 0xf30a;
    private static final int INODE_BYTES = 256;
    private static final int DESCRIPTOR_BYTES = 64;

    /** The first of those that are not special is lost+found's. */
    private static final int INODE = 12;

    private FileSystemMaker() {}

    /** Where mke2fs is; empty if it is nowhere. */
    static Optional<Path> mke2fs() {
        List<String> places = new ArrayList<>();
        String path = System.getenv("PATH");
        if (path != null) {
            places.addAll(List.of(path.split(File.pathSeparator)));
        }
        places.addAll(USUAL);
        return places.stream()
                .filter(p -> p.startsWith("/"))
                .map(p -> Path.of(p, "mke2fs"))
                .filter(Files::isExecutable)
                .findFirst();
    }

    /**
     * Makes it in a file of the right size.
     *
     * @param image absolute path of that file
     * @param configuration where mke2fs's is written
     */
    static void make(Layout layout, FilePath image, FilePath configuration, Path mke2fs)
            throws IOException {
        Files.writeString(Path.of(configuration.raw()), text(layout));
        ProcessBuilder builder =
                new ProcessBuilder(
                        mke2fs.toString(),
                        "-F",
                        "-q",
                        "-t",
                        "ext4",
                        "-T",
                        "rampipe",
                        "-m",
                        "0",
                        "-N",
                        "16",
                        "-O",
                        "^has_journal,^resize_inode,sparse_super2",
                        "-E",
                        "packed_meta_blocks=1,num_backup_sb=0,nodiscard,lazy_itable_init=1,root_owner=0:0",
                        image.raw());
        Map<String, String> environment = builder.environment();
        environment.put("MKE2FS_CONFIG", configuration.raw());
        environment.put("LC_ALL", "C");
        environment.keySet().removeIf(k -> k.startsWith("MKE2FS_") && !k.equals("MKE2FS_CONFIG"));
        builder.redirectErrorStream(true).redirectInput(new File("/dev/null"));
        Process process = builder.start();
        try {
            String output =
                    new String(
                                    process.getInputStream().readNBytes(MOST_OUTPUT),
                                    StandardCharsets.US_ASCII)
                            .strip();
            if (!process.waitFor(SECONDS, TimeUnit.SECONDS)) {
                throw new IOException(mke2fs + " did not end within " + SECONDS + " s");
            }
            if (process.exitValue() != 0) {
                throw new IOException(
                        mke2fs
                                + " failed with status "
                                + process.exitValue()
                                + (output.isEmpty() ? "" : ": " + output));
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IOException("interrupted while waiting for " + mke2fs, e);
        } finally {
            process.destroyForcibly();
        }
    }

    /** Everything that mke2fs's own configuration may say differs from machine to machine. */
    private static String text(Layout layout) {
        String file =
                layout.whole() == 0
                        ? ""
                        : String.join(
                                "\n",
                                "\t\tmake_hugefiles = true",
                                "\t\thugefiles_name = " + Pin.SNAPSHOT_FILE,
                                "\t\thugefiles_digits = 0",
                                "\t\tnum_hugefiles = 1",
                                "\t\thugefiles_size = " + layout.file() * 4 + "k",
                                "\t\thugefiles_slack = " + layout.growth(),
                                "\t\tzero_hugefiles = false",
                                "");
        return String.join(
                "\n",
                "[defaults]",
                "\tbase_features = sparse_super2,large_file,huge_file,filetype,dir_index,ext_attr,"
                        + "extent,64bit,flex_bg,extra_isize,dir_nlink",
                "\tdefault_mntopts = acl,user_xattr",
                "\tenable_periodic_fsck = 0",
                "\tblocksize = 4096",
                "\tinode_size = " + INODE_BYTES,
                "\tno_discard = 1",
                "[fs_types]",
                "\text4 = {",
                "\t}",
                "\trampipe = {",
                file + "\t}",
                "");
    }

    /**
     * The block at which the file begins. The file system says more about it once it is mounted;
     * but then its device has to be complete.
     */
    static long firstBlock(Fd image) throws IOException {
        ByteBuffer b = read(image, SUPERBLOCK, 1024);
        check(b.getShort(0x38) == (short) MAGIC, "no file system");
        check(b.getInt(0x18) == 2, "blocks of another size");
        check((b.getShort(0x58) & 0xffff) == INODE_BYTES, "inodes of another size");
        check((b.getShort(0xfe) & 0xffff) == DESCRIPTOR_BYTES, "group descriptors of another size");
        b = read(image, Layout.BLOCK, DESCRIPTOR_BYTES);
        long table = b.getInt(8) & 0xffffffffL | (long) b.getInt(0x28) << 32;
        long at = table * Layout.BLOCK + (INODE - 1L) * INODE_BYTES;
        b = read(image, at + 40, 60);
        for (int depth = b.getShort(6); depth > 0; depth--) {
            checkExtents(b);
            long leaf = b.getInt(16) & 0xffffffffL | (b.getShort(20) & 0xffffL) << 32;
            b = read(image, leaf * Layout.BLOCK, 60);
        }
        checkExtents(b);
        check(b.getInt(12) == 0, "no beginning of the file");
        return b.getInt(20) & 0xffffffffL | (b.getShort(18) & 0xffffL) << 32;
    }

    private static void checkExtents(ByteBuffer b) throws IOException {
        check((b.getShort(0) & 0xffff) == EXTENT_MAGIC && b.getShort(2) > 0, "no extents");
    }

    private static ByteBuffer read(Fd image, long at, int length) throws IOException {
        ByteBuffer b = ByteBuffer.allocateDirect(length).order(ByteOrder.LITTLE_ENDIAN);
        check(Io.readFully(image, b, at) == length, "too short");
        return b;
    }

    private static void check(boolean good, String otherwise) throws IOException {
        if (!good) {
            throw new IOException(
                    "mke2fs made something else than it was asked for (" + otherwise + ")");
        }
    }
}
