package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Stat;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/** Finishes or drops what earlier daemons have left on disks. One thread, once. */
final class Recovery {
    private final Collection<Pin> live;
    private final Steps steps;
    private final ConflictList conflicts;
    private final Set<String> seen = new HashSet<>();
    private final List<String> lines = new ArrayList<>();

    Recovery(Collection<Pin> live, ConflictList conflicts, Steps steps) {
        this.live = live;
        this.conflicts = conflicts;
        this.steps = steps;
    }

    List<String> run(Collection<FilePath> directories) throws IOException {
        for (FilePath directory : directories) {
            for (Disk disk : Disk.withHome(directory, steps)) {
                try (disk) {
                    recover(disk);
                } catch (IOException e) {
                    lines.add(disk.shown() + " could not be recovered: " + e.getMessage());
                }
            }
        }
        return lines;
    }

    private void recover(Disk disk) throws IOException {
        Fd home = disk.home();
        Stat stat = Stat.of(home);
        if (!seen.add(stat.device() + ":" + stat.inode())) {
            return;
        }
        Set<String> ids = new TreeSet<>();
        for (FilePath name : At.list(home)) {
            int dot = name.raw().indexOf('.');
            String id = dot < 0 ? "" : name.raw().substring(0, dot);
            String kind = dot < 0 ? "" : name.raw().substring(dot);
            boolean ours =
                    kind.equals(StagingDirectory.COMMITTED)
                            || kind.equals(StagingDirectory.UNCOMMITTED)
                            || kind.equals(StagingDirectory.STAGED);
            if (ours && id.matches("[0-9a-z]{1,32}")) {
                ids.add(id);
            }
        }
        Set<String> mounted = mounted();
        for (String id : ids) {
            if (mounted.contains(id)) {
                // Its record is damaged, or another daemon has it: whose overlay finds directories
                // by their old places.
                lines.add("redo log " + id + " waits: its pin is mounted, without a record here");
            } else if (live.stream().noneMatch(p -> p.id().equals(id))) {
                try (StagingDirectory staging = new StagingDirectory(disk, id, steps)) {
                    recover(disk, staging, id);
                } catch (IOException e) {
                    lines.add(
                            "redo log "
                                    + id
                                    + " on "
                                    + disk.shown()
                                    + " could not be applied and is kept: "
                                    + e.getMessage());
                }
            }
        }
    }

    /** Ids of pins that are not known to be live, and have a mount all the same. */
    private Set<String> mounted() throws IOException {
        Set<String> ids = new HashSet<>();
        for (MountInfo m : MountInfo.all()) {
            m.pin().ifPresent(ids::add);
        }
        live.forEach(p -> ids.remove(p.id()));
        return ids;
    }

    private void recover(Disk disk, StagingDirectory staging, String id) throws IOException {
        try (Fd fd = staging.openLog()) {
            if (fd == null) {
                staging.discard(true);
                lines.add(
                        "dropped an unfinished redo log ("
                                + id
                                + ") on "
                                + disk.shown()
                                + ": its target is as it was at the checkpoint before");
                return;
            }
            LogContents contents = LogContents.read(fd);
            if (!contents.header().pin().equals(id)) {
                throw new DamagedLogException("it is the log of " + contents.header().pin());
            }
            replay(disk, staging, contents, fd);
        } catch (DamagedLogException e) {
            FilePath aside = staging.setAside(staging.log(), "damaged");
            lines.add(
                    "a damaged redo log was not applied and is kept as "
                            + aside
                            + ": "
                            + e.getMessage());
        }
    }

    private void replay(Disk disk, StagingDirectory staging, LogContents contents, Fd fd)
            throws IOException {
        LogRecord.Header header = contents.header();
        FilePath path = header.file() ? header.target().parent() : header.target();
        // Device numbers change from boot to boot; the log is on the disk that it is about.
        Disk.Identity identity =
                new Disk.Identity(
                        Stat.deviceText(disk.stat().device()),
                        header.inode(),
                        header.handle(),
                        path);
        for (Pin pin : live) {
            if (pin.attributes()
                            .getOrDefault(Pin.LOWER_INODE, "")
                            .equals(Long.toUnsignedString(header.inode()))
                    && pin.attributes()
                            .getOrDefault(Pin.LOWER_DEVICE, "")
                            .equals(identity.device())) {
                lines.add(
                        "redo log "
                                + header.pin()
                                + " waits: its target "
                                + header.target()
                                + " is pinned");
                return;
            }
        }
        try (Disk.Place place = disk.find(identity);
                Applier applier =
                        new Applier(
                                place,
                                staging.fd(),
                                new LowerFiles(place.stat().device()),
                                contents,
                                f -> tell(disk, header, identity, f),
                                steps)) {
            // The daemon may have died between the commit and its fsync.
            staging.makeCommitDurable();
            applier.apply(fd, false);
            if (applier.lost().isEmpty()) {
                staging.dropLog();
            } else {
                // Its data has no other place: others replaced the files that it is about.
                lines.add(
                        "what could not be applied of a redo log is kept as "
                                + staging.setAside(staging.log(), "conflict"));
            }
            staging.discard(true);
            lines.add(
                    "brought "
                            + header.target()
                            + " to its last checkpoint: "
                            + contents.files().size()
                            + " files");
            for (int id : applier.lost()) {
                tell(disk, header, identity, applier.loss(contents.files().get(id)));
            }
        }
    }

    private void tell(Disk disk, LogRecord.Header header, Disk.Identity identity, Drift.Found found)
            throws IOException {
        conflicts.add(disk, identity, header.pin(), List.of(found));
        lines.add(header.target() + ": " + found);
    }
}
