package io.rampipe.source.fanotify.internal;

import io.rampipe.api.AccessEvent;
import io.rampipe.api.FilePath;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import java.util.Optional;

/** A file whose path was known when the event happened. */
record PathLocation(FilePath path) implements AccessEvent.Location {
    @Override
    public Optional<FilePath> directory() {
        FilePath parent = path.parent();
        try {
            return parent.isAbsolute() && Stat.at(Fd.CWD, parent).isDirectory()
                    ? Optional.of(parent)
                    : Optional.empty();
        } catch (LinuxException e) {
            return Optional.empty();
        }
    }

    @Override
    public FilePath name() {
        return path.name();
    }
}
