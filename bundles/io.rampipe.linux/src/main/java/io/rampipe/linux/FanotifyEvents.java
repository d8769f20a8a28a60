package io.rampipe.linux;

import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import io.rampipe.api.FilePath;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Events as {@link Fanotify#read} leaves them in memory, seen one at a time: {@link #next} moves
 * on, the other methods tell about the current event. Allocates only where it says so. One thread
 * at a time.
 */
public final class FanotifyEvents {
    private static final int METADATA = 24;
    private static final int VERSION = 3;
    private static final int RECORD_HEADER = 4;

    /** {@code FAN_EVENT_INFO_TYPE_DFID_NAME} and {@code FAN_EVENT_INFO_TYPE_DFID}. */
    private static final int DFID_NAME = 2;

    private static final int DFID = 3;

    /** Record header, file-system id, length and type of the handle. */
    private static final int RECORD_FIXED = RECORD_HEADER + 8 + 8;

    private static final int MAX_HANDLE = 128;

    /** Metadata, one record, the longest handle, the longest name: no event is longer. */
    private static final int LONGEST = METADATA + RECORD_FIXED + MAX_HANDLE + 256 + 8;

    /** Each event of this kind opens a file; never more at once than any limit allows. */
    private static final int DESCRIPTORS_AT_ONCE = 128;

    private static final int AT_EMPTY_PATH = 0x1000;
    private static final int STATX_INO_AND_MODE = 0x103;
    private static final byte[] EMPTY = {0};

    private final ByteBuffer buffer;
    private final Pointer pointer;

    private int length;
    private int limit;
    private int longest;
    private int next;
    private int at;
    private int record;
    private int handleLength;
    private int nameOffset;
    private int nameLength;
    private long device;
    private long inode;

    /**
     * @param capacity bytes; at least 4096
     */
    public FanotifyEvents(int capacity) {
        if (capacity < 4096) {
            throw new IllegalArgumentException("too small for events: " + capacity);
        }
        buffer = ByteBuffer.allocateDirect(capacity).order(ByteOrder.nativeOrder());
        pointer = Native.getDirectBufferPointer(buffer);
        filled(0, true);
    }

    Pointer pointer() {
        return pointer;
    }

    /** How much may be read at once. */
    int room(boolean handles) {
        return handles
                ? buffer.capacity()
                : Math.min(buffer.capacity(), DESCRIPTORS_AT_ONCE * METADATA);
    }

    void filled(int bytes, boolean handles) {
        length = bytes;
        limit = room(handles);
        longest = handles ? LONGEST : METADATA;
        next = 0;
        record = -1;
    }

    /**
     * Whether the last read may have left events in the queue: it filled the memory so far that
     * another event might not have found room.
     */
    public boolean full() {
        return length > limit - longest;
    }

    /** Moves to the next event; false if there is none. */
    public boolean next() throws MalformedEventException {
        record = -1;
        if (next >= length) {
            return false;
        }
        at = next;
        int left = length - at;
        if (left < METADATA) {
            throw malformed("ends after " + left + " bytes");
        }
        int size = buffer.getInt(at);
        if (size < METADATA || size > left) {
            throw malformed("has length " + size + " with " + left + " bytes left");
        }
        if (buffer.get(at + 4) != VERSION) {
            throw malformed("has version " + buffer.get(at + 4) + " instead of " + VERSION);
        }
        int metadata = buffer.getShort(at + 6) & 0xffff;
        if (metadata < METADATA || metadata > size) {
            throw malformed("has metadata of length " + metadata);
        }
        next = at + size;
        findRecord(at + metadata, next);
        return true;
    }

    private void findRecord(int from, int end) throws MalformedEventException {
        for (int r = from; r < end; ) {
            if (end - r < RECORD_HEADER) {
                throw malformed("has a record of " + (end - r) + " bytes");
            }
            int type = buffer.get(r);
            int size = buffer.getShort(r + 2) & 0xffff;
            if (size < RECORD_HEADER || size > end - r) {
                throw malformed("has a record of length " + size);
            }
            if (type == DFID_NAME || type == DFID) {
                readRecord(r, size, type == DFID_NAME);
                return;
            }
            r += size;
        }
    }

    private void readRecord(int r, int size, boolean named) throws MalformedEventException {
        int handle = size < RECORD_FIXED ? -1 : buffer.getInt(r + 12);
        if (handle < 0 || handle > MAX_HANDLE || handle > size - RECORD_FIXED) {
            throw malformed("has a file handle of length " + handle);
        }
        handleLength = handle;
        nameOffset = r + RECORD_FIXED + handle;
        nameLength = 0;
        if (named) {
            int end = r + size;
            int n = nameOffset;
            while (n < end && buffer.get(n) != 0) {
                n++;
            }
            if (n == end) {
                throw malformed("has a name without an end");
            }
            nameLength = n - nameOffset;
        }
        record = r;
    }

    private MalformedEventException malformed(String what) {
        next = length;
        return new MalformedEventException("fanotify event at byte " + at + " " + what);
    }

    /** What happened: bits of {@link Fanotify}. */
    public long mask() {
        return buffer.getLong(at + 8);
    }

    /** Process that did it; 0 if it is not visible from here. */
    public int pid() {
        return buffer.getInt(at + 20);
    }

    /** Whether the event tells of a directory; without, the following must not be called. */
    public boolean hasHandle() {
        return record >= 0;
    }

    /** Id of the file system, as {@link StatFs#id}. */
    public long fileSystem() {
        return buffer.getLong(record + 4);
    }

    /** The memory, for reading at the offsets below, which are valid until {@link #next}. */
    public ByteBuffer memory() {
        return buffer;
    }

    /** Where the directory's handle is: its type (an int), and its bytes behind that. */
    public int handleOffset() {
        return record + 16;
    }

    /** Length of the handle's bytes, without the type. */
    public int handleLength() {
        return handleLength;
    }

    public int nameOffset() {
        return nameOffset;
    }

    /** 0 if the event tells no name; {@code .} for the directory itself. */
    public int nameLength() {
        return nameLength;
    }

    /** The directory's handle; allocates. */
    public FileHandle handle() {
        return FileHandle.of(
                buffer.getInt(handleOffset()), bytes(handleOffset() + 4, handleLength));
    }

    /** The name; allocates. */
    public FilePath name() {
        return FilePath.ofBytes(bytes(nameOffset, nameLength));
    }

    private byte[] bytes(int offset, int count) {
        byte[] out = new byte[count];
        buffer.get(offset, out);
        return out;
    }

    /** Whether the event brings a descriptor, to be closed by {@link #closeDescriptor}. */
    public boolean hasDescriptor() {
        return buffer.getInt(at + 16) >= 0;
    }

    /** Finds out {@link #device} and {@link #inode} of the event's file; false if it cannot. */
    public boolean identify() {
        Memory m = LibC.scratch();
        int fd = buffer.getInt(at + 16);
        if (LibC.statx(fd, EMPTY, AT_EMPTY_PATH, STATX_INO_AND_MODE, m) < 0) {
            return false;
        }
        device = Stat.device(m.getInt(136) & 0xffffffffL, m.getInt(140) & 0xffffffffL);
        inode = m.getLong(32);
        return true;
    }

    /** As {@link Stat#device}. */
    public long device() {
        return device;
    }

    public long inode() {
        return inode;
    }

    /** What the kernel calls the event's file now; allocates. */
    public FilePath path() throws LinuxException {
        return At.readLink(Fd.CWD, FilePath.of("/proc/self/fd/" + buffer.getInt(at + 16)));
    }

    /** Closes the event's descriptor, if it has one. Once for each event. */
    public void closeDescriptor() {
        int fd = buffer.getInt(at + 16);
        if (fd >= 0) {
            LibC.close(fd);
            buffer.putInt(at + 16, -1);
        }
    }
}
