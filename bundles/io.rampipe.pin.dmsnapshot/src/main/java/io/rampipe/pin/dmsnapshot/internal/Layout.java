package io.rampipe.pin.dmsnapshot.internal;

/**
 * How much goes where. In blocks of 4 KiB, which are the chunks of the snapshot, the blocks of the
 * file system and the pages of the pool.
 *
 * @param size of the file, bytes
 * @param whole blocks of the file that are whole: those of the snapshot
 * @param growth blocks that it may grow
 * @param device whether programs see the snapshot itself, a block device; then its last block may
 *     be a part of one
 */
record Layout(long size, long whole, long growth, boolean device) {
    static final int BLOCK = 4096;
    static final int SECTORS = BLOCK / 512;

    /** Blocks of a block group ({@code ext4(5)}, 4 KiB blocks). */
    private static final long GROUP = 8L * BLOCK;

    /** Superblock, root directory, lost+found, extents, attributes; and some to spare. */
    private static final long FEW = 64;

    /** Bitmaps and inodes of a group. */
    private static final long EACH_GROUP = 4;

    /** Block groups whose descriptors are in one block. */
    private static final long DESCRIPTORS = BLOCK / 64;

    /** Exceptions in a block of the store ({@code drivers/md/dm-snap-persistent.c}). */
    private static final long EXCEPTIONS = BLOCK / 16;

    /** Nodes, names and the configuration of mke2fs in the pin's own file system in RAM. */
    private static final long STORE_FEW = 64;

    static Layout of(long size, long growth) {
        return new Layout(size, size / BLOCK, blocks(growth), false);
    }

    /**
     * @param size a multiple of 512
     */
    static Layout device(long size) {
        return new Layout(size, blocks(size), 0, true);
    }

    static long blocks(long bytes) {
        return (bytes + BLOCK - 1) / BLOCK;
    }

    /** Blocks of the file. */
    long file() {
        return blocks(size);
    }

    private long metadata() {
        if (device) {
            return 0;
        }
        long groups = (file() + growth) / GROUP + 2;
        return FEW + EACH_GROUP * groups + groups / DESCRIPTORS;
    }

    /** Blocks of the file system; 0 if there is none. */
    long fileSystem() {
        return device ? 0 : file() + growth + metadata();
    }

    /**
     * Blocks of the store when each block of the file has been changed: a header, the changed ones,
     * and as many blocks of exceptions as those take, with one begun and one about to be.
     */
    long store() {
        return whole == 0 ? 0 : 1 + whole + whole / (EXCEPTIONS - 1) + 2;
    }

    /** Bytes of RAM before anything is changed, about. */
    long least() {
        return (metadata() + STORE_FEW) * BLOCK;
    }

    /**
     * Bytes of RAM that it can come to: nothing that programs do to the file takes more. What is
     * neither the snapshot nor the store is in a sparse file.
     */
    long most() {
        return (store() + (device ? 0 : fileSystem() - whole) + STORE_FEW) * BLOCK;
    }
}
