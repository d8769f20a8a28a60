package io.rampipe.sync.journal.internal;

import io.rampipe.api.Pin;
import io.rampipe.api.SyncBack;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Leases;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.OpenFiles;
import io.rampipe.sync.journal.internal.Planner.Dir;
import io.rampipe.sync.journal.internal.Planner.Name;
import io.rampipe.sync.journal.internal.Planner.Node;
import java.io.IOException;
import java.util.Set;

/**
 * The last syncback of a pin. From its beginning it holds the files on disk that are about to
 * change with leases, so that programs that open them wait. The descriptors are open for writing
 * first: a lease of the write kind is granted if that is the only way in which the file is open,
 * and the kernel makes no exception for its holder's other opens ({@code fcntl(2)}).
 */
final class LastSync implements SyncBack.Last {
    /** Files beyond these are not held. */
    private static final int MOST_HELD = 20_000;

    private static final int TRIES = 10;
    private static final int OTHER_DESCRIPTORS = 1_000;

    private final JournalSyncBack owner;
    private final Pin pin;
    private final UpperLayer upper;
    private final LowerFiles held;
    private final Steps steps;
    private boolean room;

    /** At its beginning nothing was on disk that others have changed. */
    private boolean undisturbed;

    private LastSync(
            JournalSyncBack owner, Pin pin, UpperLayer upper, LowerFiles held, Steps steps) {
        this.steps = steps;
        this.owner = owner;
        this.pin = pin;
        this.upper = upper;
        this.held = held;
    }

    /**
     * @param memory of the pin
     */
    static LastSync begin(JournalSyncBack owner, Pin pin, Memory memory, Steps steps)
            throws IOException {
        UpperLayer upper = UpperLayer.of(pin);
        LastSync last = null;
        try (Disk.Place place = Disk.find(Disk.Identity.of(pin), steps)) {
            LowerFiles held = new LowerFiles(place.stat().device());
            LastSync begun = new LastSync(owner, pin, upper, held, steps);
            try {
                // Before anybody has to wait.
                begun.room = Room.keep(pin, place, upper, memory, held, owner.dirty(pin), steps);
                for (int i = 0; i < TRIES && held.leased().isEmpty(); i++) {
                    try {
                        Drift drift = Drift.of(pin);
                        Planner plan =
                                new Planner(place, upper, new Memory(), drift, Set.of(), true);
                        plan.look();
                        begun.undisturbed = drift.found().isEmpty();
                        hold(plan, place, held);
                        break;
                    } catch (MovingException e) {
                        // A name went while it was looked at.
                    }
                }
                last = begun;
                return begun;
            } catch (LinuxException e) {
                throw Trouble.explained(pin, place.disk().shown(), e);
            } finally {
                if (last == null) {
                    begun.close();
                }
            }
        } catch (LinuxException e) {
            throw Trouble.explained(pin, pin.target().path(), e);
        } finally {
            if (last == null) {
                upper.close();
            }
        }
    }

    private static void hold(Planner plan, Disk.Place place, LowerFiles held) throws IOException {
        int count = 0;
        for (Node n : plan.nodes()) {
            count += n.upper.isRegular() && n.lower != null ? 1 : 0;
        }
        long most = OpenFiles.ensure(Math.min(count, MOST_HELD) + OTHER_DESCRIPTORS);
        Dir last = null;
        Fd dir = null;
        try {
            for (Node n : plan.nodes()) {
                if (held.leased().size() >= Math.min(MOST_HELD, most - OTHER_DESCRIPTORS)) {
                    return;
                }
                Name name = name(n);
                if (name == null) {
                    continue;
                }
                if (name.dir() != last) {
                    if (dir != null) {
                        dir.close();
                        dir = null;
                    }
                    dir =
                            At.openBeneathSameMount(
                                    place.directory(),
                                    name.dir().oldPath,
                                    At.O_PATH | At.O_DIRECTORY,
                                    0);
                    last = name.dir();
                }
                hold(n, name, dir, place, held);
            }
        } finally {
            if (dir != null) {
                dir.close();
            }
        }
    }

    private static Name name(Node n) {
        if (!n.upper.isRegular() || n.lower == null) {
            return null;
        }
        for (Name m : n.names) {
            if (m.lower() != null && m.lower().inode() == n.lower.inode()) {
                return m;
            }
        }
        return null;
    }

    private static void hold(Node n, Name name, Fd dir, Disk.Place place, LowerFiles held)
            throws IOException {
        LowerFiles.Opened opened;
        try {
            opened =
                    held.open(dir, name.name(), n.lower.inode(), place.stat().mount(), true)
                            .orElse(null);
        } catch (LinuxException e) {
            // On a read-only disk nobody opens it for writing, and if it is clean it may go.
            if (e.is(Errno.ETXTBSY, Errno.EAGAIN, Errno.EACCES, Errno.EPERM, Errno.EROFS)) {
                return;
            }
            throw e;
        }
        if (opened == null || !opened.own()) {
            return;
        }
        try {
            Leases.takeWrite(opened.fd());
            held.hold(n.lower.inode(), opened.fd());
        } catch (LinuxException e) {
            // Somebody has it open already, or there are no leases here: nothing to wait for.
            opened.close();
        }
    }

    @Override
    public SyncBack.Result finish() throws IOException {
        SyncBack.Result result = owner.finish(pin, upper, held, undisturbed);
        room = false;
        return result;
    }

    private void giveUpRoom() {
        try (Disk.Place place = Disk.find(Disk.Identity.of(pin), steps);
                StagingDirectory staging = new StagingDirectory(place.disk(), pin.id(), steps)) {
            Room.giveUp(staging);
        } catch (IOException e) {
            // It goes with the next log, or by recovery.
            return;
        }
    }

    @Override
    public void close() {
        // A lease ends with its descriptor.
        JournalSyncBack.closeAll(held.leased().values());
        held.leased().clear();
        if (room) {
            giveUpRoom();
        }
        upper.close();
    }
}
