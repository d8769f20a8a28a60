package io.rampipe.source.fanotify.internal;

import io.rampipe.api.Access;
import io.rampipe.api.AccessEvent;
import io.rampipe.api.AccessListener;
import io.rampipe.api.EventSource;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fanotify;
import io.rampipe.linux.FanotifyEvents;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MalformedEventException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Poller;
import io.rampipe.linux.Stat;
import io.rampipe.linux.StatFs;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import org.osgi.service.log.Logger;

/**
 * The marks, and the queues that they fill. Disks share one queue and are told apart by their
 * file-system ids; so do pins whose overlay has an id of its own. What cannot be told apart so gets
 * a queue of its own.
 */
final class FanotifySession implements EventSource.Session {
    private static final int BUFFER_BYTES = 128 * 1024;
    private static final int MOST_IGNORED = 64 * 1024;

    /** A queue holds 16,384 events; more in one go would starve the caller. */
    private static final int MOST_AT_ONCE = 2 * 16_384;

    private static final long NAMES =
            Fanotify.CREATE
                    | Fanotify.DELETE
                    | Fanotify.MOVED_FROM
                    | Fanotify.MOVED_TO
                    | Fanotify.ONDIR;
    private static final long MOVES = Fanotify.MOVED_FROM | Fanotify.MOVED_TO;

    private final LongSupplier clock;
    private final Logger log;
    private final boolean sampling;
    private final Watch.Masks masks;
    private final long self = ProcessHandle.current().pid();
    private final FanotifyEvents events = new FanotifyEvents(BUFFER_BYTES);
    private final Current current = new Current();
    private final LongSet ignored = new LongSet(MOST_IGNORED);
    private final Poller poller;
    private final Fanotify shared;
    private final Sampler sampler;

    /** By file-system id. */
    private final Map<Long, Watch> disks = new HashMap<>();

    /** By mount id: disks that descriptors are needed for. */
    private final Map<Long, Watch> mounts = new LinkedHashMap<>();

    /** By pin id. */
    private final Map<String, Watch> pins = new HashMap<>();

    private Fanotify descriptors;
    private DescriptorCache known;
    private WatchTable table = new WatchTable(List.of());
    private List<Queue> queues = List.of();
    private List<Watch> sampledWatches = List.of();

    // One thread writes, any may read.
    private volatile long delivered;
    private volatile long own;
    private volatile long overflows;
    private volatile int marks;
    private volatile int silenced;
    private volatile String mode = "file handles";

    /**
     * A queue to read.
     *
     * @param only the watch that all its events belong to, or null
     */
    private record Queue(Fanotify group, Watch only) {}

    /**
     * @param clock nanoseconds, monotonic
     * @param sampling whether to silence what is active all the time
     */
    FanotifySession(boolean opens, boolean reads, boolean sampling, LongSupplier clock, Logger log)
            throws LinuxException {
        this.clock = clock;
        this.log = log;
        this.sampling = sampling;
        this.masks =
                new Watch.Masks(
                        Fanotify.MODIFY
                                | Fanotify.CLOSE_WRITE
                                | (opens ? Fanotify.OPEN : 0)
                                | (reads ? Fanotify.ACCESS : 0),
                        NAMES);
        poller = new Poller();
        try {
            shared = Fanotify.withHandles();
        } catch (LinuxException e) {
            poller.close();
            throw e;
        }
        sampler = new Sampler(shared, clock.getAsLong(), log);
        changed();
    }

    // ---- what is watched

    @Override
    public void watch(Collection<FilePath> roots) throws IOException {
        Map<Long, List<Root>> wanted = new LinkedHashMap<>();
        List<IOException> failures = new ArrayList<>();
        for (FilePath root : roots) {
            try {
                Root at = Root.of(root);
                wanted.computeIfAbsent(at.fileSystem(), id -> new ArrayList<>()).add(at);
            } catch (IOException e) {
                failures.add(new IOException("cannot watch " + root + ": " + e.getMessage(), e));
            }
        }
        Map<Long, Watch> gone = new HashMap<>(disks);
        Map<Long, Watch> goneMounts = new HashMap<>(mounts);
        for (List<Root> same : wanted.values()) {
            try {
                watch(same, gone, goneMounts);
            } catch (IOException e) {
                failures.add(
                        new IOException(
                                "cannot watch " + same.get(0).path() + ": " + e.getMessage(), e));
            }
        }
        gone.values().forEach(this::drop);
        goneMounts.values().forEach(this::drop);
        disks.values().removeAll(gone.values());
        mounts.values().removeAll(goneMounts.values());
        changed();
        if (!failures.isEmpty()) {
            IOException first = failures.get(0);
            failures.stream().skip(1).forEach(first::addSuppressed);
            throw first;
        }
    }

    /** Watches the file system that these roots are on, by its handles or else by its mounts. */
    private void watch(List<Root> same, Map<Long, Watch> gone, Map<Long, Watch> goneMounts)
            throws IOException {
        long fileSystem = same.get(0).fileSystem();
        List<FilePath> views = same.stream().map(Root::path).toList();
        Watch watch = disks.get(fileSystem);
        if (watch == null) {
            watch = Watch.disk(shared, new Place(fileSystem, same.get(0).device(), views), masks);
        } else {
            watch.place().views(views);
        }
        try {
            // Again, even if it is known: it may have been unmounted, and the mark with it.
            if (watch.samples() == null) {
                watch.listen();
            }
            disks.put(fileSystem, watch);
            gone.remove(fileSystem);
        } catch (LinuxException e) {
            if (!withoutHandles(e)) {
                throw e;
            }
            for (Root root : same) {
                watchMount(root, e);
                goneMounts.remove(root.mount());
            }
        }
    }

    /** Answers of a kernel that cannot watch this by handles ({@code fanotify_mark(2)}). */
    private static boolean withoutHandles(LinuxException e) {
        return e.is(Errno.EXDEV, Errno.ENODEV, Errno.EOPNOTSUPP, Errno.EOVERFLOW);
    }

    private void watchMount(Root root, LinuxException why) throws IOException {
        if (mounts.containsKey(root.mount())) {
            return;
        }
        if (descriptors == null) {
            descriptors = Fanotify.withDescriptors();
            known = new DescriptorCache();
        }
        Watch watch = Watch.mount(descriptors, root.path(), root.mount(), masks);
        watch.listen();
        mounts.put(root.mount(), watch);
        log.info(
                "{} is watched by mount, without changes of names: {}",
                root.path(),
                why.getMessage());
    }

    @Override
    public void pinned(Pin pin, long directory) throws IOException {
        unpinned(pin);
        Watch watch = null;
        try {
            watch =
                    pin.target().kind() == Target.Kind.FILE
                                    && !pin.attributes().containsKey(Pin.HIDDEN)
                            ? pinnedFile(pin, directory)
                            : pinnedDirectory(pin, directory);
        } catch (IOException e) {
            String hint =
                    e instanceof LinuxException l && l.is(Errno.EMFILE)
                            ? "; raise the sysctl fs.fanotify.max_user_groups, or LimitNOFILE"
                            : "";
            throw new IOException(
                    "cannot watch the pin of " + pin.target() + ": " + e.getMessage() + hint, e);
        }
        pins.put(pin.id(), watch);
        changed();
    }

    /** A file that is mounted over the target from a file system of the pin's own. */
    private Watch pinnedFile(Pin pin, long directory) throws IOException {
        FilePath path = pin.target().path();
        long mount;
        try (Fd fd = At.open(path, At.O_PATH)) {
            mount = Stat.of(fd).mount();
        }
        try {
            return own(group -> Watch.pin(group, path, mount, pin, directory, masks));
        } catch (LinuxException e) {
            if (!withoutHandles(e)) {
                throw e;
            }
        }
        return byDescriptors(path, mount, pin, directory);
    }

    private Watch pinnedDirectory(Pin pin, long directory) throws IOException {
        FilePath path =
                pin.attributes().containsKey(Pin.HIDDEN)
                        ? pin.path(Pin.HIDDEN)
                        : pin.target().path();
        Place place;
        long mount;
        try (Fd fd = At.open(path, At.O_PATH | At.O_DIRECTORY)) {
            mount = Stat.of(fd).mount();
            place = new Place(StatFs.of(fd).id(), device(mount), List.of(path));
        }
        try {
            // Old kernels give an overlay the id of the file system that its upper is on.
            if (table.find(place.fileSystem()) != null) {
                return own(group -> Watch.pin(group, place, pin, directory, masks));
            }
            Watch watch = Watch.pin(shared, place, pin, directory, masks);
            watch.listen();
            return watch;
        } catch (LinuxException e) {
            if (!withoutHandles(e)) {
                throw e;
            }
        }
        return byDescriptors(path, mount, pin, directory);
    }

    private Watch byDescriptors(FilePath path, long mount, Pin pin, long directory)
            throws IOException {
        Fanotify group = Fanotify.withDescriptors();
        return listen(group, Watch.pin(group, path, mount, pin, directory, masks));
    }

    private interface Maker {
        Watch make(Fanotify group);
    }

    private static Watch own(Maker maker) throws IOException {
        Fanotify group = Fanotify.withHandles();
        return listen(group, maker.make(group));
    }

    private static Watch listen(Fanotify group, Watch watch) throws IOException {
        try {
            watch.listen();
            return watch;
        } catch (IOException e) {
            group.close();
            throw e;
        }
    }

    private static long device(long mount) throws IOException {
        return MountInfo.byId(mount).map(MountInfo::device).orElse(0L);
    }

    @Override
    public void unpinned(Pin pin) {
        Watch watch = pins.remove(pin.id());
        if (watch != null) {
            drop(watch);
            changed();
        }
    }

    private void drop(Watch watch) {
        sampler.forget(watch);
        try {
            if (watch.group() == shared || watch.group() == descriptors) {
                watch.leave();
            } else {
                watch.group().close();
            }
        } catch (IOException e) {
            // Unmounted, or covered: no event of it finds a watch any more.
            log.debug("cannot stop watching {}: {}", watch, e.getMessage());
        }
    }

    /** After watches came or went. */
    private void changed() {
        List<Watch> byFileSystem = new ArrayList<>(disks.values());
        List<Watch> sampled = new ArrayList<>(disks.values());
        List<Queue> all = new ArrayList<>();
        all.add(new Queue(shared, null));
        if (descriptors != null) {
            all.add(new Queue(descriptors, null));
        }
        for (Watch pin : pins.values()) {
            sampled.add(pin);
            if (pin.group() == shared) {
                byFileSystem.add(pin);
            } else {
                all.add(new Queue(pin.group(), pin));
            }
        }
        table = new WatchTable(byFileSystem);
        sampledWatches = sampling ? List.copyOf(sampled) : List.of();
        queues = List.copyOf(all);
        poller.watch(queues.stream().map(queue -> queue.group().fd()).toList());
        mode =
                mounts.isEmpty()
                        ? "file handles"
                        : (disks.isEmpty() ? "" : "file handles; ")
                                + "descriptors for "
                                + String.join(
                                        ", ",
                                        mounts.values().stream().map(Watch::toString).toList());
        count();
    }

    private void count() {
        marks = disks.size() + mounts.size() + pins.size() + sampler.ignoredFiles();
        silenced = sampler.silenced();
    }

    @Override
    public void ignore(long directory) {
        ignored.add(directory);
    }

    // ---- waiting

    @Override
    public boolean await(long nanos) throws IOException {
        long start = clock.getAsLong();
        while (true) {
            long now = clock.getAsLong();
            long left = nanos < 0 ? Long.MAX_VALUE : Math.max(0, nanos - (now - start));
            long due = sampler.running() ? Math.max(0, sampler.remaining(now)) : Long.MAX_VALUE;
            if (due == 0) {
                sampler.step(now);
                if (sampler.unjudged() && poller.await(0) == Poller.Outcome.TIME_OUT) {
                    sampler.judge();
                    sampler.startOrStop(now);
                    count();
                }
                continue;
            }
            long time = Math.min(left, due);
            if (time == Long.MAX_VALUE) {
                time = -1;
            }
            // In a window nothing but its end matters: what happens in it merges into one event.
            Poller.Outcome outcome =
                    sampler.windowOpen() ? poller.awaitWake(time) : poller.await(time);
            if (outcome == Poller.Outcome.READY) {
                return true;
            }
            if (outcome == Poller.Outcome.WOKEN || left == 0) {
                return poller.await(0) == Poller.Outcome.READY;
            }
        }
    }

    @Override
    public void wake() {
        poller.wake();
    }

    // ---- events

    @Override
    public int drain(AccessListener listener) throws IOException {
        long now = clock.getAsLong();
        sampler.beforeDrain(now);
        int count = 0;
        for (Queue queue : queues) {
            count += drain(queue, listener, now);
        }
        if (sampling) {
            sampler.afterDrain(now, count > 0, sampledWatches);
            count();
        }
        return count;
    }

    private int drain(Queue queue, AccessListener listener, long now) throws IOException {
        int count = 0;
        do {
            if (!queue.group().read(events)) {
                break;
            }
            try {
                while (events.next()) {
                    count++;
                    event(queue, listener, now);
                }
            } catch (MalformedEventException e) {
                log.error("events were lost: {}", e.getMessage());
                lost(listener);
            }
        } while (events.full() && count < MOST_AT_ONCE);
        delivered += count;
        return count;
    }

    private void event(Queue queue, AccessListener listener, long now) {
        if (queue.group().reportsHandles()) {
            byHandle(queue, listener);
            return;
        }
        try {
            byDescriptor(queue, listener, now);
        } finally {
            events.closeDescriptor();
        }
    }

    private void byHandle(Queue queue, AccessListener listener) {
        long mask = events.mask();
        if ((mask & Fanotify.Q_OVERFLOW) != 0) {
            lost(listener);
            return;
        }
        if ((mask & Fanotify.ONDIR) != 0) {
            if ((mask & MOVES) != 0) {
                ignored.clear();
            }
            // Opening and reading a directory is no access of a file.
            mask &= ~(Fanotify.OPEN | Fanotify.ACCESS);
        }
        if (foreign() && events.hasHandle()) {
            Watch watch = queue.only() != null ? queue.only() : table.find(events.fileSystem());
            if (watch != null) {
                hand(watch, mask, listener);
            }
        }
    }

    private void hand(Watch watch, long mask, AccessListener listener) {
        int kinds = kinds(mask);
        if ((kinds & ~Access.DIRECTORY) == 0) {
            return;
        }
        long directory =
                Identity.directory(
                        events.fileSystem(),
                        events.memory(),
                        events.handleOffset(),
                        events.handleLength());
        boolean pin = watch.pin() != null;
        if (pin) {
            directory = Identity.numbers(watch.directory(), directory);
        }
        long file =
                Identity.file(directory, events.memory(), events.nameOffset(), events.nameLength());
        double scale = 1;
        if (sampling) {
            scale =
                    pin
                            ? sampler.count(watch, file, kinds)
                            : (mask & masks.data()) != 0
                                    ? sampler.count(watch, file, kinds, events)
                                    : 1;
        }
        if (scale == 0 || !pin && ignored.contains(directory)) {
            return;
        }
        current.set(watch, pin ? watch.directory() : directory, file, kinds, scale);
        listener.access(current);
    }

    private void byDescriptor(Queue queue, AccessListener listener, long now) {
        long mask = events.mask();
        if ((mask & Fanotify.Q_OVERFLOW) != 0) {
            lost(listener);
            return;
        }
        int kinds = kinds(mask);
        if (!foreign() || kinds == 0 || !events.hasDescriptor() || !events.identify()) {
            return;
        }
        Watch pin = queue.only();
        if (pin != null) {
            long file =
                    Identity.numbers(
                            pin.directory(), Identity.numbers(events.device(), events.inode()));
            double scale = sampling ? sampler.count(pin, file, kinds) : 1;
            if (scale == 0) {
                return;
            }
            current.set(pin, pin.directory(), file, kinds, scale);
            listener.access(current);
            return;
        }
        int slot = known.slot(events.device(), events.inode());
        if (!known.knows(slot, events.device(), events.inode(), now) && !learn(slot, now)) {
            return;
        }
        if (!ignored.contains(known.directory(slot))) {
            current.set(null, known.directory(slot), known.file(slot), kinds, 1);
            listener.access(current);
        }
    }

    private boolean learn(int slot, long now) {
        try {
            FilePath path = events.path();
            long directory = Identity.text(events.device(), path.parent().raw());
            long file = Identity.text(directory, path.name().raw());
            known.put(slot, events.device(), events.inode(), now, directory, file);
            return true;
        } catch (LinuxException e) {
            return false;
        }
    }

    /** Counts, and is false for, what this process did itself. */
    private boolean foreign() {
        if (events.pid() == self) {
            own++;
            return false;
        }
        return true;
    }

    private void lost(AccessListener listener) {
        overflows++;
        listener.overflow();
    }

    private static int kinds(long mask) {
        int kinds = 0;
        if ((mask & Fanotify.MODIFY) != 0) {
            kinds |= Access.WRITE;
        }
        if ((mask & Fanotify.CLOSE_WRITE) != 0) {
            kinds |= Access.CLOSE_WRITE;
        }
        if ((mask & (Fanotify.CREATE | Fanotify.MOVED_TO)) != 0) {
            kinds |= Access.APPEAR;
        }
        if ((mask & (Fanotify.DELETE | Fanotify.MOVED_FROM)) != 0) {
            kinds |= Access.DISAPPEAR;
        }
        if ((mask & Fanotify.OPEN) != 0) {
            kinds |= Access.OPEN;
        }
        if ((mask & Fanotify.ACCESS) != 0) {
            kinds |= Access.READ;
        }
        if ((mask & Fanotify.ONDIR) != 0) {
            kinds |= Access.DIRECTORY;
        }
        return kinds;
    }

    @Override
    public EventSource.SourceStats stats() {
        return new EventSource.SourceStats(delivered, own, overflows, marks, silenced, mode);
    }

    @Override
    public void close() {
        poller.close();
        for (Queue queue : queues) {
            queue.group().close();
        }
        queues = List.of();
    }

    /** The window through which listeners see the event that is being handed over. */
    private final class Current implements AccessEvent {
        private Watch watch;
        private long directory;
        private long file;
        private int kinds;
        private double scale;

        void set(Watch watch, long directory, long file, int kinds, double scale) {
            this.watch = watch;
            this.directory = directory;
            this.file = file;
            this.kinds = kinds;
            this.scale = scale;
        }

        @Override
        public long directory() {
            return directory;
        }

        @Override
        public long file() {
            return file;
        }

        @Override
        public int kinds() {
            return kinds;
        }

        @Override
        public double scale() {
            return scale;
        }

        @Override
        public int process() {
            return events.pid();
        }

        @Override
        public Location locate() {
            if (watch != null
                    && watch.pin() != null
                    && watch.pin().target().kind() == Target.Kind.FILE) {
                return new PathLocation(watch.pin().target().path());
            }
            if (watch != null && watch.group().reportsHandles()) {
                return new HandleLocation(watch.place(), events.handle(), events.name());
            }
            try {
                return new PathLocation(events.path());
            } catch (LinuxException e) {
                return new PathLocation(FilePath.of(""));
            }
        }
    }

    /**
     * A watched directory, below whatever pin covers it.
     *
     * @param path of the directory, or of the mount under the pin
     */
    private record Root(FilePath path, long fileSystem, long device, long mount) {
        static Root of(FilePath root) throws IOException {
            FilePath path = root;
            while (true) {
                try (Fd fd = At.open(path, At.O_RDONLY | At.O_DIRECTORY | At.O_NONBLOCK)) {
                    long id = Stat.of(fd).mount();
                    MountInfo mount =
                            MountInfo.byId(id)
                                    .orElseThrow(
                                            () ->
                                                    new LinuxException(
                                                            "find the mount of",
                                                            root,
                                                            Errno.ENOENT));
                    if (mount.pin().isEmpty()) {
                        return new Root(path, StatFs.of(fd).id(), mount.device(), id);
                    }
                    int parent = mount.parent();
                    path =
                            MountInfo.byId(parent)
                                    .map(MountInfo::path)
                                    .orElseThrow(
                                            () ->
                                                    new LinuxException(
                                                            "find the mount below",
                                                            root,
                                                            Errno.ENOENT));
                }
            }
        }
    }
}
