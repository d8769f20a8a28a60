package io.rampipe.source.inotify.internal;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;

/** Nodes by the number of their watch: a hash table without boxing. One thread at a time. */
final class Nodes {
    private static final int SMALLEST = 256;

    private Node[] slots = new Node[SMALLEST];
    private int size;

    int size() {
        return size;
    }

    /** Null if there is none. */
    Node get(int watch) {
        return slots[slot(watch)];
    }

    void put(Node node) {
        if (2 * size >= slots.length) {
            resize(slots.length * 2);
        }
        int at = slot(node.watch());
        if (slots[at] == null) {
            size++;
        }
        slots[at] = node;
    }

    /** Harmless if it is not there. */
    void remove(int watch) {
        int gap = slot(watch);
        if (slots[gap] == null) {
            return;
        }
        int mask = slots.length - 1;
        // Without tombstones: what the gap would cut off from its home moves into it.
        for (int i = gap + 1 & mask; slots[i] != null; i = i + 1 & mask) {
            int home = home(slots[i].watch());
            if ((i - home & mask) >= (i - gap & mask)) {
                slots[gap] = slots[i];
                gap = i;
            }
        }
        slots[gap] = null;
        size--;
        if (slots.length > SMALLEST && size < slots.length / 8) {
            resize(slots.length / 2);
        }
    }

    List<Node> all(Predicate<Node> wanted) {
        List<Node> all = new ArrayList<>();
        for (Node node : slots) {
            if (node != null && wanted.test(node)) {
                all.add(node);
            }
        }
        return all;
    }

    private void resize(int length) {
        Node[] old = slots;
        slots = new Node[length];
        for (Node node : old) {
            if (node != null) {
                slots[slot(node.watch())] = node;
            }
        }
    }

    private int slot(int watch) {
        int at = home(watch);
        while (slots[at] != null && slots[at].watch() != watch) {
            at = at + 1 & slots.length - 1;
        }
        return at;
    }

    private int home(int watch) {
        // The kernel hands numbers out in turn: they are spread as they are.
        return watch & slots.length - 1;
    }
}
