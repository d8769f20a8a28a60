package io.rampipe.source.inotify.internal;

import io.rampipe.api.Access;
import io.rampipe.api.AccessListener;
import io.rampipe.api.EventSource;
import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Inotify;
import io.rampipe.linux.InotifyEvents;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MalformedEventException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Poller;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import org.osgi.service.log.Logger;

/**
 * The watches, one a directory, and the one queue that they fill. Trees are walked a slice at a
 * time, outermost directories first, between waiting and draining; what is found in a directory
 * that is new is told as having appeared, because what happened before it was watched is not known.
 *
 * <p>No descriptor is kept but inotify's own, so nothing is kept busy. A path is only ever used to
 * open a directory without following links; what is watched is what was opened, once it is found to
 * be the directory, or on the mount, that was meant.
 */
final class InotifySession implements EventSource.Session {
    private static final int BUFFER_BYTES = 128 * 1024;

    /** A queue holds 16,384 events; more in one go would starve the caller. */
    private static final int MOST_AT_ONCE = 2 * 16_384;

    private static final int MOST_ANNOUNCED = 4096;

    /** What was changed that long ago, in a directory that is new, was hardly changed there. */
    private static final long NEW_SECONDS = 10;

    private static final long SECOND = 1_000_000_000L;
    private static final long SLICE = 20_000_000L;
    private static final long FIRST_SLICE = 100_000_000L;
    private static final long RETRY = 2 * SECOND;
    private static final long RETURN = SECOND;

    /** Between two scans of everything: this, and that many times what the last one took. */
    private static final long RESCAN_PAUSE = 5 * SECOND;

    private static final int RESCAN_SHARE = 20;
    private static final long RESCAN_WHEN_LIMITED = 60 * SECOND;

    private static final int NAMES =
            Inotify.CREATE | Inotify.DELETE | Inotify.MOVED_FROM | Inotify.MOVED_TO;
    private static final int APPEARED = Inotify.CREATE | Inotify.MOVED_TO;

    /** Pins that other daemons of us left are recognised by their mount's source. */
    private static final String PIN_SOURCE = "rampipe:";

    /** What RamPipe itself keeps on a disk: inotify does not tell who wrote. */
    private static final FilePath OURS = FilePath.of(".rampipe");

    private static final byte[] OUR_NAME = OURS.bytes();

    private final LongSupplier clock;
    private final Logger log;
    private final int mask;
    private final int most;
    private final InotifyEvents events = new InotifyEvents(BUFFER_BYTES);
    private final Gathered gathered = new Gathered();
    private final Nodes nodes = new Nodes();
    private final Poller poller;
    private final Inotify inotify;

    private final List<Tree> disks = new ArrayList<>();

    /** By pin id. */
    private final Map<String, Tree> pins = new HashMap<>();

    /** Targets that were unpinned, until their mounts are gone. */
    private final Map<String, Returning> returning = new HashMap<>();

    /** Files on disk that pins cover: only RamPipe itself writes them. */
    private long[] muted = {};

    private final Deque<Todo> todo = new ArrayDeque<>();
    private final List<Found> announced = new ArrayList<>();

    private boolean anyIgnored;
    private int generation;
    private boolean sweeping;
    private long scanStarted;
    private long scanTook;
    private boolean rescanWanted;
    private long rescanAt;
    private long retryAt;
    private String limit;

    // One thread writes, any may read.
    private volatile long delivered;
    private volatile long overflows;
    private volatile int watches;
    private volatile int unwatched;

    /** A directory to look into; whether what is in it has just appeared. */
    private record Todo(Node node, boolean fresh) {}

    /** Something that was there already when its directory was first looked at. */
    private record Found(Node in, FilePath name, int kinds) {}

    /**
     * A mount that is about to go.
     *
     * @param mount its id, as long as it is there
     */
    private record Returning(Pin pin, long mount) {}

    /**
     * @param most directories to watch
     * @param clock nanoseconds, monotonic
     */
    InotifySession(boolean opens, boolean reads, int most, LongSupplier clock, Logger log)
            throws LinuxException {
        this.clock = clock;
        this.log = log;
        this.most = most;
        this.mask =
                Inotify.MODIFY
                        | Inotify.CLOSE_WRITE
                        | (opens ? Inotify.OPEN : 0)
                        | (reads ? Inotify.ACCESS : 0)
                        | NAMES
                        | Inotify.MOVE_SELF
                        | Inotify.EXCL_UNLINK;
        poller = new Poller();
        try {
            inotify = Inotify.open();
        } catch (LinuxException e) {
            poller.close();
            throw e;
        }
        poller.watch(List.of(inotify.fd()));
        retryAt = clock.getAsLong() + RETRY;
    }

    // ---- what is watched

    @Override
    public void watch(Collection<FilePath> roots) throws IOException {
        List<IOException> failures = new ArrayList<>();
        List<Tree> wanted = new ArrayList<>();
        for (FilePath root : roots) {
            FilePath path = root;
            try (Fd fd = At.open(root, At.O_PATH | At.O_DIRECTORY)) {
                path = fd.currentPath();
            } catch (LinuxException e) {
                failures.add(new IOException("cannot watch " + root + ": " + e.getMessage(), e));
            }
            FilePath real = path;
            if (wanted.stream().noneMatch(t -> t.path().equals(real))) {
                wanted.add(
                        disks.stream()
                                .filter(t -> t.path().equals(real))
                                .findFirst()
                                .orElseGet(() -> Tree.disk(real)));
            }
        }
        List<Tree> unwanted = disks.stream().filter(t -> !wanted.contains(t)).toList();
        unwanted.forEach(this::drop);
        disks.clear();
        disks.addAll(wanted);
        for (Tree tree : wanted) {
            try {
                attach(tree, false);
            } catch (IOException e) {
                if (failures.stream().noneMatch(f -> f.getMessage().contains(e.getMessage()))) {
                    failures.add(
                            new IOException(
                                    "cannot watch " + tree.path() + ": " + e.getMessage(), e));
                }
            }
        }
        if (!unwanted.isEmpty()) {
            // They may have held directories that are in others too.
            wantRescan(clock.getAsLong());
        }
        scan(clock.getAsLong() + FIRST_SLICE);
        if (!failures.isEmpty()) {
            IOException first = failures.get(0);
            failures.stream().skip(1).forEach(first::addSuppressed);
            throw first;
        }
    }

    /** Watches a tree's top, unless a pin covers it. Its directories are found later. */
    private void attach(Tree tree, boolean fresh) throws IOException {
        if (tree.top() != null) {
            return;
        }
        try (Fd fd = At.openNoLinks(tree.path(), At.O_PATH)) {
            Stat stat = Stat.of(fd);
            if (tree.pin() == null
                    && (!stat.isDirectory()
                            || MountInfo.byId(stat.mount())
                                    .filter(m -> m.source().raw().startsWith(PIN_SOURCE))
                                    .isPresent())) {
                return;
            }
            int watch = inotify.add(fd, mask);
            Node top = nodes.get(watch);
            if (top != null && top.tree() != tree && tree.pin() == null) {
                // Another root has this one in it.
                tree.attach(top, stat.mount());
                return;
            }
            top = new Node(watch, Identity.of(stat), tree, null, tree.path());
            top.generation = generation;
            nodes.put(top);
            tree.attach(top, stat.mount());
            if (stat.isDirectory()) {
                todo.add(new Todo(top, fresh));
            }
        } catch (LinuxException e) {
            if (e.is(Errno.ENOSPC)) {
                limited(tree.path(), kernelLimit());
            }
            throw e;
        } finally {
            watches = nodes.size();
        }
    }

    @Override
    public void pinned(Pin pin, long directory) throws IOException {
        forget(pin);
        returning.remove(pin.id());
        FilePath target = pin.target().path();
        FilePath path = pin.attributes().containsKey(Pin.HIDDEN) ? pin.path(Pin.HIDDEN) : target;
        Tree tree = Tree.pin(path, pin, directory);
        try {
            attach(tree, false);
        } catch (IOException e) {
            throw new IOException("cannot watch the pin of " + target + ": " + e.getMessage(), e);
        }
        tree.covers(mount(pin));
        pins.put(pin.id(), tree);
        if (pin.target().kind() == Target.Kind.DIRECTORY) {
            // On disk, only RamPipe itself works there from now on.
            for (Node below : at(target)) {
                drop(below);
            }
        }
        mute();
        scan(clock.getAsLong() + FIRST_SLICE);
    }

    @Override
    public void unpinned(Pin pin) {
        Tree tree = forget(pin);
        if (tree != null) {
            returning.put(pin.id(), new Returning(pin, tree.targetMount()));
            retryAt = Math.min(retryAt, clock.getAsLong() + RETURN);
        }
    }

    private Tree forget(Pin pin) {
        Tree tree = pins.remove(pin.id());
        if (tree != null) {
            drop(tree);
        }
        return tree;
    }

    /** Id of the mount that the target is on; 0 if it is gone. */
    private static long mount(Pin pin) {
        try {
            return Stat.at(Fd.CWD, pin.target().path()).mount();
        } catch (LinuxException e) {
            return 0;
        }
    }

    /** Nodes on disks with that path. */
    private List<Node> at(FilePath path) {
        FilePath name = path.name();
        return nodes.all(
                n ->
                        n.tree().pin() == null
                                && n.name().name().equals(name)
                                && n.path().equals(path));
    }

    private void mute() {
        List<Target> files = new ArrayList<>();
        pins.values().stream().filter(Tree::ofFile).forEach(t -> files.add(t.pin().target()));
        returning.values().stream()
                .map(r -> r.pin().target())
                .filter(t -> t.kind() == Target.Kind.FILE)
                .forEach(files::add);
        muted =
                files.stream()
                        .flatMap(
                                t ->
                                        at(t.path().parent()).stream()
                                                .map(n -> file(n, t.path().name())))
                        .mapToLong(Long::longValue)
                        .toArray();
    }

    private static long file(Node in, FilePath name) {
        byte[] bytes = name.bytes();
        return Identity.file(in.base(), buffer(bytes), 0, bytes.length);
    }

    private static ByteBuffer buffer(byte[] bytes) {
        return ByteBuffer.wrap(bytes).order(ByteOrder.nativeOrder());
    }

    private void drop(Tree tree) {
        nodes.all(n -> n.tree() == tree).forEach(this::remove);
        tree.detach();
    }

    /** A directory and all below it. */
    private void drop(Node top) {
        nodes.all(n -> n.isBelow(top)).forEach(this::remove);
    }

    private void remove(Node node) {
        inotify.remove(node.watch());
        gone(node);
    }

    private void gone(Node node) {
        nodes.remove(node.watch());
        watches = nodes.size();
        for (Tree tree : disks) {
            if (tree.top() == node) {
                tree.detach();
                retryAt = Math.min(retryAt, clock.getAsLong() + RETRY);
            }
        }
        if (unwatched > 0 && !rescanWanted) {
            rescanWanted = true;
            rescanAt = clock.getAsLong() + RESCAN_WHEN_LIMITED;
        }
    }

    @Override
    public void ignore(long directory) {
        nodes.all(n -> n.identity() == directory).forEach(n -> n.ignored = true);
        anyIgnored = true;
    }

    // ---- finding directories

    private void wantRescan(long at) {
        if (!rescanWanted || at - rescanAt < 0) {
            rescanWanted = true;
            rescanAt = at;
        }
    }

    /** Does what is due; until that time at most, if it is to do with finding directories. */
    private void scan(long end) {
        long now = clock.getAsLong();
        if (retryAt - now <= 0) {
            retry(now);
        }
        if (rescanWanted && !sweeping && todo.isEmpty() && rescanAt - now <= 0) {
            rescan(now);
        }
        while (!todo.isEmpty() && clock.getAsLong() - end < 0) {
            Todo next = todo.poll();
            look(next.node(), next.fresh());
        }
        if (sweeping && todo.isEmpty()) {
            sweeping = false;
            scanTook = clock.getAsLong() - scanStarted;
            // Whatever was not come across is not where it was; if it is elsewhere, it was missed.
            nodes.all(n -> n.generation != generation).forEach(this::remove);
            mute();
            if (unwatched == 0) {
                limit = null;
            }
        }
        watches = nodes.size();
    }

    private void rescan(long now) {
        rescanWanted = false;
        sweeping = true;
        scanStarted = now;
        generation++;
        unwatched = 0;
        List<Tree> all = new ArrayList<>(disks);
        all.addAll(pins.values());
        for (Tree tree : all) {
            Node top = tree.top();
            if (top != null) {
                top.generation = generation;
                if (!tree.ofFile() || tree.pin().attributes().containsKey(Pin.HIDDEN)) {
                    todo.add(new Todo(top, false));
                }
            }
        }
    }

    private void retry(long now) {
        boolean more = false;
        for (Tree tree : disks) {
            if (tree.top() == null) {
                try {
                    attach(tree, true);
                } catch (IOException e) {
                    log.debug("still not watched: {}", e.getMessage());
                }
                more |= tree.top() == null;
            }
        }
        boolean back = returning.values().removeIf(this::returned);
        if (back) {
            mute();
        }
        retryAt = now + (!returning.isEmpty() ? RETURN : more ? RETRY : Long.MAX_VALUE / 4);
    }

    /** Watches what is on disk again, once the pin's mount is gone. */
    private boolean returned(Returning r) {
        if (r.mount() != 0 && mount(r.pin()) == r.mount()) {
            return false;
        }
        FilePath path = r.pin().target().path();
        if (r.pin().target().kind() == Target.Kind.DIRECTORY) {
            at(path.parent()).forEach(parent -> appeared(parent, path.name(), false));
        }
        return true;
    }

    /** Looks for directories in a directory. */
    private void look(Node node, boolean fresh) {
        if (nodes.get(node.watch()) != node) {
            return;
        }
        try (Fd dir = openAsKnown(node)) {
            if (dir == null) {
                return;
            }
            for (FilePath name : fresh ? At.list(dir) : At.listDirectories(dir)) {
                child(node, dir, name, fresh);
            }
        } catch (LinuxException e) {
            unreadable(node.path(), e);
        }
    }

    /** Opens a directory where it was last; null if something else is there now. */
    private static Fd openAsKnown(Node node) throws LinuxException {
        Fd dir = At.openNoLinks(node.path(), At.O_PATH | At.O_DIRECTORY);
        boolean same = false;
        try {
            Stat stat = Stat.of(dir);
            Tree tree = node.tree();
            same =
                    stat.mount() == tree.mount()
                            && (tree.pin() != null || Identity.of(stat) == node.identity());
        } finally {
            if (!same) {
                dir.close();
            }
        }
        return same ? dir : null;
    }

    /** A name in a known directory has come to be a directory. */
    private void appeared(Node parent, FilePath name, boolean fresh) {
        try (Fd dir = openAsKnown(parent)) {
            if (dir != null) {
                child(parent, dir, name, fresh);
            }
        } catch (LinuxException e) {
            unreadable(parent.path().resolve(name), e);
        }
    }

    private void child(Node parent, Fd dir, FilePath name, boolean fresh) {
        if (name.equals(OURS)) {
            return;
        }
        try (Fd fd = At.openBeneathSameMount(dir, name, At.O_PATH | At.O_NOFOLLOW, 0)) {
            Stat stat = Stat.of(fd);
            if (stat.isDirectory()) {
                directory(parent, name, fd, stat, fresh);
            } else if (fresh && stat.isRegular() && isNew(stat)) {
                announce(parent, name, Access.APPEAR | (stat.size() > 0 ? Access.WRITE : 0));
            }
        } catch (LinuxException e) {
            unreadable(parent.path().resolve(name), e);
        }
    }

    private static boolean isNew(Stat stat) {
        return System.currentTimeMillis() / 1000 - stat.changeSeconds() <= NEW_SECONDS;
    }

    private void directory(Node parent, FilePath name, Fd fd, Stat stat, boolean fresh)
            throws LinuxException {
        int watch;
        try {
            watch = inotify.add(fd, mask);
        } catch (LinuxException e) {
            if (!e.is(Errno.ENOSPC)) {
                throw e;
            }
            limited(parent.path().resolve(name), kernelLimit());
            return;
        }
        Node node = nodes.get(watch);
        if (node == null) {
            if (nodes.size() >= most) {
                inotify.remove(watch);
                limited(
                        parent.path().resolve(name),
                        "the limit inotify.max_watches = " + most + " is reached");
                return;
            }
            node = new Node(watch, Identity.of(stat), parent.tree(), parent, name);
            nodes.put(node);
            todo.add(new Todo(node, fresh));
            if (fresh) {
                announce(parent, name, Access.APPEAR | Access.DIRECTORY);
            }
        } else if (node.tree().top() != node) {
            node.place(parent.tree(), parent, name);
            if (node.generation != generation) {
                todo.add(new Todo(node, false));
            }
        }
        node.generation = generation;
    }

    private void announce(Node in, FilePath name, int kinds) {
        if (announced.size() < MOST_ANNOUNCED) {
            announced.add(new Found(in, name, kinds));
        }
    }

    /** Said once for each cause, and counted. */
    private void limited(FilePath path, String which) {
        unwatched++;
        if (!which.equals(limit)) {
            limit = which;
            log.warn(
                    "{}: {} is not watched, nor are others that come after it. Raise it, or name"
                            + " fewer directories in watch.directories; fanotify, as root, has no"
                            + " such limit",
                    which,
                    path);
        }
    }

    private static String kernelLimit() {
        return "the kernel's limit of inotify watches (sysctl fs.inotify.max_user_watches) is"
                + " reached";
    }

    private void unreadable(FilePath path, LinuxException e) {
        // Gone meanwhile, or a link, or another file system's: as it should be.
        if (!e.is(Errno.ENOENT, Errno.ENOTDIR, Errno.ELOOP, Errno.EXDEV)) {
            unwatched++;
            log.debug("{} is not watched: {}", path, e.getMessage());
        }
    }

    // ---- waiting

    @Override
    public boolean await(long nanos) throws IOException {
        long start = clock.getAsLong();
        while (true) {
            scan(clock.getAsLong() + SLICE);
            if (!announced.isEmpty()) {
                return true;
            }
            long now = clock.getAsLong();
            long left = nanos < 0 ? Long.MAX_VALUE : Math.max(0, nanos - (now - start));
            long time = Math.min(left, due(now));
            Poller.Outcome outcome = poller.await(time == Long.MAX_VALUE ? -1 : time);
            if (outcome == Poller.Outcome.READY) {
                return true;
            }
            if (outcome == Poller.Outcome.WOKEN || left == 0) {
                return poller.await(0) == Poller.Outcome.READY;
            }
        }
    }

    /** Until there is something to do but to wait. */
    private long due(long now) {
        if (!todo.isEmpty()) {
            return 0;
        }
        long due = Long.MAX_VALUE;
        if (rescanWanted) {
            due = Math.max(0, rescanAt - now);
        }
        if (!returning.isEmpty() || disks.stream().anyMatch(t -> t.top() == null)) {
            due = Math.min(due, Math.max(0, retryAt - now));
        }
        return due;
    }

    @Override
    public void wake() {
        poller.wake();
    }

    // ---- events

    @Override
    public int drain(AccessListener listener) throws IOException {
        int count = 0;
        while (count < MOST_AT_ONCE && inotify.read(events)) {
            try {
                while (events.next()) {
                    count++;
                    event(listener);
                }
            } catch (MalformedEventException e) {
                log.error("events were lost: {}", e.getMessage());
                lost(listener);
            }
            if (!events.full()) {
                break;
            }
        }
        delivered += count;
        scan(clock.getAsLong() + SLICE);
        for (Found found : announced) {
            if (gathered.isFull()) {
                gathered.flush(listener);
            }
            byte[] name = found.name().bytes();
            gathered.add(
                    Identity.file(found.in().base(), buffer(name), 0, name.length),
                    found.in(),
                    found.kinds(),
                    buffer(name),
                    0,
                    name.length);
        }
        count += announced.size();
        announced.clear();
        gathered.flush(listener);
        return count;
    }

    private void event(AccessListener listener) {
        int what = events.mask();
        if ((what & Inotify.Q_OVERFLOW) != 0) {
            lost(listener);
            return;
        }
        Node node = nodes.get(events.watch());
        if (node == null) {
            return;
        }
        if ((what & Inotify.IGNORED) != 0) {
            gone(node);
            return;
        }
        if ((what & Inotify.MOVE_SELF) != 0) {
            moved(node);
            return;
        }
        boolean file = node.tree().top() == node && node.tree().ofFile();
        if (events.nameLength() == 0 && !file || ours()) {
            return;
        }
        int kinds = kinds(what);
        if ((what & Inotify.ISDIR) != 0) {
            if ((what & NAMES) == 0) {
                return;
            }
            kinds |= Access.DIRECTORY;
            if ((what & APPEARED) != 0) {
                // What is moved here brings no accesses along.
                appeared(node, name(), (what & Inotify.CREATE) != 0);
            }
        }
        long id =
                events.nameLength() == 0
                        ? node.base()
                        : Identity.file(
                                node.base(),
                                events.memory(),
                                events.nameOffset(),
                                events.nameLength());
        for (long each : muted) {
            if (each == id) {
                return;
            }
        }
        if (gathered.isFull()) {
            gathered.flush(listener);
        }
        gathered.add(id, node, kinds, events.memory(), events.nameOffset(), events.nameLength());
    }

    private FilePath name() {
        byte[] bytes = new byte[events.nameLength()];
        events.memory().get(events.nameOffset(), bytes);
        return FilePath.ofBytes(bytes);
    }

    private boolean ours() {
        if (events.nameLength() != OUR_NAME.length) {
            return false;
        }
        for (int i = 0; i < OUR_NAME.length; i++) {
            if (events.memory().get(events.nameOffset() + i) != OUR_NAME[i]) {
                return false;
            }
        }
        return true;
    }

    /**
     * A watched directory was moved. If it is still watched, its new name was told just before, and
     * it has its new place; if not, neither it nor what is below it is any of our business.
     */
    private void moved(Node node) {
        if (anyIgnored) {
            nodes.all(n -> n.ignored).forEach(n -> n.ignored = false);
            anyIgnored = false;
        }
        boolean here = false;
        try (Fd dir = openAsKnown(node)) {
            here = dir != null;
        } catch (LinuxException e) {
            log.debug("{} was moved away: {}", node.path(), e.getMessage());
        }
        if (!here) {
            drop(node);
        } else if (muted.length > 0) {
            mute();
        }
    }

    private void lost(AccessListener listener) {
        overflows++;
        listener.overflow();
        long pause = Math.max(RESCAN_PAUSE, RESCAN_SHARE * scanTook);
        wantRescan(scanStarted == 0 ? clock.getAsLong() : scanStarted + scanTook + pause);
    }

    private static int kinds(int what) {
        int kinds = 0;
        if ((what & Inotify.MODIFY) != 0) {
            kinds |= Access.WRITE;
        }
        if ((what & Inotify.CLOSE_WRITE) != 0) {
            kinds |= Access.CLOSE_WRITE;
        }
        if ((what & APPEARED) != 0) {
            kinds |= Access.APPEAR;
        }
        if ((what & (Inotify.DELETE | Inotify.MOVED_FROM)) != 0) {
            kinds |= Access.DISAPPEAR;
        }
        if ((what & Inotify.OPEN) != 0) {
            kinds |= Access.OPEN;
        }
        if ((what & Inotify.ACCESS) != 0) {
            kinds |= Access.READ;
        }
        return kinds;
    }

    @Override
    public EventSource.SourceStats stats() {
        int not = unwatched;
        return new EventSource.SourceStats(
                delivered,
                0,
                overflows,
                watches,
                0,
                "directory by directory"
                        + (not == 0 ? "" : "; at least " + not + " directories not watched"));
    }

    @Override
    public void close() {
        poller.close();
        inotify.close();
    }
}
