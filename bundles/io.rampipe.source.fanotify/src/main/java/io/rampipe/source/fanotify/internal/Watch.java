package io.rampipe.source.fanotify.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fanotify;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.io.IOException;

/** A mark on a file system or a mount: that of watched directories, or that of a pin. */
final class Watch {
    /** Events in a slot of {@link Presence} from which on a disk is being flooded. */
    private static final int FLOOD = 1000;

    private final Fanotify group;
    private final Fanotify.Scope scope;
    private final Place place;
    private final FilePath path;
    private final long mount;
    private final Pin pin;
    private final long directory;
    private final long data;
    private final long names;

    private Samples samples;
    private int slot;
    private int count;
    private int bits;

    private Watch(
            Fanotify group,
            Fanotify.Scope scope,
            Place place,
            FilePath path,
            long mount,
            Pin pin,
            long directory,
            Masks masks) {
        this.group = group;
        this.scope = scope;
        this.place = place;
        this.path = path;
        this.mount = mount;
        this.pin = pin;
        this.directory = directory;
        this.data = masks.data();
        this.names = scope == Fanotify.Scope.FILE_SYSTEM ? masks.names() : 0;
    }

    /** What to ask the kernel for: events of data, and of names. */
    record Masks(long data, long names) {}

    /** Of a file system with watched directories. */
    static Watch disk(Fanotify group, Place place, Masks masks) {
        return new Watch(group, Fanotify.Scope.FILE_SYSTEM, place, null, 0, null, 0, masks);
    }

    /**
     * Of one mount with watched directories, where handles do not work.
     *
     * @param mount as {@link Stat#mount}
     */
    static Watch mount(Fanotify group, FilePath path, long mount, Masks masks) {
        return new Watch(group, Fanotify.Scope.MOUNT, null, path, mount, null, 0, masks);
    }

    /** Of a pin's own file system. */
    static Watch pin(Fanotify group, Place place, Pin pin, long directory, Masks masks) {
        return new Watch(group, Fanotify.Scope.FILE_SYSTEM, place, null, 0, pin, directory, masks);
    }

    /** Of a pin's mount. */
    static Watch pin(
            Fanotify group, FilePath path, long mount, Pin pin, long directory, Masks masks) {
        return new Watch(group, Fanotify.Scope.MOUNT, null, path, mount, pin, directory, masks);
    }

    Fanotify group() {
        return group;
    }

    /** Null if it covers a mount. */
    Place place() {
        return place;
    }

    /** Of a watch that covers a mount. */
    long mount() {
        return mount;
    }

    /** Null for a disk. */
    Pin pin() {
        return pin;
    }

    /** Identity that events of a pin carry. */
    long directory() {
        return directory;
    }

    /** Sets the mark, or sets it again. */
    void listen() throws IOException {
        try (Fd fd = open()) {
            group.add(scope, fd, data | names);
        }
    }

    /** Takes the mark away. */
    void leave() throws IOException {
        remove(data | names);
    }

    /**
     * Stops the frequent events. Those of names stay on a disk: a directory that moves must not be
     * missed.
     */
    void hush() throws IOException {
        remove(pin == null ? data : data | names);
    }

    private void remove(long mask) throws IOException {
        try (Fd fd = open()) {
            group.remove(scope, fd, mask);
        } catch (LinuxException e) {
            // Without a mark: the file system was unmounted in between.
            if (!e.is(Errno.ENOENT)) {
                throw e;
            }
        }
    }

    void ignore(Fd file) throws LinuxException {
        group.ignore(file, data);
    }

    private Fd open() throws IOException {
        if (scope == Fanotify.Scope.FILE_SYSTEM) {
            return place.open();
        }
        Fd fd = At.open(path, At.O_PATH);
        try {
            if (Stat.of(fd).mount() != mount) {
                throw new LinuxException("find the mount on", path, Errno.ENOENT);
            }
            return fd;
        } catch (LinuxException e) {
            fd.close();
            throw e;
        }
    }

    /** Notes an event, in a slot of {@link Presence}. */
    void touch(int now) {
        if (now != slot) {
            roll(now);
        }
        count++;
    }

    private void roll(int now) {
        if (count >= (pin == null ? FLOOD : 1)) {
            bits |= 1;
        }
        bits = Presence.aged(bits, now - slot);
        slot = now;
        count = 0;
    }

    /** Whether there was enough in the slot before this one to call it active, or flooded. */
    boolean wasActive() {
        return (bits & 2) != 0;
    }

    /** Whether it has been active (or flooded, if a disk) all the time, up to now. */
    boolean constant(int now) {
        if (now != slot) {
            roll(now);
        }
        return Presence.constant(bits);
    }

    /** What its windows showed; null unless it is silenced. */
    Samples samples() {
        return samples;
    }

    void silenced(Samples now) {
        samples = now;
        bits = 0;
    }

    boolean quiet() {
        return samples.quietAfter(pin == null ? FLOOD / 4 : 1);
    }

    @Override
    public String toString() {
        return pin != null
                ? pin.target().toString()
                : place != null ? place.toString() : path.toString();
    }
}
