package com.example.small;

import io.rampipe.api.FilePath;
import io.rampipe.api.Pin;
import io.rampipe.api.PinStrategy;
import io.rampipe.api.Refusal.Cause;
import io.rampipe.api.RefusedException;
import io.rampipe.api.Target;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/**
 * A policy, not a way of pinning: only what can never come to more than a few megabytes is pinned,
 * and how is left to the strategy that ships. With {@code strategy.order = small} nothing else is.
 */
@Component(property = "rampipe.name=small")
public final class SmallStrategy implements PinStrategy {
    static final long MOST = 4 << 20;

    private final PinStrategy overlayfs;

    @Activate
    public SmallStrategy(@Reference(target = "(rampipe.name=overlayfs)") PinStrategy overlayfs) {
        this.overlayfs = overlayfs;
    }

    @Override
    public Optional<String> unusable() {
        return overlayfs.unusable();
    }

    @Override
    public Estimate examine(Target target, List<FilePath> hot) throws IOException {
        Estimate estimate = overlayfs.examine(target, hot);
        if (estimate.most() > MOST) {
            throw new RefusedException(
                    Cause.TOO_LARGE,
                    target + " could come to " + estimate.most() + " bytes in RAM, and only what"
                            + " stays below " + MOST + " is small");
        }
        return estimate;
    }

    @Override
    public Pin pin(PinRequest request, PinJournal journal) throws IOException {
        examine(request.target(), request.hot());
        return overlayfs.pin(request, journal);
    }

    @Override
    public void unmount(Pin pin) throws IOException {
        overlayfs.unmount(pin);
    }

    @Override
    public Pin remount(Pin pin) throws IOException {
        return overlayfs.remount(pin);
    }

    @Override
    public boolean mounted(Pin pin) throws IOException {
        return overlayfs.mounted(pin);
    }

    @Override
    public boolean lingers(Pin pin) throws IOException {
        return overlayfs.lingers(pin);
    }

    @Override
    public void discard(Pin pin) throws IOException {
        overlayfs.discard(pin);
    }

    /** Those without a record are found by the strategy that ships. */
    @Override
    public List<Stray> strays(FilePath pool, Set<String> recorded) {
        return List.of();
    }
}
