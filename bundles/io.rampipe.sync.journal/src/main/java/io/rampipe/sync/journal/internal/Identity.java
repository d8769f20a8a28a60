package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;

/** Identities of files on disk: file handles as text, which hold the inode's generation. */
final class Identity {
    /** Of nothing at all. */
    static final String NONE = "";

    private Identity() {}

    static String of(Fd file) throws LinuxException {
        return FileHandle.of(file).toString();
    }

    /** Of a name in a directory, a link itself included; {@link #NONE} if there is nothing. */
    static String of(Fd directory, FilePath name) throws LinuxException {
        try (Fd file = At.open(directory, name, At.O_PATH | At.O_NOFOLLOW, 0)) {
            return of(file);
        } catch (LinuxException e) {
            if (e.is(Errno.ENOENT)) {
                return NONE;
            }
            throw e;
        }
    }
}
