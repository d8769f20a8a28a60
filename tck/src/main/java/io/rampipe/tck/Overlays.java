package io.rampipe.tck;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.Target;
import io.rampipe.testkit.Command;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** Overlays mounted by hand as a pin strategy would; gone when closed. */
public final class Overlays implements AutoCloseable {
    /** Options of a pin's overlay. */
    public static final String EXPORTABLE = "index=on,nfs_export=on,redirect_dir=on";

    private final Path pool;
    private final List<Path> mounted = new ArrayList<>();

    public Overlays(Path pool) {
        this.pool = pool;
    }

    public void mount(String id, Path target, String options) throws IOException {
        mount(id, target, target, options);
    }

    public void mount(String id, Path lower, Path target, String options) throws IOException {
        Path upper = Files.createDirectories(pool.resolve(id + "/upper"));
        Path work = Files.createDirectories(pool.resolve(id + "/work"));
        Command.run(
                "mount",
                "-t",
                "overlay",
                "rampipe:" + id,
                "-o",
                "lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + work + "," + options,
                target.toString());
        mounted.add(0, target);
    }

    /** Fails if it is busy. */
    public void unmount(Path target) throws IOException {
        Command.run("umount", target.toString());
        mounted.remove(target);
    }

    public Pin pin(String id, Path target) {
        return pin(id, Target.directory(FilePath.of(target.toString())), Map.of());
    }

    public Pin pin(String id, Target target, Map<String, String> attributes) {
        return new Pin(
                id,
                target,
                "overlayfs",
                "journal",
                Pin.OVERLAY,
                Pin.Step.PINNED,
                Instant.EPOCH,
                attributes);
    }

    @Override
    public void close() throws IOException {
        for (Path target : mounted) {
            Command.run("umount", "--lazy", target.toString());
        }
    }
}
