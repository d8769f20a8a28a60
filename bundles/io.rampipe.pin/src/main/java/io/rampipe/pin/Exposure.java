package io.rampipe.pin;

import io.rampipe.api.FilePath;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.MountNamespace;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Through which mounts, in which mount namespaces, a target can be reached. A mount over the target
 * covers it in one mount; the kernel repeats it in those that receive its propagation ({@code
 * mount_namespaces(7)}, shared subtrees). Whoever comes through any other would bypass the pin.
 */
public final class Exposure {
    private final List<MountNamespace> namespaces;

    private Exposure(List<MountNamespace> namespaces) {
        this.namespaces = namespaces;
    }

    /** As it is now. */
    public static Exposure now() throws IOException {
        return new Exposure(MountNamespace.all());
    }

    /**
     * Refuses a target that has mounts in it, or that a mount over it would not cover everywhere.
     */
    public void check(Place place) throws IOException {
        FilePath target = place.target().path();
        FilePath inside = place.inFileSystem();
        Set<Integer> groups = receivers(place.mount());
        for (MountNamespace space : namespaces) {
            Map<Integer, MountInfo> byId = byId(space);
            for (MountInfo m : space.mounts()) {
                Optional<FilePath> point = pointOn(place.mount().device(), m, byId);
                if (point.isPresent() && inside.contains(point.get())) {
                    throw new RefusedException(
                            Cause.MOUNT_POINT,
                            target
                                    + " contains a mount point: "
                                    + m.path()
                                    + " ("
                                    + m.type()
                                    + ")"
                                    + where(space));
                }
                if (m.device() != place.mount().device()
                        || space.own() && m.id() == place.mount().id()) {
                    continue;
                }
                boolean part = inside.contains(m.root()) && !inside.equals(m.root());
                if (part || m.root().contains(inside) && !receives(m, groups)) {
                    throw new RefusedException(
                            Cause.MOUNT_POINT,
                            target
                                    + " can be reached past a mount over it: through "
                                    + m.path()
                                    + where(space));
                }
            }
        }
    }

    /** What could still be reached past a mount that is there now; empty if nothing. */
    public Optional<String> uncovered(Place place, String source) {
        FilePath inside = place.inFileSystem();
        for (MountNamespace space : namespaces) {
            Set<Integer> covered = new HashSet<>();
            for (MountInfo m : space.mounts()) {
                if (m.source().raw().equals(source)) {
                    covered.add(m.parent());
                }
            }
            for (MountInfo m : space.mounts()) {
                if (m.device() == place.mount().device()
                        && m.root().contains(inside)
                        && !covered.contains(m.id())) {
                    return Optional.of("through " + m.path() + where(space));
                }
            }
        }
        return Optional.empty();
    }

    /**
     * Copies of a mount that stay when it is unmounted: bound elsewhere, or in a namespace made
     * since that receives no propagation.
     */
    public List<String> staying(MountInfo mount, Optional<FilePath> hidden) {
        List<MountInfo> own = namespaces.get(0).mounts();
        MountInfo parent =
                own.stream().filter(m -> m.id() == mount.parent()).findFirst().orElse(mount);
        Set<Integer> groups = receivers(parent);
        List<String> staying = new ArrayList<>();
        for (MountNamespace space : namespaces) {
            Map<Integer, MountInfo> byId = byId(space);
            for (MountInfo m : space.mounts()) {
                if (!m.source().equals(mount.source())
                        || space.own() && m.id() == mount.id()
                        || hidden.isPresent() && m.path().equals(hidden.get())) {
                    continue;
                }
                MountInfo below = byId.get(m.parent());
                if (below == null || !receives(below, groups)) {
                    staying.add(m.path() + where(space));
                }
            }
        }
        return staying;
    }

    /** Ids of all mounts with that source, in all namespaces. */
    public Set<Long> ids(FilePath source) {
        Set<Long> ids = new HashSet<>();
        for (MountNamespace space : namespaces) {
            for (MountInfo m : space.mounts()) {
                if (m.source().equals(source)) {
                    ids.add((long) m.id());
                }
            }
        }
        return ids;
    }

    /** Peer groups in which a mount made on this one appears, slaves of slaves included. */
    private Set<Integer> receivers(MountInfo mount) {
        Set<Integer> groups = new HashSet<>();
        if (mount.shared() == 0) {
            return groups;
        }
        groups.add(mount.shared());
        boolean more = true;
        while (more) {
            more = false;
            for (MountNamespace space : namespaces) {
                for (MountInfo m : space.mounts()) {
                    more |=
                            m.shared() != 0
                                    && groups.contains(m.master())
                                    && groups.add(m.shared());
                }
            }
        }
        return groups;
    }

    private static boolean receives(MountInfo m, Set<Integer> groups) {
        return groups.contains(m.shared()) || groups.contains(m.master());
    }

    /** Where a mount stands in the file system with that device; empty if it stands on another. */
    private static Optional<FilePath> pointOn(
            long device, MountInfo m, Map<Integer, MountInfo> byId) {
        MountInfo below = byId.get(m.parent());
        if (below == null
                || below == m
                || below.device() != device
                || !below.path().contains(m.path())) {
            return Optional.empty();
        }
        return Optional.of(Place.below(below.root(), below.path().relativize(m.path())));
    }

    private static Map<Integer, MountInfo> byId(MountNamespace space) {
        Map<Integer, MountInfo> byId = new HashMap<>();
        for (MountInfo m : space.mounts()) {
            byId.put(m.id(), m);
        }
        return byId;
    }

    private static String where(MountNamespace space) {
        return space.own() ? "" : " in the mount namespace of process " + space.pid();
    }
}
