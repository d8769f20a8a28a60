package io.rampipe.pin.overlayfs.internal;

import io.rampipe.api.BusyException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Names;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
import io.rampipe.linux.At;
import io.rampipe.linux.Errno;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountInfo;
import io.rampipe.linux.Mounts;
import io.rampipe.pin.FileSystems;
import io.rampipe.pin.Place;
import io.rampipe.pin.SingleFile;
import java.io.IOException;
import java.time.Clock;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.metatype.annotations.Designate;

/**
 * Pins with overlayfs: what is on disk is the lower layer, the thin pool holds the upper one. A
 * directory is covered by its overlay. A single file is covered by a bind mount of its like in an
 * overlay of the parent directory that is mounted out of sight.
 *
 * <p>Stateless; see {@link PinStrategy}.
 */
@Component(configurationPid = Config.PID, property = Names.NAME + "=" + OverlayStrategy.NAME)
@Designate(ocd = Config.class)
public final class OverlayStrategy implements PinStrategy {
    static final String NAME = "overlayfs";

    /** The syncback that applies an upper layer. */
    static final String SYNC = "journal";

    private final Eligibility eligibility;
    private final Clock clock;

    @Activate
    public OverlayStrategy(Config config) {
        this(
                new Eligibility(
                        new FileSystems(config.pin_allow__network(), config.pin_allow__fuse()),
                        config.overlayfs_max__files()),
                Clock.systemUTC());
    }

    OverlayStrategy(Eligibility eligibility, Clock clock) {
        this.eligibility = eligibility;
        this.clock = clock;
    }

    @Override
    public Optional<String> unusable() {
        try {
            // Without a lower layer it always fails, but how it fails tells; the attempt also makes
            // the kernel load the module.
            Mounts.mount(FilePath.of("none"), FilePath.of("/"), "overlay", 0, null);
            return Optional.of("the kernel mounted an overlay without layers");
        } catch (LinuxException e) {
            if (e.is(Errno.EPERM)) {
                return Optional.of("may not mount: needs root (CAP_SYS_ADMIN)");
            }
            if (e.is(Errno.ENODEV)) {
                return Optional.of("this kernel has no overlayfs: try modprobe overlay");
            }
            return Optional.empty();
        }
    }

    @Override
    public Estimate examine(Target target, List<FilePath> hot) throws IOException {
        try (Place place = Place.open(target)) {
            eligibility.checkPlace(place);
            if (target.kind() == Target.Kind.FILE) {
                SingleFile.checkAlone(place);
                return Eligibility.estimate(place.stat());
            }
            Tree tree = eligibility.walk(place, (dir, name, path, stat) -> {});
            return Eligibility.estimate(target, tree, hot);
        } catch (LinuxException e) {
            throw new RefusedException(Cause.ERROR, target + ": " + e.getMessage(), e);
        }
    }

    @Override
    public Pin pin(PinRequest request, PinJournal journal) throws IOException {
        return request.target().kind() == Target.Kind.FILE
                ? new FilePinning(eligibility, clock, request, journal).pin()
                : new DirectoryPinning(eligibility, clock, request, journal).pin();
    }

    @Override
    public void unmount(Pin pin) throws IOException {
        Optional<MountInfo> over = Overlay.over(pin);
        if (over.isPresent()) {
            Overlay.unmount(pin, over.get());
        }
        Optional<MountInfo> hidden = Overlay.hidden(pin);
        if (hidden.isEmpty()) {
            return;
        }
        try {
            Overlay.unmount(pin, hidden.get());
        } catch (BusyException e) {
            if (over.isPresent()) {
                Remounting.bindAgain(pin);
            }
            throw e;
        }
    }

    @Override
    public Pin remount(Pin pin) throws IOException {
        return Remounting.remount(pin);
    }

    @Override
    public Pin adopt(Pin pin) throws IOException {
        return Settling.adopt(pin, eligibility);
    }

    @Override
    public boolean mounted(Pin pin) throws IOException {
        return Overlay.over(pin).isPresent();
    }

    @Override
    public boolean lingers(Pin pin) throws IOException {
        Optional<MountInfo> hidden = Overlay.hidden(pin);
        if (hidden.isPresent()) {
            try {
                Overlay.unmount(pin, hidden.get());
            } catch (BusyException e) {
                return true;
            }
        }
        return Overlay.over(pin).isPresent() || Overlay.uses(pin);
    }

    @Override
    public void discard(Pin pin) throws IOException {
        if (Overlay.over(pin).isPresent()) {
            throw new BusyException(
                    pin.target() + " is still mounted; not removing what is in RAM");
        }
        Optional<MountInfo> hidden = Overlay.hidden(pin);
        if (hidden.isPresent()) {
            Overlay.unmount(pin, hidden.get());
        }
        try (PoolDirectory pool = PoolDirectory.open(pin.path(Pin.UPPER).parent())) {
            pool.empty();
        } catch (LinuxException e) {
            if (!e.is(Errno.ENOENT)) {
                throw e;
            }
        }
    }

    @Override
    public List<Stray> strays(FilePath pool, Set<String> recorded) throws IOException {
        return new StrayMounts(pool, recorded, clock).find();
    }

    /** Opens a name below an overlay for appending, which makes the kernel copy the file up. */
    static void copyUp(Fd merged, FilePath path) throws LinuxException {
        At.openBeneathSameMount(
                        merged, path, At.O_WRONLY | At.O_APPEND | At.O_NOFOLLOW | At.O_NONBLOCK, 0)
                .close();
    }
}
