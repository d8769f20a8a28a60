package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.Pin;
import io.rampipe.linux.Fd;
import io.rampipe.linux.Mounts;
import io.rampipe.linux.Stat;
import io.rampipe.pin.LowerDirectory;
import java.io.IOException;

/** The file on disk, whatever is mounted over it. */
record DiskFile(Pin pin) {
    Stat stat() throws IOException {
        try (Fd lower = LowerDirectory.open(pin);
                Fd uncovered = Mounts.cloneTree(lower)) {
            return Stat.at(uncovered, pin.target().path().name());
        }
    }
}
