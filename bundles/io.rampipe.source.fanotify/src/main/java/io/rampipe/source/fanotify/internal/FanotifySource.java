package io.rampipe.source.fanotify.internal;

import io.rampipe.api.EventSource;
import io.rampipe.api.FilePath;
import io.rampipe.api.Names;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fanotify;
import io.rampipe.linux.Fd;
import io.rampipe.linux.FileHandle;
import io.rampipe.linux.LinuxException;
import java.util.Optional;
import org.osgi.framework.Constants;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;
import org.osgi.service.metatype.annotations.Designate;

/**
 * Watches whole file systems with {@code fanotify(7)}. Sessions are independent of each other and
 * of this component: whoever opens one closes it.
 */
@Component(
        configurationPid = FanotifyConfig.PID,
        property = {
            Names.NAME + "=" + FanotifySource.NAME,
            Constants.SERVICE_RANKING + ":Integer=" + FanotifySource.RANKING
        })
@Designate(ocd = FanotifyConfig.class)
public final class FanotifySource implements EventSource {
    static final String NAME = "fanotify";

    /** Above inotify, and above what others install: it is used wherever it works. */
    static final String RANKING = "100";

    private final FanotifyConfig config;
    private final Logger log;

    @Activate
    public FanotifySource(
            FanotifyConfig config, @Reference(service = LoggerFactory.class) Logger log) {
        this.config = config;
        this.log = log;
    }

    @Override
    public Optional<String> unusable() {
        try {
            Fanotify.withHandles().close();
            return handles();
        } catch (LinuxException e) {
            return Optional.of(
                    switch (e.errno()) {
                        case Errno.EPERM ->
                                "fanotify needs CAP_SYS_ADMIN: run as root, outside of containers";
                        case Errno.ENOSYS ->
                                "this kernel has no fanotify: it needs CONFIG_FANOTIFY";
                        case Errno.EINVAL ->
                                "this kernel's fanotify tells no names: it needs Linux 5.9 or later";
                        case Errno.EMFILE ->
                                "too many fanotify groups or open files: raise the sysctl"
                                        + " fs.fanotify.max_user_groups, or LimitNOFILE";
                        default -> e.getMessage();
                    });
        }
    }

    /** Whether directories can be found again by their handles. */
    private static Optional<String> handles() {
        try (Fd root = At.open(FilePath.of("/"), At.O_RDONLY | At.O_DIRECTORY)) {
            FileHandle.of(root).open(root, At.O_PATH).close();
            return Optional.empty();
        } catch (LinuxException e) {
            // Any other answer is about this one file system, not about what we may do.
            return e.is(Errno.EPERM)
                    ? Optional.of(
                            "finding files by handle needs CAP_DAC_READ_SEARCH: run as root,"
                                    + " outside of containers")
                    : Optional.empty();
        }
    }

    @Override
    public Session open() throws LinuxException {
        return new FanotifySession(
                config.watch_opens(), config.watch_reads(), true, System::nanoTime, log);
    }
}
