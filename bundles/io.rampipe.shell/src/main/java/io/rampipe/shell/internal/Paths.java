package io.rampipe.shell.internal;

import io.rampipe.api.FilePath;
import io.rampipe.linux.At;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import org.apache.felix.service.command.CommandSession;
import org.apache.felix.service.command.Job;

/** What users write for paths, made into the paths that the engine knows. */
final class Paths {
    /**
     * Session variable: the working directory of whoever sent the command, in the form of {@link
     * FilePath#text}.
     */
    static final String DIRECTORY = "rampipe.cwd";

    private Paths() {}

    /**
     * The absolute path without links that {@code argument} leads to, as the kernel sees it. What
     * does not exist (any more) keeps its name, in the directory that it would be in.
     */
    static FilePath of(String argument) {
        if (argument.isEmpty() || argument.indexOf('\0') >= 0) {
            throw new WrongUsage("an empty path leads nowhere");
        }
        FilePath path = FilePath.of(argument);
        if (!path.isAbsolute()) {
            path = directory().resolve(path);
        }
        try {
            return kernels(path);
        } catch (LinuxException e) {
            try {
                return path.name().isEmpty() ? path : kernels(path.parent()).resolve(path.name());
            } catch (LinuxException parent) {
                return path;
            }
        }
    }

    private static FilePath directory() {
        CommandSession session = Job.Utils.current().session();
        Object directory = session.get(DIRECTORY);
        return FilePath.of(String.valueOf(directory == null ? session.currentDir() : directory));
    }

    /** O_PATH opens nothing: no event is made, no lease broken, no device touched. */
    private static FilePath kernels(FilePath path) throws LinuxException {
        try (Fd fd = At.open(path, At.O_PATH | At.O_CLOEXEC)) {
            return fd.currentPath();
        }
    }
}
