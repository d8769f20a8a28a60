package io.rampipe.sync.merge.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Names;
import io.rampipe.api.Pin;
import io.rampipe.api.RedoLog;
import io.rampipe.api.SyncBack;
import io.rampipe.pin.BlockSnapshot;
import java.io.IOException;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/**
 * Ends pins of block devices by the kernel's own merge of a snapshot. Checkpoints of live pins are
 * the redo log's, as with every other syncback; so is the safety net below a merge, which is not
 * atomic: all that it changes is in a committed log before it begins, and nothing that programs
 * write gets to the disk before it is over, because they are held.
 */
@Component(property = {Names.NAME + "=" + MergeSyncBack.NAME, "service.ranking:Integer=10"})
public final class MergeSyncBack implements SyncBack {
    static final String NAME = "merge";

    private final SyncBack journal;
    private final RedoLog log;
    private final Steps steps;

    /** Pins of which it is known that nobody has left them in the middle of a merge. */
    private final Set<String> whole = ConcurrentHashMap.newKeySet();

    @Activate
    public MergeSyncBack(
            @Reference(target = "(" + Names.NAME + "=snapshot)") SyncBack journal,
            @Reference RedoLog log) {
        this(journal, log, Steps.NONE);
    }

    MergeSyncBack(SyncBack journal, RedoLog log, Steps steps) {
        this.journal = journal;
        this.log = log;
        this.steps = steps;
    }

    @Override
    public boolean accepts(String format) {
        return Pin.SNAPSHOT_BLOCK.equals(format);
    }

    /** Before anything else looks at it, and lets programs go on. */
    private Pin whole(Pin pin) throws IOException {
        if (whole.add(pin.id())) {
            boolean done = false;
            try {
                Hold.letGo(pin);
                done = true;
            } finally {
                if (!done) {
                    whole.remove(pin.id());
                }
            }
        }
        return pin;
    }

    @Override
    public Result checkpoint(Pin pin) throws IOException {
        return journal.checkpoint(whole(pin));
    }

    @Override
    public Result checkpoint(Pin pin, Allowance allowance) throws IOException {
        return journal.checkpoint(whole(pin), allowance);
    }

    /**
     * Merges everything at once, holding programs until the end: whoever opens the file in between
     * gets the device, whose requests wait, or the file on disk when it has all that was in RAM. If
     * the mount cannot be taken away the snapshot goes on with an empty store.
     */
    @Override
    public Last begin(Pin pin) throws IOException {
        whole(pin);
        if (!BlockSnapshot.isUnder(pin)) {
            return journal.begin(pin);
        }
        try (BlockSnapshot snapshot = BlockSnapshot.of(pin)) {
            // Nothing to merge, or nothing left to be merged.
            if (Merge.stored(snapshot.status()) <= 0) {
                return journal.begin(pin);
            }
            Last last = begin(pin, snapshot);
            return last == null ? journal.begin(pin) : last;
        }
    }

    /** Null if others have changed the file on disk. */
    private Last begin(Pin pin, BlockSnapshot snapshot) throws IOException {
        Hold hold = new Hold(snapshot);
        RedoLog.Committed net = null;
        boolean begun = false;
        try {
            steps.before("hold programs");
            net = log.commit(pin, hold::take).orElse(null);
            if (net == null) {
                return null;
            }
            new Merge(snapshot, steps).run(hold.origin());
            steps.before("drop the redo log");
            Ending ending = new Ending(hold, net, net.done());
            begun = true;
            return ending;
        } finally {
            if (!begun) {
                whole.remove(pin.id());
                close(hold, net);
            }
        }
    }

    private static void close(Hold hold, RedoLog.Committed net) throws IOException {
        try {
            hold.close();
        } finally {
            if (net != null) {
                net.close();
            }
        }
    }

    /** See {@link #begin}: all is done, and programs are held. */
    private static final class Ending implements Last {
        private final Hold hold;
        private final RedoLog.Committed net;
        private Result result;

        Ending(Hold hold, RedoLog.Committed net, Result result) {
            this.hold = hold;
            this.net = net;
            this.result = result;
        }

        @Override
        public Result finish() {
            Result done = result;
            result = new Result(true, 0, 0, 0);
            return done;
        }

        @Override
        public void close() {
            try {
                MergeSyncBack.close(hold, net);
            } catch (IOException e) {
                // Then nobody can resume it; what is in it is on disk.
                return;
            }
        }
    }

    @Override
    public boolean pressed(Pin pin) throws IOException {
        return journal.pressed(pin);
    }

    @Override
    public Dirty dirty(Pin pin) throws IOException {
        return journal.dirty(whole(pin));
    }

    @Override
    public Optional<String> version(Pin pin) throws IOException {
        return journal.version(whole(pin));
    }

    @Override
    public void forget(Pin pin) {
        whole.remove(pin.id());
        journal.forget(pin);
    }

    /** The redo log's owner does it for all logs. */
    @Override
    public List<String> recover(Collection<FilePath> directories, Collection<Pin> pins) {
        return List.of();
    }

    @Override
    public void conflict(Pin pin, String what) throws IOException {
        journal.conflict(pin, what);
    }
}
