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
 * @param inRam blocks of the store that may be in RAM
 */
record Layout(long size, long whole, long growth, boolean device, long inRam) {
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

    /** Of a snapshot's store in RAM, the part that a fresh one may begin with. */
    static final int KEPT = 8;

    static Layout of(long size, long growth, long store) {
        return new Layout(size, size / BLOCK, blocks(growth), false, store / BLOCK);
    }

    /**
     * @param size a multiple of 512
     */
    static Layout device(long size) {
        return new Layout(size, blocks(size), 0, true, Long.MAX_VALUE);
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

    /** Whether the store is too large to be in RAM as a whole. */
    boolean split() {
        return store() > inRam;
    }

    /** Blocks of the store that are in RAM. */
    long ram() {
        return Math.min(store(), inRam);
    }

    /** Bytes of the store that are on disk. */
    long disk() {
        return (store() - ram()) * BLOCK;
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
        long two = split() ? ram() / KEPT : 0;
        return (ram() + two + (device ? 0 : fileSystem() - whole) + STORE_FEW) * BLOCK;
    }
}
