package io.rampipe.engine.internal;

import io.rampipe.api.BusyException;
import io.rampipe.api.Pin;
import io.rampipe.api.Units;
import java.io.IOException;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;
import org.osgi.service.log.FormatterLogger;

/**
 * Two threads. One writes back: checkpoints when their time has come, unpins what has cooled down,
 * unpins the coldest when memory is short. The other guards the pool: programs write into it at the
 * speed of memory, so it looks often, and only makes the pool larger or asks the first to make
 * room, which both return at once.
 */
final class Syncer {
    private static final long SECOND = 1_000_000_000L;
    private static final long GUARD_NANOS = 50_000_000L;

    /** The pool is enlarged in steps of this share of its configured size. */
    private static final int GROWTH_SHARE = 4;

    private final Supplier<Settings> settings;
    private final Keeper keeper;
    private final ThinPool pool;
    private final FormatterLogger log;
    private final Thread writer = new Thread(this::write, "rampipe-sync");
    private final Thread guard = new Thread(this::guard, "rampipe-pool");
    private volatile boolean stopped;
    private volatile boolean roomWanted;
    private boolean memoryWarned;

    Syncer(Supplier<Settings> settings, Keeper keeper, ThinPool pool, FormatterLogger log) {
        this.settings = settings;
        this.keeper = keeper;
        this.pool = pool;
        this.log = log;
    }

    void start() {
        writer.start();
        guard.start();
    }

    /** Something changed: pins, strategies. */
    void wake() {
        LockSupport.unpark(writer);
        LockSupport.unpark(guard);
    }

    void stop() throws InterruptedException {
        stopped = true;
        wake();
        writer.join();
        guard.join();
    }

    private void write() {
        while (!stopped) {
            try {
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
            if (keeper.pins().isEmpty()) {
                LockSupport.park(this);
            } else {
                LockSupport.parkNanos(this, SECOND);
            }
        }
    }

    private void attend(LivePin pin) {
        Settings s = settings.get();
        long now = System.nanoTime();
        if (pin.state() == LivePin.State.ORPHANED) {
            return;
        }
        try {
            boolean cold = pin.rate() <= s.unpinRate() && now - pin.sinceNanos >= s.minTime();
            if (pin.record().attributes().containsKey(Pin.BYPASSED) && now - pin.nextUnpin >= 0) {
                keeper.unpin(pin, "a program had slipped past it while it was pinned");
            } else if (cold && !pin.manual() && now - pin.nextUnpin >= 0) {
                keeper.unpin(pin, String.format("cold, %.2f accesses/s", pin.rate()));
            } else if (now - pin.nextCheckpoint >= 0) {
                keeper.checkpoint(pin);
            }
        } catch (BusyException e) {
            log.debug("%s", e.getMessage());
        } catch (IOException e) {
            log.debug("%s: %s", pin, e.getMessage());
        } catch (RuntimeException e) {
            pin.nextCheckpoint = System.nanoTime() + settings.get().checkpointInterval();
            pin.nextUnpin = pin.nextCheckpoint;
            log.error("syncback of " + pin + " failed unexpectedly; its data stays in RAM", e);
        }
    }

    private boolean memoryShort() {
        if (keeper.pins().isEmpty()) {
            return false;
        }
        Settings s = settings.get();
        boolean now =
                Memory.available() < s.memoryReserve() || Memory.pressure() >= s.memoryPressure();
        if (now && !memoryWarned) {
            log.warn(
                    "the machine is short of memory (%s available): unpinning the coldest",
                    Units.bytes(Memory.available()));
        }
        memoryWarned = now;
        return now;
    }

    /** Coldest first, until it is enough or nothing more can go now. */
    private void makeRoom() {
        Settings s = settings.get();
        for (LivePin pin : keeper.coldestFirst()) {
            if (stopped || !memoryShort() && !full(s, s.poolSize())) {
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
        roomWanted = full(s, s.poolSize());
    }

    private boolean full(Settings s, long size) {
        try {
            return pool.used() > size * s.highWater();
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
                log.error("cannot resize the thin pool: %s", e.getMessage());
                LockSupport.parkNanos(this, SECOND);
            }
            LockSupport.parkNanos(this, GUARD_NANOS);
        }
    }

    /**
     * Programs must not see ENOSPC while the disk has room: the pool grows ahead of them, as long
     * as the machine has memory.
     */
    private void look() throws IOException {
        Settings s = settings.get();
        if (full(s, pool.size())) {
            long step = s.poolSize() / GROWTH_SHARE;
            long room = Memory.available() - s.memoryReserve() - (pool.size() - pool.used());
            if (room >= step) {
                if (pool.size() <= s.poolSize()) {
                    log.warn(
                            "programs write more into pinned files than was planned: the thin pool grows beyond pool.size ="
                                    + " %s for a while, and the coldest make room",
                            Units.bytes(s.poolSize()));
                }
                pool.resize(pool.size() + Math.min(room, Math.max(step, pool.used() / 2)));
            }
            roomWanted = true;
            LockSupport.unpark(writer);
        } else if (pool.size() != s.poolSize() && pool.used() < s.poolSize() * s.highWater()) {
            pool.resize(s.poolSize());
            log.info("the thin pool is back at %s", Units.bytes(s.poolSize()));
        }
    }
}
