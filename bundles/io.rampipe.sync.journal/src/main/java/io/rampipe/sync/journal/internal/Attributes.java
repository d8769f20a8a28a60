package io.rampipe.sync.journal.internal;

import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Stat;
import io.rampipe.linux.Xattrs;
import java.io.IOException;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;

/**
 * What a file has beside its data.
 *
 * @param permissions mode bits without the type
 * @param keepsUser the file system they were read from has no {@code user.} attributes, so that
 *     their absence means nothing
 * @param xattrs all that are synced, ACLs and capabilities included
 */
record Attributes(
        int uid,
        int gid,
        int permissions,
        long accessSeconds,
        int accessNanos,
        long modifySeconds,
        int modifyNanos,
        boolean keepsUser,
        TreeMap<String, byte[]> xattrs) {

    /**
     * Of an open file, O_PATH will do.
     *
     * @param stat of that file
     */
    static Attributes of(Fd fd, Stat stat) throws IOException {
        boolean keepsUser =
                (stat.isRegular() || stat.isDirectory()) && !Xattrs.supported(fd, "user.rampipe");
        TreeMap<String, byte[]> xattrs = new TreeMap<>();
        for (String name : Xattrs.list(fd)) {
            if (synced(name)) {
                Xattrs.get(fd, name).ifPresent(value -> xattrs.put(name, value));
            }
        }
        return new Attributes(
                stat.uid(),
                stat.gid(),
                stat.permissions(),
                stat.accessSeconds(),
                stat.accessNanos(),
                stat.modifySeconds(),
                stat.modifyNanos(),
                keepsUser,
                xattrs);
    }

    /**
     * Not: what belongs to overlayfs; what the kernel computes (IMA, EVM); the copies of ACLs that
     * XFS shows beside the ACLs.
     */
    static boolean synced(String name) {
        return name.startsWith("user.")
                || name.startsWith("trusted.")
                        && !name.startsWith("trusted.overlay.")
                        && !name.startsWith("trusted.SGI_ACL_")
                || name.startsWith("security.")
                        && !name.equals("security.ima")
                        && !name.equals("security.evm")
                || name.equals("system.posix_acl_access")
                || name.equals("system.posix_acl_default");
    }

    /** The same with another modify time. */
    Attributes modified(long seconds, int nanos) {
        return new Attributes(
                uid,
                gid,
                permissions,
                accessSeconds,
                accessNanos,
                seconds,
                nanos,
                keepsUser,
                xattrs);
    }

    /** Whether a file with those attributes has these already; the access time does not count. */
    boolean sameAs(Attributes other, boolean symlink) {
        return uid == other.uid
                && gid == other.gid
                && (symlink || permissions == other.permissions)
                && modifySeconds == other.modifySeconds
                && modifyNanos == other.modifyNanos
                && sameXattrs(other);
    }

    private boolean sameXattrs(Attributes other) {
        for (Map.Entry<String, byte[]> e : xattrs.entrySet()) {
            if (!Arrays.equals(e.getValue(), other.xattrs.get(e.getKey()))) {
                return false;
            }
        }
        for (String name : other.xattrs.keySet()) {
            if (!xattrs.containsKey(name) && !kept(name)) {
                return false;
            }
        }
        return true;
    }

    private boolean kept(String name) {
        return keepsUser && name.startsWith("user.");
    }

    /**
     * Gives them to an open file, O_PATH will do. Idempotent.
     *
     * <p>In this order: changing the owner clears set-user-id bits and capabilities; an ACL changes
     * the mode's group bits; times come last.
     */
    void give(Fd fd, Steps steps) throws IOException {
        Stat stat = Stat.of(fd);
        if (stat.uid() != uid || stat.gid() != gid) {
            steps.before("chown");
            At.chown(fd, uid, gid);
        }
        Attributes now = of(fd, stat);
        for (String name : now.xattrs.keySet()) {
            if (!xattrs.containsKey(name) && !kept(name)) {
                steps.before("removexattr");
                Xattrs.remove(fd, name);
            }
        }
        for (Map.Entry<String, byte[]> e : xattrs.entrySet()) {
            if (!Arrays.equals(e.getValue(), now.xattrs.get(e.getKey()))) {
                steps.before("setxattr");
                Xattrs.set(fd, e.getKey(), e.getValue());
            }
        }
        if (!stat.isSymlink() && Stat.of(fd).permissions() != permissions) {
            steps.before("chmod");
            At.chmod(fd, permissions);
        }
        steps.before("utimens");
        At.setTimes(fd, times());
    }

    private Stat times() {
        return new Stat(
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                0,
                accessSeconds,
                accessNanos,
                modifySeconds,
                modifyNanos,
                0,
                0,
                0,
                0,
                0);
    }
}
