package io.rampipe.linux;

import com.sun.jna.Memory;
import io.rampipe.api.FilePath;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.LockSupport;

/**
 * Holds processes still for a moment, as a debugger does ({@code ptrace(2)}, PTRACE_SEIZE and
 * PTRACE_INTERRUPT). Unlike SIGSTOP or a frozen cgroup this cannot outlive its owner: what a thread
 * traces runs on when that thread ends, however it ends, kill -9 included. So each freeze has a
 * thread of its own that does nothing but stop, wait and let go, at its deadline at the latest,
 * whatever everybody else is doing. It and the thread that owns the freeze ask for real-time
 * priority meanwhile, so that a busy machine does not make it longer.
 *
 * <p>What is interrupted in a system call goes on with it, but for the few calls that return EINTR
 * after any stop ({@code signal(7)}): {@code epoll_wait(2)}, {@code semop(2)}, sockets with a
 * time-out. The same happens with SIGSTOP and SIGCONT, or when strace is attached.
 *
 * <p>Never held are this process and its children (the Java VM waits for those, and would take a
 * stop for their end), process 1, kernel threads, and what is being traced already. Who is in an
 * uninterruptible sleep is not waited for. Best effort by nature: a freeze makes rest likely, and
 * whoever relies on it checks. One thread opens and closes it.
 */
public final class Freeze implements AutoCloseable {
    private static final int PTRACE_DETACH = 17;
    private static final int PTRACE_SEIZE = 0x4206;
    private static final int PTRACE_INTERRUPT = 0x4207;
    private static final int WNOHANG = 1;
    private static final int WNOTHREAD = 0x20000000;
    private static final int WALL = 0x40000000;
    private static final int SCHED_OTHER = 0;
    private static final int SCHED_RR = 2;

    /** PTRACE_EVENT_STOP, in the upper half of a stop's status. */
    private static final int EVENT_STOP = 128;

    /** In uninterruptible sleep for longer than this: it is not waited for. */
    private static final long SLEEPERS = 2_000_000L;

    private static final long NAP = 50_000L;

    private static final FilePath TASK = FilePath.of("task");
    private static final int NEVER = -1;

    private final Set<Integer> processes;
    private final Set<Integer> before;
    private final long limit;
    private final CountDownLatch ready = new CountDownLatch(1);
    private final Thread thread = new Thread(this::hold, "rampipe-freeze");

    /** Of each seized thread: the signal to hand on when it is let go; NEVER if it runs. */
    private final Map<Integer, Integer> seized = new LinkedHashMap<>();

    private final Set<Integer> refused = new HashSet<>();
    private final List<String> skipped = new ArrayList<>();
    private volatile boolean over;
    private volatile boolean released;
    private volatile long start;
    private volatile long deadline;
    private volatile long ended;

    private Freeze(Collection<Integer> processes, Set<Integer> before, Duration limit) {
        this.processes = new HashSet<>(processes);
        this.before = before;
        this.limit = limit.toNanos();
    }

    /**
     * What the calling thread does until it closes this comes before what other programs do, so
     * that the freeze is short: it gets real-time priority.
     */
    private static void hurry(boolean now) {
        if (now) {
            LibC.sched_setscheduler(0, SCHED_RR, priority(1));
        } else {
            LibC.sched_setscheduler(0, SCHED_OTHER, priority(0));
        }
    }

    private static Memory priority(int level) {
        Memory priority = new Memory(4);
        priority.setInt(0, level);
        return priority;
    }

    /**
     * Stops processes with all their threads and with what they give birth to meanwhile; returns
     * when they have stopped.
     *
     * @param limit after which they run on in any case
     */
    public static Freeze of(Collection<Integer> processes, Duration limit) throws LinuxException {
        Freeze freeze = new Freeze(processes, Processes.all(), limit);
        freeze.thread.setDaemon(true);
        freeze.thread.setPriority(Thread.MAX_PRIORITY);
        freeze.thread.start();
        boolean interrupted = false;
        while (true) {
            try {
                freeze.ready.await();
                break;
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        hurry(true);
        return freeze;
    }

    /** Whether nobody has been let go yet. */
    public boolean held() {
        return !over;
    }

    /** Threads that were stopped. */
    public int threads() {
        return (int) seized.values().stream().filter(s -> s != NEVER).count();
    }

    /** Who could not be stopped, and why; for people. */
    public List<String> skipped() {
        return skipped;
    }

    /** How long it has lasted so far, or lasted. */
    public Duration duration() {
        return Duration.ofNanos((ended == 0 ? System.nanoTime() : ended) - start);
    }

    /** Lets everybody go on; returns when that is done. Idempotent. */
    @Override
    public void close() {
        hurry(false);
        released = true;
        LockSupport.unpark(thread);
        boolean interrupted = false;
        while (thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    // On the thread of its own

    private void hold() {
        try {
            LibC.sched_setscheduler(0, SCHED_RR, priority(2));
            stopAll();
        } catch (LinuxException | RuntimeException e) {
            skipped.add(e.getMessage());
        } finally {
            ready.countDown();
        }
        while (!released && System.nanoTime() - deadline < 0) {
            LockSupport.parkNanos(this, Math.max(1, deadline - System.nanoTime()));
        }
        over = true;
        // Who has not stopped yet is let go by the kernel when this thread ends.
        seized.forEach(
                (thread, signal) -> {
                    if (signal != NEVER) {
                        LibC.ptrace(PTRACE_DETACH, thread, 0, signal);
                    }
                });
        ended = System.nanoTime();
    }

    private void stopAll() throws LinuxException {
        try (Fd proc = At.open(FilePath.of("/proc"), At.O_RDONLY | At.O_DIRECTORY)) {
            warmUp(proc);
            start = System.nanoTime();
            deadline = start + limit;
            // Then it goes on with those that have stopped.
            long give = start + limit / 2;
            do {
                awaitStops(proc, give);
            } while (seizeMore(proc) && System.nanoTime() - give < 0);
            awaitStops(proc, give);
        }
    }

    /** Loads the classes that are needed while others wait. */
    private static void warmUp(Fd proc) {
        Processes.birth(proc, LibC.getpid());
        LibC.wait4(LibC.getpid(), new Memory(4), WALL | WNOTHREAD | WNOHANG, null);
        LibC.ptrace(PTRACE_DETACH, LibC.getpid(), 0, 0);
        LinuxException.last("warm up", "");
    }

    /** Threads and children may have been born before their makers had stopped. */
    private boolean seizeMore(Fd proc) throws LinuxException {
        for (int process : Processes.all(proc)) {
            if (!before.contains(process) && !processes.contains(process)) {
                Processes.Birth birth = Processes.birth(proc, process);
                if (birth != null && processes.contains(birth.parent())) {
                    processes.add(process);
                }
            }
        }
        boolean more = false;
        for (int process : processes) {
            Processes.Birth birth = Processes.birth(proc, process);
            if (process <= 1
                    || process == LibC.getpid()
                    || birth == null
                    || birth.parent() == LibC.getpid()) {
                continue;
            }
            try (Fd tasks =
                    At.open(
                            proc,
                            FilePath.of(Integer.toString(process)).resolve(TASK),
                            At.O_RDONLY | At.O_DIRECTORY,
                            0)) {
                for (FilePath name : At.list(tasks)) {
                    more |= seize(process, Integer.parseInt(name.raw()));
                }
            } catch (LinuxException e) {
                if (!e.is(Errno.ENOENT, Errno.ESRCH, Errno.ENOTDIR)) {
                    throw e;
                }
            }
        }
        return more;
    }

    private boolean seize(int process, int thread) {
        if (seized.containsKey(thread) || refused.contains(thread)) {
            return false;
        }
        if (LibC.ptrace(PTRACE_SEIZE, thread, 0, 0) < 0) {
            int errno = LibC.errno();
            refused.add(thread);
            if (errno != Errno.ESRCH && thread == process) {
                skipped.add(
                        "process "
                                + process
                                + " cannot be held for a moment, perhaps because it is being debugged: "
                                + Errno.text(errno));
            }
            return false;
        }
        seized.put(thread, NEVER);
        LibC.ptrace(PTRACE_INTERRUPT, thread, 0, 0);
        return true;
    }

    private void awaitStops(Fd proc, long give) {
        Memory status = new Memory(4);
        long began = System.nanoTime();
        while (true) {
            boolean waiting = false;
            boolean patient = System.nanoTime() - began < SLEEPERS;
            for (Iterator<Map.Entry<Integer, Integer>> i = seized.entrySet().iterator();
                    i.hasNext(); ) {
                Map.Entry<Integer, Integer> e = i.next();
                if (e.getValue() != NEVER) {
                    continue;
                }
                int got = LibC.wait4(e.getKey(), status, WALL | WNOTHREAD | WNOHANG, null);
                int s = status.getInt(0);
                if (got == 0) {
                    waiting |= patient || !asleep(proc, e.getKey());
                } else if (got > 0 && (s & 0xff) == 0x7f) {
                    // Stopped on the way to a signal: that must not get lost.
                    e.setValue(s >> 16 == EVENT_STOP ? 0 : s >> 8 & 0xff);
                } else if (got > 0 || LibC.errno() != Errno.EINTR) {
                    // It has ended.
                    i.remove();
                }
            }
            if (!waiting || System.nanoTime() - give >= 0) {
                return;
            }
            LockSupport.parkNanos(this, NAP);
        }
    }

    /** In an uninterruptible sleep, or gone. */
    private static boolean asleep(Fd proc, int thread) {
        char state = Processes.state(proc, thread);
        return state == 'D' || state == 'Z' || state == 'X' || state == 0;
    }
}
