package io.rampipe.source.inotify.internal;

import io.rampipe.api.EventSource;
import io.rampipe.api.Names;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Inotify;
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
 * Watches directory by directory with {@code inotify(7)}, which needs no privilege: what is used
 * where fanotify is not to be had. Sessions are independent of each other and of this component:
 * whoever opens one closes it.
 */
@Component(
        configurationPid = InotifyConfig.PID,
        property = {
            Names.NAME + "=" + InotifySource.NAME,
            Constants.SERVICE_RANKING + ":Integer=" + InotifySource.RANKING
        })
@Designate(ocd = InotifyConfig.class)
public final class InotifySource implements EventSource {
    static final String NAME = "inotify";

    /** Above what others install, so that these are used when named; below fanotify. */
    static final String RANKING = "50";

    private final InotifyConfig config;
    private final Logger log;

    @Activate
    public InotifySource(
            InotifyConfig config, @Reference(service = LoggerFactory.class) Logger log) {
        this.config = config;
        this.log = log;
    }

    @Override
    public Optional<String> unusable() {
        try {
            Inotify.open().close();
            return Optional.empty();
        } catch (LinuxException e) {
            return Optional.of(
                    switch (e.errno()) {
                        case Errno.ENOSYS ->
                                "this kernel has no inotify: it needs CONFIG_INOTIFY_USER";
                        case Errno.EMFILE ->
                                "too many inotify instances or open files: raise the sysctl"
                                        + " fs.inotify.max_user_instances, or LimitNOFILE";
                        default -> e.getMessage();
                    });
        }
    }

    @Override
    public Session open() throws LinuxException {
        return new InotifySession(
                config.watch_opens(),
                config.watch_reads(),
                config.inotify_max__watches(),
                System::nanoTime,
                log);
    }
}
