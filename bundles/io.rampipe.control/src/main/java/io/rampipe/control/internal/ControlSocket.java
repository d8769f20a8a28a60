package io.rampipe.control.internal;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.felix.service.command.CommandProcessor;
import org.osgi.framework.BundleContext;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

/**
 * The socket {@code control} in the runtime directory, through which the {@code rampipe} command
 * reaches Gogo. Whoever can use it controls the daemon, so only its own user can: root.
 */
@Component(
        service = {},
        immediate = true)
public final class ControlSocket {
    /** Framework property: the runtime directory. */
    static final String RUNTIME = "rampipe.runtime";

    private static final String STANDARD_RUNTIME = "/run/rampipe";
    private static final int CLIENTS = 16;

    private final Server server;

    @Activate
    public ControlSocket(
            BundleContext context,
            @Reference CommandProcessor processor,
            @Reference(service = LoggerFactory.class) Logger log)
            throws IOException {
        String runtime = context.getProperty(RUNTIME);
        Path path =
                Path.of(runtime == null ? STANDARD_RUNTIME : runtime)
                        .toAbsolutePath()
                        .resolve("control");
        try {
            server =
                    new Server(
                            path,
                            CLIENTS,
                            Files.getOwner(Path.of("/proc/self")),
                            Connection.Limits.STANDARD,
                            processor,
                            log);
        } catch (IOException e) {
            throw new IOException("the rampipe command cannot reach this daemon: " + path, e);
        }
    }

    @Deactivate
    void deactivate() throws IOException {
        server.close();
    }
}
