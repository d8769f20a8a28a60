package io.rampipe.linux;

import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * Events as {@link Inotify#read} leaves them in memory, seen one at a time: {@link #next} moves on,
 * the other methods tell about the current event, and allocate nothing. One thread at a time.
 */
public final class InotifyEvents {
    private static final int HEADER = 16;

    /** Header and the longest name, padded ({@code NAME_MAX + 1}). */
    private static final int LONGEST = HEADER + 256;

    private final ByteBuffer buffer;
    private final Pointer pointer;

    private int length;
    private int next;
    private int at;
    private int nameLength;

    /**
     * @param capacity bytes; at least 4096
     */
    public InotifyEvents(int capacity) {
        if (capacity < 4096) {
            throw new IllegalArgumentException("too small for events: " + capacity);
        }
        buffer = ByteBuffer.allocateDirect(capacity).order(ByteOrder.nativeOrder());
        pointer = Native.getDirectBufferPointer(buffer);
    }

    Pointer pointer() {
        return pointer;
    }

    int room() {
        return buffer.capacity();
    }

    void filled(int bytes) {
        length = bytes;
        next = 0;
    }

    /** Whether the last read may have left events in the queue. */
    public boolean full() {
        return length > buffer.capacity() - LONGEST;
    }

    /** Moves to the next event; false if there is none. */
    public boolean next() throws MalformedEventException {
        if (next >= length) {
            return false;
        }
        at = next;
        int left = length - at;
        int room = left < HEADER ? -1 : buffer.getInt(at + 12);
        if (room < 0 || room > left - HEADER) {
            next = length;
            throw new MalformedEventException(
                    "inotify event at byte "
                            + at
                            + " has a name of length "
                            + room
                            + " with "
                            + left
                            + " bytes left");
        }
        next = at + HEADER + room;
        nameLength = 0;
        while (nameLength < room && buffer.get(at + HEADER + nameLength) != 0) {
            nameLength++;
        }
        return true;
    }

    /** Number of the watch; -1 with {@link Inotify#Q_OVERFLOW}. */
    public int watch() {
        return buffer.getInt(at);
    }

    /** What happened: bits of {@link Inotify}. */
    public int mask() {
        return buffer.getInt(at + 4);
    }

    /** The memory, for reading at the offsets below, which are valid until {@link #next}. */
    public ByteBuffer memory() {
        return buffer;
    }

    public int nameOffset() {
        return at + HEADER;
    }

    /** 0 if it happened to the watched directory or file itself. */
    public int nameLength() {
        return nameLength;
    }
}
