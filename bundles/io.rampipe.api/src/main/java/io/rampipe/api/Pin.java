package io.rampipe.api;

import java.time.Instant;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;

/**
 * The record of a pin: all that any daemon needs to checkpoint, unpin or recover it. Written to the
 * journal before each step that it describes. Immutable.
 *
 * @param id unique, 1 to 32 characters of {@code [0-9a-z]}; also the name of the pin's directory in
 *     the thin pool, and part of its mount's source ({@code rampipe:ID}), by which its mount is
 *     recognised in mountinfo
 * @param target what it covers; the path is the one at pin time (parents may be renamed later)
 * @param strategy {@link Names#NAME} of the strategy that made it; filled in by the engine
 * @param sync {@link Names#NAME} of the syncback that understands its {@code format}; chosen by the
 *     engine, whatever the strategy writes here
 * @param format what the attributes and the pool directory mean; {@link #OVERLAY} or another that
 *     strategy and syncback agree on
 * @param step how far it has come
 * @param since when pinning began
 * @param attributes what strategy and syncback need; for {@link #OVERLAY} see the constants. Values
 *     are raw ({@link FilePath#raw})
 */
public record Pin(
        String id,
        Target target,
        String strategy,
        String sync,
        String format,
        Step step,
        Instant since,
        Map<String, String> attributes) {

    /**
     * Format: the changes are an overlayfs upper directory ({@code
     * Documentation/filesystems/overlayfs.rst}: whiteouts, opaque and redirect xattrs) at {@link
     * #UPPER}, to be applied to the directory with identity {@link #LOWER_DEVICE}, {@link
     * #LOWER_INODE} and {@link #LOWER_HANDLE}. For a file target that directory is the file's
     * parent, and only the file's own name in it is the pin's business.
     */
    public static final String OVERLAY = "overlay";

    /**
     * Format: the target is a file that is the one file {@link #SNAPSHOT_FILE} of a small ext4 on
     * the device-mapper device {@link #SNAPSHOT_DEVICE}, most of which is a snapshot of the file on
     * disk. Block {@code first + b} of that device, for b below {@link #SNAPSHOT_BLOCKS}, is block
     * b of the file on disk ({@link #FILE_INODE} in the directory with identity {@link
     * #LOWER_DEVICE}, {@link #LOWER_INODE} and {@link #LOWER_HANDLE}) unless the store of
     * exceptions {@link #SNAPSHOT_STORE} has it; everything else is in RAM. Blocks have 4096 bytes,
     * and so have the chunks of the snapshot.
     */
    public static final String SNAPSHOT = "snapshot";

    /**
     * Format: the target is a file that is used as a disk, and is covered by a block device: the
     * device-mapper device {@link #SNAPSHOT_DEVICE}. Below it is, or it is itself, {@link
     * #SNAPSHOT_ORIGIN}, a snapshot of the file on disk with chunks of 4096 bytes. For those in the
     * store of exceptions {@link #SNAPSHOT_STORE} the store has what programs have written, for all
     * others the file on disk. The file has {@link #FILE_SIZE} bytes, a multiple of 512, as long as
     * it is pinned.
     */
    public static final String SNAPSHOT_BLOCK = "snapshot-block";

    /** Bytes of a file that cannot change its size, decimal. */
    public static final String FILE_SIZE = "file.size";

    /** Name of the device-mapper device with the file system, or with the whole file. */
    public static final String SNAPSHOT_DEVICE = "snapshot.device";

    /**
     * Name of the device-mapper device that is the snapshot; absent if the file had no whole block.
     */
    public static final String SNAPSHOT_ORIGIN = "snapshot.origin";

    /** Absolute raw path of a node of {@link #SNAPSHOT_DEVICE}, by which it can be mounted. */
    public static final String SNAPSHOT_NODE = "snapshot.node";

    /** Absolute raw path of the store of exceptions; absent as the snapshot is. */
    public static final String SNAPSHOT_STORE = "snapshot.store";

    /**
     * Name, without its last character, of the device-mapper device that is the store; present if
     * only the beginning of the store is in RAM, and the rest is on disk. Such a store is replaced
     * by a fresh one when all that is in it has got to the file on disk. Which one is in force,
     * that with 0 or that with 1 as its last character, is told by the table of {@link
     * #SNAPSHOT_ORIGIN} alone. {@link #SNAPSHOT_STORE} is a node of it then, and missing while it
     * is replaced; the part in RAM is a file of that name with the same last character.
     */
    public static final String SNAPSHOT_SPLIT = "snapshot.split";

    /** Block of {@link #SNAPSHOT_DEVICE} at which the snapshot begins, decimal. */
    public static final String SNAPSHOT_FIRST = "snapshot.first";

    /** Number of blocks of the snapshot, decimal. */
    public static final String SNAPSHOT_BLOCKS = "snapshot.blocks";

    /** Name of the file in the root directory of that file system. */
    public static final String SNAPSHOT_FILE = "file";

    /** Inode number of a single file on disk, decimal. */
    public static final String FILE_INODE = "file.inode";

    /**
     * Bytes of RAM that are set aside for the pin in a file system of its own, and so are not in
     * the figures of the thin pool's, decimal; absent if there are none.
     */
    public static final String RESERVED = "reserved";

    /** Absolute raw path where that file system is mounted. */
    public static final String RESERVED_AT = "reserved.at";

    /** Absolute raw path of the upper directory. */
    public static final String UPPER = "upper";

    /**
     * Absolute raw path of the layer between upper and lower that hides names which the syncback
     * has put on disk ({@code io.rampipe.linux.Mask}). Absent for file targets: nothing is renamed
     * or removed below their mounts.
     */
    public static final String MASK = "mask";

    /** Absolute raw path of the overlay's work directory. */
    public static final String WORK = "work";

    /**
     * Absolute raw path where the overlay of a file target is mounted out of sight; absent for
     * directory targets.
     */
    public static final String HIDDEN = "hidden";

    /** {@code major:minor} of the lower directory's file system, decimal. */
    public static final String LOWER_DEVICE = "lower.device";

    /** Inode number of the lower directory, decimal. */
    public static final String LOWER_INODE = "lower.inode";

    /**
     * File handle of the lower directory as {@code type:hex}; absent if the file system has none.
     */
    public static final String LOWER_HANDLE = "lower.handle";

    /**
     * Absolute raw path of the file that tells what the lower directory was like when it was
     * pinned, and as the syncback has left it since ({@code docs/redo-log.md}, "Baseline"):
     * whatever differs from it on disk was changed by others. Written before the target is covered,
     * kept up to date by the syncback, beside the upper directory.
     */
    public static final String BASELINE = "baseline";

    /**
     * Mount id of the mount over the target, decimal, of the kind in {@code /proc/self/mountinfo}.
     */
    public static final String MOUNT = "mount";

    /**
     * A path below the target (raw; empty if it is not known which) that a program may have changed
     * on disk, past the pin, while the pin was being made, and that could not be undone because
     * other programs used the pin already; or while its mount was away, because its last syncback
     * failed. Such a pin is best synced and unpinned at once. Absent on nearly all.
     */
    public static final String BYPASSED = "bypassed";

    /**
     * At {@link Step#UNMOUNTING} only: the {@link SyncBack#version} of the changes that is on disk
     * already, wholly. If the changes in RAM still have it once the mount is gone, there is nothing
     * more to write, and whatever differs on disk is newer: programs have gone on there. Absent if
     * programs were writing when the mount was about to be taken away.
     */
    public static final String SETTLED = "settled";

    /**
     * Present if a user has asked for the pin, so that it stays although it is cold. Filled in by
     * the engine.
     */
    public static final String BY_HAND = "by.hand";

    /** How far a pin has come; written before the step is taken. */
    public enum Step {
        /** Room and directories are being made; nothing covers the target yet. */
        PREPARING,
        /** The mount over the target is being made; it may or may not be there. */
        MOUNTING,
        /** In force. */
        PINNED,
        /**
         * The mount is being taken away; it may or may not be there. What is in the pool may not be
         * on disk.
         */
        UNMOUNTING,
        /** Everything is on disk; mount and RAM are being removed. */
        DISCARDING
    }

    public Pin {
        if (!id.matches("[0-9a-z]{1,32}")) {
            throw new IllegalArgumentException("not a pin id: " + id);
        }
        Objects.requireNonNull(target);
        Objects.requireNonNull(strategy);
        Objects.requireNonNull(sync);
        Objects.requireNonNull(format);
        Objects.requireNonNull(step);
        Objects.requireNonNull(since);
        attributes = java.util.Collections.unmodifiableMap(new TreeMap<>(attributes));
    }

    public Pin at(Step next) {
        return new Pin(id, target, strategy, sync, format, next, since, attributes);
    }

    public Pin with(String key, String value) {
        Map<String, String> more = new TreeMap<>(attributes);
        more.put(key, value);
        return new Pin(id, target, strategy, sync, format, step, since, more);
    }

    public Pin without(String key) {
        Map<String, String> fewer = new TreeMap<>(attributes);
        fewer.remove(key);
        return new Pin(id, target, strategy, sync, format, step, since, fewer);
    }

    /**
     * The attribute's value. Throws if the record has none: then it is not what its format
     * promises.
     */
    public String attribute(String key) {
        String value = attributes.get(key);
        if (value == null) {
            throw new IllegalStateException(
                    "pin " + id + " of " + target + " has no attribute " + key);
        }
        return value;
    }

    /** Bytes of {@link #RESERVED}. */
    public long reserved() {
        return Long.parseLong(attributes.getOrDefault(RESERVED, "0"));
    }

    /** A path attribute. */
    public FilePath path(String key) {
        return FilePath.ofRaw(attribute(key));
    }
}
