package io.rampipe.source.fanotify.internal;

import io.rampipe.api.AccessEvent;
import io.rampipe.api.FilePath;
import io.rampipe.linux.FileHandle;
import java.util.Optional;

/** A name in a directory that is known by its handle: found again wherever it has moved. */
record HandleLocation(Place place, FileHandle handle, FilePath name)
        implements AccessEvent.Location {
    @Override
    public Optional<FilePath> directory() {
        return place.path(handle);
    }
}
