package io.rampipe.testkit.tree;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.Stat;
import io.rampipe.linux.Xattrs;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Everything that a user can tell about a tree, but for inode numbers, change and access times.
 *
 * @param entries by path below the root, which itself is the empty path
 */
public record Snapshot(TreeMap<FilePath, Entry> entries) {
    /**
     * One name.
     *
     * @param what all that must be equal, for people
     * @param data bytes that are not holes, as far as the file system tells
     * @param extraLinks links that the file system tells of beyond the names found
     */
    public record Entry(String what, long data, int extraLinks) {}

    private static final FilePath ROOT = FilePath.of("");

    /** Of an open directory. */
    public static Snapshot of(Fd root) throws IOException {
        Snapshot s = new Snapshot(new TreeMap<>());
        Map<String, List<FilePath>> groups = new HashMap<>();
        s.take(root, ROOT, groups);
        for (List<FilePath> names : groups.values()) {
            for (FilePath name : names) {
                Entry e = s.entries.get(name);
                String with = names.size() == 1 ? "" : " linked with " + names;
                s.entries.put(
                        name, new Entry(e.what() + with, e.data(), e.extraLinks() - names.size()));
            }
        }
        return s;
    }

    private void take(Fd dir, FilePath path, Map<String, List<FilePath>> groups)
            throws IOException {
        entries.put(path, entry(dir, Stat.of(dir), path, groups));
        List<FilePath> names = At.list(dir);
        names.sort(null);
        for (FilePath name : names) {
            Stat s = Stat.at(dir, name);
            if (s.isDirectory()) {
                try (Fd sub = At.openDirectory(dir, name)) {
                    take(sub, path.resolve(name), groups);
                }
            } else {
                int flags = s.isRegular() ? At.O_RDONLY : At.O_PATH;
                try (Fd fd = At.open(dir, name, flags | At.O_NOFOLLOW, 0)) {
                    entries.put(path.resolve(name), entry(fd, s, path.resolve(name), groups));
                }
            }
        }
    }

    private static Entry entry(Fd fd, Stat s, FilePath path, Map<String, List<FilePath>> groups)
            throws IOException {
        StringBuilder what = new StringBuilder();
        what.append(Integer.toOctalString(s.mode()))
                .append(" owner ")
                .append(s.uid())
                .append(':')
                .append(s.gid())
                .append(" modified ")
                .append(s.modifySeconds())
                .append('.')
                .append(String.format("%09d", s.modifyNanos()));
        long data = 0;
        if (s.isRegular()) {
            what.append(" size ").append(s.size()).append(" sha256 ").append(hash(fd, s.size()));
            data = data(fd, s.size());
        } else if (s.isSymlink()) {
            what.append(" to ").append(At.readLink(fd));
        } else if (s.type() == Stat.CHARACTER || s.type() == Stat.BLOCK) {
            what.append(" device ").append(Stat.deviceText(s.deviceNumber()));
        }
        if (!s.isDirectory()) {
            groups.computeIfAbsent(s.device() + ":" + s.inode(), k -> new ArrayList<>(1)).add(path);
        }
        TreeMap<String, String> xattrs = new TreeMap<>();
        for (String name : Xattrs.list(fd)) {
            xattrs.put(name, HexFormat.of().formatHex(Xattrs.get(fd, name).orElseThrow()));
        }
        return new Entry(
                what.append(' ').append(xattrs).toString(), data, s.isDirectory() ? 0 : s.links());
    }

    private static String hash(Fd fd, long size) throws IOException {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            ByteBuffer buffer = ByteBuffer.allocateDirect(64 * 1024);
            for (long at = 0; at < size; ) {
                buffer.clear();
                int n = Io.readFully(fd, buffer, at);
                if (n == 0) {
                    throw new IOException(fd + " is shorter than its size");
                }
                buffer.flip();
                digest.update(buffer);
                at += n;
            }
            return HexFormat.of().formatHex(digest.digest(), 0, 8);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    private static long data(Fd fd, long size) throws IOException {
        long sum = 0;
        for (long at = 0; at < size; ) {
            long from = Io.nextData(fd, at);
            if (from < 0) {
                break;
            }
            long to = Math.min(Io.nextHole(fd, from), size);
            sum += to - from;
            at = to;
        }
        return sum;
    }

    /** What is different in another tree, for people; empty if nothing is. */
    public List<String> differences(Snapshot other) {
        List<String> differences = new ArrayList<>();
        for (Map.Entry<FilePath, Entry> e : entries.entrySet()) {
            Entry there = other.entries.get(e.getKey());
            if (there == null) {
                differences.add(e.getKey() + " is missing: " + e.getValue().what());
            } else if (!there.what().equals(e.getValue().what())) {
                differences.add(
                        e.getKey()
                                + " is\n    "
                                + there.what()
                                + ", not\n    "
                                + e.getValue().what());
            }
        }
        for (Map.Entry<FilePath, Entry> e : other.entries.entrySet()) {
            if (!entries.containsKey(e.getKey())) {
                differences.add(e.getKey() + " is too much: " + e.getValue().what());
            }
        }
        return differences;
    }

    /** Names of files that have more links, or fewer, than names in the tree. */
    public List<FilePath> oddlyLinked() {
        return entries.entrySet().stream()
                .filter(e -> e.getValue().extraLinks() != 0)
                .map(Map.Entry::getKey)
                .toList();
    }

    /** Bytes in all files that are not holes. */
    public long data() {
        return entries.values().stream().mapToLong(Entry::data).sum();
    }
}
