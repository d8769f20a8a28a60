package io.rampipe.linux;

import com.sun.jna.Memory;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** This process's limit of open files ({@code getrlimit(2)}, RLIMIT_NOFILE). */
public final class OpenFiles {
    private static final int RLIMIT_NOFILE = 7;

    private OpenFiles() {}

    /**
     * Raises the limit where it is lower than {@code wanted}, the hard one too where the process
     * may (CAP_SYS_RESOURCE, up to {@code /proc/sys/fs/nr_open}). Never lowers it.
     *
     * @return the limit now, which may be less than {@code wanted}
     */
    public static long ensure(long wanted) throws IOException {
        Memory m = LibC.scratch();
        At.check(LibC.prlimit64(0, RLIMIT_NOFILE, null, m), "get the limit of", "open files");
        long soft = m.getLong(0);
        long hard = m.getLong(8);
        if (Long.compareUnsigned(soft, wanted) >= 0) {
            return soft < 0 ? Long.MAX_VALUE : soft;
        }
        if (Long.compareUnsigned(hard, wanted) < 0) {
            long most = Long.parseLong(Files.readString(Path.of("/proc/sys/fs/nr_open")).strip());
            long more = Math.min(wanted, most);
            if (more > hard && set(more, more)) {
                return more;
            }
        }
        long most = Long.compareUnsigned(hard, wanted) < 0 ? hard : wanted;
        return set(most, hard) ? most : soft;
    }

    private static boolean set(long soft, long hard) {
        Memory m = LibC.scratch();
        m.setLong(0, soft);
        m.setLong(8, hard);
        return LibC.prlimit64(0, RLIMIT_NOFILE, m, null) == 0;
    }
}
