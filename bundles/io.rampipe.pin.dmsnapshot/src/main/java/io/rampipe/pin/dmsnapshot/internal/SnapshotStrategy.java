package io.rampipe.pin.dmsnapshot.internal;

import io.rampipe.api.BusyException;
import io.rampipe.api.FilePath;
import io.rampipe.api.Names;
import io.rampipe.api.PathPatterns;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
import io.rampipe.api.Units;
import io.rampipe.linux.DeviceMapper;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.LoopDevice;
import io.rampipe.linux.MountInfo;
import io.rampipe.pin.Place;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.metatype.annotations.Designate;

/**
 * Pins single large files with device-mapper's snapshot: what programs change takes RAM, what they
 * do not is read from the file on disk. They see a regular file of a small file system, most of
 * which is made of the snapshot (see {@link Pin#SNAPSHOT}).
 *
 * <p>Stateless; see {@link PinStrategy}.
 */
@Component(configurationPid = Config.PID, property = Names.NAME + "=" + SnapshotStrategy.NAME)
@Designate(ocd = Config.class)
public final class SnapshotStrategy implements PinStrategy {
    static final String NAME = "dmsnapshot";

    /** The syncback that reads a snapshot. */
    static final String SYNC = "snapshot";

    static final String NO_MKE2FS =
            "mke2fs is not in PATH nor in /usr/sbin or /sbin: install e2fsprogs";

    private final Eligibility eligibility;
    private final Clock clock;

    @Activate
    public SnapshotStrategy(Config config) {
        this(
                new Eligibility(
                        Units.bytes(config.dmsnapshot_min__size()),
                        Units.bytes(config.dmsnapshot_growth()),
                        Units.bytes(config.dmsnapshot_store()),
                        new PathPatterns(List.of(config.dmsnapshot_block()))),
                Clock.systemUTC());
    }

    SnapshotStrategy(Eligibility eligibility, Clock clock) {
        this.eligibility = eligibility;
        this.clock = clock;
    }

    @Override
    public Optional<String> unusable() {
        String missing = LoopDevice.missing();
        if (missing.isEmpty()) {
            missing = DeviceMapper.missing();
        }
        if (missing.isEmpty() && !hasExt4()) {
            missing = "this kernel has no ext4: try modprobe ext4";
        }
        if (missing.isEmpty() && FileSystemMaker.mke2fs().isEmpty()) {
            missing = NO_MKE2FS;
        }
        return missing.isEmpty() ? Optional.empty() : Optional.of(missing);
    }

    private static boolean hasExt4() {
        try {
            return Files.readAllLines(Path.of("/proc/filesystems")).contains("\text4");
        } catch (IOException e) {
            return false;
        }
    }

    @Override
    public Estimate examine(Target target, List<FilePath> hot) throws IOException {
        try (Place place = Place.open(target)) {
            Layout layout = eligibility.check(place);
            return new Estimate(layout.least(), layout.most(), 1, layout.most());
        } catch (LinuxException e) {
            throw new RefusedException(Cause.ERROR, target + ": " + e.getMessage(), e);
        }
    }

    @Override
    public Pin pin(PinRequest request, PinJournal journal) throws IOException {
        return new SnapshotPinning(eligibility, clock, request, journal).pin();
    }

    @Override
    public void unmount(Pin pin) throws IOException {
        Optional<MountInfo> over = Pinned.over(pin);
        if (over.isEmpty()) {
            return;
        }
        // By another node, or as the disk of a loop device.
        int users = Pinned.isDevice(pin) ? Devices.users(pin.id()) : 0;
        if (users > 0) {
            throw new BusyException(
                    pin.target()
                            + " is in use: its device "
                            + Labels.device(pin.id())
                            + " is open ("
                            + users
                            + "), perhaps as a loop device (losetup --list) or mounted");
        }
        Pinned.unmount(pin, over.get());
    }

    @Override
    public Pin remount(Pin pin) throws IOException {
        if (Pinned.over(pin).isEmpty()) {
            Pinned.bindAgain(pin);
        }
        MountInfo mount =
                Pinned.over(pin)
                        .orElseThrow(
                                () ->
                                        new IOException(
                                                "the mount over " + pin.target() + " vanished"));
        return pin.with(Pin.MOUNT, Integer.toString(mount.id()));
    }

    @Override
    public boolean mounted(Pin pin) throws IOException {
        return Pinned.over(pin).isPresent();
    }

    @Override
    public boolean lingers(Pin pin) throws IOException {
        Pinned.tidy(pin);
        return Pinned.over(pin).isPresent() || Devices.users(pin.id()) > 0;
    }

    @Override
    public void discard(Pin pin) throws IOException {
        if (Pinned.over(pin).isPresent()) {
            throw new BusyException(
                    pin.target() + " is still mounted; not removing what is in RAM");
        }
        Pinned.tidy(pin);
        Devices.remove(pin.id());
        Store.remove(Pinned.directory(pin));
    }

    @Override
    public List<Stray> strays(FilePath pool, Set<String> recorded) throws IOException {
        Set<String> ids = new TreeSet<>();
        for (MountInfo m : Store.all(pool)) {
            ids.add(m.path().parent().name().raw());
        }
        ids.removeAll(recorded);
        List<Stray> strays = new ArrayList<>();
        for (String id : ids) {
            strays.add(
                    new Stray(
                            id,
                            Optional.empty(),
                            "there is no record of the pin with the device "
                                    + Labels.device(id)
                                    + " (dmsetup info "
                                    + Labels.device(id)
                                    + ")"));
        }
        return strays;
    }
}
