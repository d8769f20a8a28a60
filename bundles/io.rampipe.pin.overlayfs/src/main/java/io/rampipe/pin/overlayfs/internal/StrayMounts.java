package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy.Stray;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.time.Clock;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;

/**
 * Mounts of pins without a record. Ours is what has our source and its upper layer where a pin of
 * this pool has it; others may call their mounts what they like.
 */
final class StrayMounts {
    private static final FilePath SELF = FilePath.of(".");

    private final FilePath pool;
    private final Set<String> recorded;
    private final Clock clock;

    StrayMounts(FilePath pool, Set<String> recorded, Clock clock) {
        this.pool = pool;
        this.recorded = recorded;
        this.clock = clock;
    }

    List<Stray> find() throws IOException {
        Map<String, List<MountInfo>> found = new TreeMap<>();
        for (MountInfo m : MountInfo.all()) {
            Overlay.idOf(m)
                    .filter(id -> !recorded.contains(id) && isOurs(m, id))
                    .ifPresent(id -> found.computeIfAbsent(id, x -> new ArrayList<>()).add(m));
        }
        List<Stray> strays = new ArrayList<>();
        for (Map.Entry<String, List<MountInfo>> e : found.entrySet()) {
            strays.add(stray(e.getKey(), e.getValue()));
        }
        return strays;
    }

    private boolean isOurs(MountInfo m, String id) {
        FilePath upper = pool.resolve(id).resolve(PoolDirectory.UPPER);
        return m.type().equals("overlay")
                && Arrays.asList(m.options().split(",")).contains("upperdir=" + upper.raw());
    }

    private Stray stray(String id, List<MountInfo> mounts) {
        FilePath hidden = pool.resolve(id).resolve(PoolDirectory.MERGED);
        Optional<MountInfo> over =
                mounts.stream().filter(m -> !m.path().equals(hidden)).findFirst();
        if (over.isEmpty()) {
            return new Stray(
                    id,
                    Optional.empty(),
                    "there is no record of the overlay at " + hidden + ", and no target below it");
        }
        String what = "there is no record of the pin that is mounted at " + over.get().path();
        try {
            return new Stray(id, Optional.of(record(id, over.get(), hidden)), what);
        } catch (IOException e) {
            return new Stray(id, Optional.empty(), what + ": " + e.getMessage());
        }
    }

    private Pin record(String id, MountInfo over, FilePath hidden) throws IOException {
        boolean single = !over.root().raw().equals("/");
        Target target = single ? Target.file(over.path()) : Target.directory(over.path());
        FilePath directory = single ? over.path().parent() : over.path();
        MountInfo parent =
                MountInfo.byId(over.parent())
                        .orElseThrow(() -> new IOException("the mount below it is hidden"));
        try (Fd top = At.openNoLinks(parent.path(), At.O_PATH | At.O_DIRECTORY)) {
            if (Stat.of(top).mount() != parent.id()) {
                throw new IOException("the mount below it is covered at " + parent.path());
            }
            try (Fd tree = Mounts.cloneTree(top);
                    Fd root = At.open(tree, SELF, At.O_RDONLY | At.O_DIRECTORY, 0);
                    Fd lower = lower(root, parent.path(), directory)) {
                Pin pin =
                        Records.preparing(id, target, pool.resolve(id), clock, lower)
                                .at(Pin.Step.PINNED)
                                .with(Pin.MOUNT, Integer.toString(over.id()));
                if (!over.options().contains("lowerdir=" + pool.resolve(id).raw() + "/")) {
                    pin = pin.without(Pin.MASK);
                }
                return single ? pin.with(Pin.HIDDEN, hidden.raw()) : pin;
            }
        } catch (LinuxException e) {
            throw new IOException("what is below it cannot be reached: " + e.getMessage(), e);
        }
    }

    private static Fd lower(Fd root, FilePath mountedAt, FilePath directory) throws LinuxException {
        FilePath below = directory.equals(mountedAt) ? SELF : mountedAt.relativize(directory);
        return At.openBeneathSameMount(root, below, At.O_RDONLY | At.O_DIRECTORY, 0);
    }
}
