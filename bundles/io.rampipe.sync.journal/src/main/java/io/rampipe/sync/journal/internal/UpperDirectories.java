package io.rampipe.sync.journal.internal;

import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Stat;
import io.rampipe.sync.journal.internal.Planner.Dir;
import io.rampipe.sync.journal.internal.Planner.Name;
import io.rampipe.sync.journal.internal.Planner.Node;
import java.io.IOException;

/** Opens files of an upper layer, keeping the last directory open. One thread. */
final class UpperDirectories implements AutoCloseable {
    private final UpperLayer upper;
    private Dir last;
    private Fd fd;

    UpperDirectories(UpperLayer upper) {
        this.upper = upper;
    }

    /** The very file that was found before, unchanged since. */
    Fd open(Node node, int flags) throws IOException {
        return open(node, flags, true);
    }

    /** The very file that was found before, perhaps changed since. */
    Fd openToLook(Node node) throws IOException {
        return openAgain(node, At.O_PATH | At.O_NOFOLLOW);
    }

    /** The very file that was found before, perhaps changed since. */
    Fd openAgain(Node node, int flags) throws IOException {
        return open(node, flags, false);
    }

    private Fd open(Node node, int flags, boolean unchanged) throws IOException {
        Fd opened;
        if (node.indexName != null) {
            opened = UpperLayer.open(upper.index(), node.indexName, flags);
        } else {
            Name name = node.names.get(0);
            opened = UpperLayer.open(directory(name.dir()), name.above(), flags);
        }
        boolean right = false;
        try {
            Stat now = Stat.of(opened);
            right = unchanged ? now.unchangedSince(node.upper) : now.sameFile(node.upper);
        } finally {
            if (!right) {
                opened.close();
            }
        }
        if (!right) {
            throw new MovingException(opened.toString());
        }
        return opened;
    }

    private Fd directory(Dir dir) throws IOException {
        if (dir != last) {
            close();
            fd = upper.openDirectory(dir.upperPath);
            last = dir;
        }
        return fd;
    }

    @Override
    public void close() {
        if (fd != null) {
            fd.close();
        }
        fd = null;
        last = null;
    }
}
