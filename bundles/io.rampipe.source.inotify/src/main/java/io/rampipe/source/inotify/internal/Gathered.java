package io.rampipe.source.inotify.internal;

import io.rampipe.api.AccessEvent;
import io.rampipe.api.AccessListener;
import io.rampipe.api.FilePath;
import java.nio.ByteBuffer;
import java.util.Arrays;

/**
 * Merges the events of one round, so that each name is told once, with all that happened to it: as
 * fanotify's queue does, and inotify's only with neighbours. Allocates only to grow. One thread.
 */
final class Gathered {
    private static final int MOST = 16 * 1024;
    private static final int FIRST_NAMES = 64 * 1024;
    private static final int MOST_NAME_BYTES = 1024 * 1024;
    private static final int LONGEST_NAME = 256;

    private final Current current = new Current();

    /** Hash table over the entries: index plus one, 0 if free. */
    private final int[] slots = new int[2 * MOST];

    private final long[] files = new long[MOST];
    private final int[] slotOf = new int[MOST];
    private final Node[] nodes = new Node[MOST];
    private final int[] kinds = new int[MOST];
    private final int[] nameStarts = new int[MOST];
    private final int[] nameLengths = new int[MOST];
    private byte[] names = new byte[FIRST_NAMES];
    private int nameBytes;
    private int count;

    /** Whether {@link #flush} has to come before the next {@link #add}. */
    boolean isFull() {
        return count == MOST || nameBytes > MOST_NAME_BYTES - LONGEST_NAME;
    }

    /** Adds to what happened to a name. */
    void add(long file, Node node, int what, ByteBuffer memory, int offset, int length) {
        int slot = slot(file);
        if (slots[slot] != 0) {
            kinds[slots[slot] - 1] |= what;
            return;
        }
        if (nameBytes + length > names.length) {
            names = Arrays.copyOf(names, Math.max(2 * names.length, nameBytes + length));
        }
        memory.get(offset, names, nameBytes, length);
        slots[slot] = count + 1;
        slotOf[count] = slot;
        files[count] = file;
        nodes[count] = node;
        kinds[count] = what;
        nameStarts[count] = nameBytes;
        nameLengths[count] = length;
        nameBytes += length;
        count++;
    }

    private int slot(long file) {
        int at = (int) file & slots.length - 1;
        while (slots[at] != 0 && files[slots[at] - 1] != file) {
            at = at + 1 & slots.length - 1;
        }
        return at;
    }

    /** Hands everything over, in the order of its first event, and is empty then. */
    void flush(AccessListener listener) {
        try {
            for (int i = 0; i < count; i++) {
                if (!nodes[i].ignored) {
                    current.index = i;
                    listener.access(current);
                }
            }
        } finally {
            for (int i = 0; i < count; i++) {
                slots[slotOf[i]] = 0;
                nodes[i] = null;
            }
            count = 0;
            nameBytes = 0;
        }
    }

    /** The window through which listeners see one entry. */
    private final class Current implements AccessEvent {
        private int index;

        @Override
        public long directory() {
            Node node = nodes[index];
            return node.tree().identity(node.identity());
        }

        @Override
        public long file() {
            return files[index];
        }

        @Override
        public int kinds() {
            return kinds[index];
        }

        @Override
        public double scale() {
            return 1;
        }

        @Override
        public Location locate() {
            return nodes[index].locate(
                    FilePath.ofBytes(names, nameStarts[index], nameLengths[index]));
        }
    }
}
