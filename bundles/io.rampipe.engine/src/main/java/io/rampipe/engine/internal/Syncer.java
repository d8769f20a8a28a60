package io.rampipe.engine.internal;

import io.rampipe.api.BusyException;
import io.rampipe.api.Pin;
import io.rampipe.api.Units;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.MountWatch;
import java.io.IOException;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;
import org.osgi.service.log.FormatterLogger;

/**
 * Three threads. One writes back: checkpoints when their time has come, unpins what has cooled
 * down, unpins the coldest when memory is short. The other guards the pool: programs write into it
 * at the speed of memory, so it looks often, and only makes the pool larger or asks the first to
 * make room, which both return at once. The third does the same for pins that have RAM of their
 * own: it writes back what fills it before it is full, whatever the first is busy with.
 */
final class Syncer {
    private static final long SECOND = 1_000_000_000L;
    private static final long SHORTEST = 5_000_000L;
    private static final long GUARD_NANOS = 50_000_000L;

    /** The tmpfs may hold at most this much more than is in it or planned. */
    private static final long MOST_HEADROOM = 1L << 30;

    private final Supplier<Settings> settings;
    private final Keeper keeper;
    private final ThinPool pool;
    private final Runnable thaw;
    private final FormatterLogger log;
    private final Thread writer = new Thread(this::write, "rampipe-sync");
    private final Thread guard = new Thread(this::guard, "rampipe-pool");
    private final Thread relief = new Thread(this::relieve, "rampipe-relief");
    private volatile boolean stopped;
    private volatile boolean roomWanted;
    private boolean memoryWarned;
    private final Thrift thrift = new Thrift(System.nanoTime());

    /**
     * @param thaw called when a freeze has lasted as long as it may
     */
    Syncer(
            Supplier<Settings> settings,
            Keeper keeper,
            ThinPool pool,
            Runnable thaw,
            FormatterLogger log) {
        this.thaw = thaw;
        this.settings = settings;
        this.keeper = keeper;
        this.pool = pool;
        this.log = log;
    }

    void start() {
        writer.start();
        guard.start();
        relief.start();
    }

    /** Something changed: pins, strategies. */
    void wake() {
        LockSupport.unpark(writer);
        LockSupport.unpark(guard);
        LockSupport.unpark(relief);
    }

    Thread writerThread() {
        return writer;
    }

    Thread guardThread() {
        return guard;
    }

    void stop() throws InterruptedException {
        stopped = true;
        wake();
        writer.join();
        guard.join();
        relief.join();
    }

    private void write() {
        try (MountWatch mounts = new MountWatch()) {
            write(mounts);
        } catch (LinuxException e) {
            log.error("nothing is written back: %s", e.getMessage());
        }
    }

    private void write(MountWatch mounts) {
        while (!stopped) {
            try {
                if (changed(mounts)) {
                    keeper.mountsChanged();
                }
                if (keeper.thawDue()) {
                    thaw.run();
                }
                keeper.adopt();
                for (LivePin pin : keeper.pins()) {
                    if (stopped) {
                        return;
                    }
                    attend(pin);
                }
                if (roomWanted || memoryShort()) {
                    makeRoom();
                }
            } catch (RuntimeException e) {
                log.error("writing back failed; it goes on in a second", e);
            }
            if (stopped) {
                // The call that wakes this thread may have woken it while it waited for a lock.
                return;
            }
            long now = System.nanoTime();
            thrift.round(now);
            if (keeper.pins().isEmpty() && !keeper.frozen()) {
                LockSupport.parkNanos(this, thrift.untilNext(now));
            } else {
                LockSupport.parkNanos(this, untilNext());
            }
        }
    }

    private boolean changed(MountWatch mounts) {
        try {
            return mounts.changed();
        } catch (LinuxException e) {
            return true;
        }
    }

    /** A second, or less if a checkpoint is due before. */
    private long untilNext() {
        long now = System.nanoTime();
        long least = SECOND;
        for (LivePin pin : keeper.pins()) {
            if (pin.nextCheckpoint - now > 0) {
                least = Math.min(least, pin.nextCheckpoint - now);
            }
        }
        return Math.max(least, SHORTEST);
    }

    private void attend(LivePin pin) {
        Settings s = settings.get();
        long now = System.nanoTime();
        if (pin.state() == LivePin.State.ORPHANED) {
            return;
        }
        try {
            boolean unfinished = pin.record().step() == Pin.Step.UNMOUNTING;
            boolean cold =
                    pin.rate() <= s.unpinRate()
                            && now - pin.sinceNanos >= Math.max(s.minTime(), pin.grace);
            if (unfinished) {
                if (now - pin.nextUnpin >= 0) {
                    keeper.unpin(pin, "it was not finished before");
                } else if (pin.lingers && now - pin.nextCheckpoint >= 0) {
                    keeper.checkpoint(pin);
                }
            } else if (pin.record().attributes().containsKey(Pin.BYPASSED)
                    && now - pin.nextUnpin >= 0) {
                keeper.unpin(pin, "a program may have slipped past it");
            } else if (keeper.frozen() && now - pin.nextUnpin >= 0) {
                keeper.unpin(pin, "frozen");
            } else if (cold && !pin.manual() && now - pin.nextUnpin >= 0) {
                keeper.unpinAtRest(pin, String.format("cold, %.2f accesses/s", pin.rate()));
            } else if (now - pin.nextCheckpoint >= 0) {
                keeper.checkpoint(pin);
            }
        } catch (BusyException e) {
            log.debug("%s", e.getMessage());
        } catch (IOException e) {
            log.debug("%s: %s", pin, e.getMessage());
        } catch (RuntimeException e) {
            pin.nextCheckpoint = System.nanoTime() + keeper.interval(pin);
            pin.nextUnpin = pin.nextCheckpoint;
            log.error("syncback of " + pin + " failed unexpectedly; its data stays in RAM", e);
        }
    }

    private boolean memoryShort() {
        if (keeper.pins().isEmpty()) {
            return false;
        }
        Settings s = settings.get();
        long available;
        try {
            available = Memory.available();
        } catch (IOException e) {
            log.error("cannot tell how much memory is available: %s", e.getMessage());
            return false;
        }
        boolean now = available < s.memoryReserve() || Memory.pressure() >= s.memoryPressure();
        if (now && !memoryWarned) {
            log.warn(
                    "the machine is short of memory (%s available): unpinning the coldest",
                    Units.bytes(available));
        }
        memoryWarned = now;
        return now;
    }

    /** Coldest first, until it is enough or nothing more can go now. */
    private void makeRoom() {
        Settings s = settings.get();
        for (LivePin pin : keeper.coldestFirst()) {
            if (stopped || !memoryShort() && !full(s)) {
                break;
            }
            if (pin.state() == LivePin.State.ORPHANED || System.nanoTime() - pin.nextUnpin < 0) {
                continue;
            }
            try {
                keeper.unpin(pin, "makes room");
            } catch (IOException e) {
                log.debug("%s cannot make room: %s", pin, e.getMessage());
            }
        }
        roomWanted = full(s);
    }

    private boolean full(Settings s) {
        try {
            return keeper.crowded(s);
        } catch (IOException e) {
            log.error("cannot look at the thin pool: %s", e.getMessage());
            return false;
        }
    }

    private void guard() {
        while (!stopped) {
            if (keeper.pins().isEmpty()) {
                LockSupport.park(this);
                continue;
            }
            try {
                look();
            } catch (IOException e) {
                log.error(
                        "cannot look after the thin pool, trying again in a second: %s",
                        e.getMessage());
                LockSupport.parkNanos(this, SECOND);
            } catch (RuntimeException e) {
                log.error("looking after the thin pool failed; it goes on in a second", e);
                LockSupport.parkNanos(this, SECOND);
            }
            LockSupport.parkNanos(this, GUARD_NANOS);
        }
    }

    private void relieve() {
        while (!stopped) {
            boolean some = false;
            long now = System.nanoTime();
            for (LivePin pin : keeper.pins()) {
                if (pin.record().reserved() == 0) {
                    continue;
                }
                some = true;
                if (!stopped && now - pin.nextRelief >= 0 && keeper.pressed(pin)) {
                    relieve(pin);
                }
            }
            if (some) {
                LockSupport.parkNanos(this, GUARD_NANOS);
            } else {
                LockSupport.park(this);
            }
        }
    }

    private void relieve(LivePin pin) {
        try {
            keeper.checkpointNow(pin);
        } catch (IOException e) {
            log.debug("%s: %s", pin, e.getMessage());
        } catch (RuntimeException e) {
            log.error("syncback of " + pin + " failed unexpectedly; its data stays in RAM", e);
        }
        if (keeper.pressed(pin)) {
            pin.nextRelief = System.nanoTime() + SECOND;
        }
    }

    /** How much more the tmpfs may hold than is in it or planned. */
    static long headroom(Settings s) throws IOException {
        long spare = Math.max(0, (Memory.available() - s.memoryReserve()) / 2);
        return Math.min(MOST_HEADROOM, spare);
    }

    /**
     * Programs must not see ENOSPC while the disk has room, and they write a gigabyte in less time
     * than the guard may be kept from looking. So the tmpfs may always hold more than is planned
     * with: as much more as the machine can spare, up to a limit.
     */
    private void look() throws IOException {
        Settings s = settings.get();
        long used = pool.used();
        long headroom = headroom(s);
        long wanted = Math.max(used, s.poolSize()) + headroom;
        boolean shrinks = pool.limit() > wanted + headroom / 2;
        boolean grows = pool.limit() < wanted - headroom / 4;
        if (shrinks || grows) {
            pool.limit(Math.max(wanted, used));
        }
        if (keeper.crowded(s)) {
            if (!roomWanted) {
                log.warn(
                        "the thin pool holds %s of pool.size = %s: the coldest make room",
                        Units.bytes(keeper.used()), Units.bytes(s.poolSize()));
            }
            roomWanted = true;
            LockSupport.unpark(writer);
        }
    }
}
