package io.rampipe.sync.journal.internal;

import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Io;
import io.rampipe.linux.LinuxException;
import io.rampipe.sync.journal.internal.Planner.Dir;
import io.rampipe.sync.journal.internal.Planner.Name;
import io.rampipe.sync.journal.internal.Planner.Node;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Optional;

/**
 * How much room on the disk a syncback takes until its log has been applied, found by comparing,
 * without writing anything. For messages, and for room to be reserved.
 */
final class Need {
    /** For each name: records, inodes, entries of directories. */
    static final long EACH = 2L * FileData.BLOCK;

    private final Disk.Place place;
    private final Planner plan;
    private final LowerFiles lower;
    private final FileData data = new FileData();
    private long bytes;

    private Need(Disk.Place place, Planner plan, LowerFiles lower) {
        this.place = place;
        this.plan = plan;
        this.lower = lower;
    }

    /**
     * Bytes, rather too many than too few.
     *
     * @throws MovingException if upper changes meanwhile
     */
    static long of(Disk.Place place, Planner plan, LowerFiles lower) throws IOException {
        Need need = new Need(place, plan, lower);
        for (Dir d : plan.directories()) {
            need.bytes += d.isNew() ? EACH : 0;
        }
        need.bytes += EACH;
        try (UpperDirectories upper = new UpperDirectories(plan.upper())) {
            for (Node n : plan.nodes()) {
                need.add(n, upper);
            }
        }
        return need.bytes;
    }

    private void add(Node n, UpperDirectories upper) throws IOException {
        bytes += EACH;
        if (!n.upper.isRegular()) {
            return;
        }
        try (Fd fd = upper.open(n, UpperLayer.READ)) {
            if (n.lower == null || !compared(n, fd)) {
                bytes += allocated(fd, n.upper.size());
            }
        }
    }

    private static long allocated(Fd fd, long size) throws IOException {
        long sum = 0;
        long at = 0;
        while (at < size) {
            long from = Io.nextData(fd, at);
            if (from < 0 || from >= size) {
                break;
            }
            at = Io.nextHole(fd, from);
            sum += at - from;
        }
        return sum;
    }

    /** False if the file on disk cannot be looked at. */
    private boolean compared(Node n, Fd fd) throws IOException {
        for (Name m : n.names) {
            if (m.lower() == null || m.lower().inode() != n.lower.inode() || m.dir().isNew()) {
                continue;
            }
            try (Fd dir =
                    At.openBeneathSameMount(
                            place.directory(), m.dir().oldPath, At.O_RDONLY | At.O_DIRECTORY, 0)) {
                Optional<LowerFiles.Opened> below =
                        lower.open(dir, m.name(), n.lower.inode(), place.stat().mount(), false);
                if (below.isPresent()) {
                    try (LowerFiles.Opened opened = below.get()) {
                        compare(n, fd, opened.fd());
                        return true;
                    }
                }
            } catch (LinuxException e) {
                return false;
            }
        }
        return false;
    }

    private void compare(Node n, Fd fd, Fd below) throws IOException {
        long whole = allocated(fd, n.upper.size());
        long before = bytes;
        data.compare(
                fd,
                n.upper.size(),
                below,
                n.lower.size(),
                null,
                new FileData.Changes() {
                    @Override
                    public void data(long offset, ByteBuffer part) throws IOException {
                        int length = part.remaining();
                        long there = Io.nextData(below, offset);
                        boolean patched =
                                there == offset && Io.nextHole(below, offset) >= offset + length;
                        // In the log, and where there is nothing yet, in the file too.
                        bytes += (patched ? 1 : 2) * (length + 2L * FileData.BLOCK);
                    }

                    @Override
                    public void hole(long offset, long length) {
                        // Takes nothing.
                    }
                });
        if (n.replaceable) {
            bytes = Math.min(bytes, before + whole);
        }
    }
}
