package io.rampipe.sync.journal.internal;

import io.rampipe.linux.FileSystemFreeze;
import java.io.IOException;

/** Freezes the file system of a pin. */
final class FreezeGuard {
    FileSystemFreeze freeze(SnapshotView view) throws IOException {
        return view.freeze();
    }
}
