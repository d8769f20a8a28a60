package io.rampipe.linux;

import io.rampipe.api.FilePath;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Iterator;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Threads that may have been in the middle of a system call at one moment: those that ran, waited
 * for a processor, or were in an uninterruptible sleep. One of them may have looked a name up just
 * before something was mounted over it, and will change what is beneath the mount when it gets a
 * processor again, however late that is. Whoever asks again and again ({@link #remaining}) learns
 * when all of them are through, without disturbing any. One thread.
 *
 * <p>A thread is through when it
 *
 * <ul>
 *   <li>has ended, or waits for something that a signal would interrupt: nothing between the
 *       look-up of a name on a disk and what is done with it waits so, but for the break of a
 *       lease, whose holder can see that;
 *   <li>has had a processor for {@value #ENOUGH_NANOS} ns, a hundred times as long as such a call
 *       takes;
 *   <li>has been interrupted outside of a call, or on its way back from one;
 *   <li>sleeps in a call that changes nothing by name, such as {@code fsync(2)}, which may take
 *       long.
 * </ul>
 *
 * <p>States and run times are those of {@code proc_pid_stat(5)} and {@code
 * Documentation/scheduler/sched-stats.rst}. Kernel threads do not count, nor do this process and
 * its children.
 */
public final class InFlight {
    private static final long ENOUGH_NANOS = 3_000_000;

    /** PF_KTHREAD of {@code include/linux/sched.h}. */
    private static final long KERNEL_THREAD = 0x00200000;

    private static final FilePath TASK = FilePath.of("task");
    private static final FilePath STAT = FilePath.of("stat");
    private static final FilePath RUN_TIME = FilePath.of("schedstat");
    private static final FilePath STACK = FilePath.of("stack");
    private static final FilePath CALL = FilePath.of("syscall");
    private static final FilePath COMM = FilePath.of("comm");

    private static final String ARCHITECTURE = System.getProperty("os.arch");

    /**
     * Calls that look a name up and change what they find, or its directory ({@code syscalls(2)}),
     * by {@code os.arch}; io_uring's, too, and whatever has come after this was written.
     */
    private static final Map<String, Set<Integer>> CHANGES =
            Map.of(
                    "amd64",
                    // open, creat, link, unlink, symlink, rename, mkdir, rmdir, mknod, truncate,
                    // chmod, chown, lchown, utime, utimes, setxattr, removexattr; those with "at";
                    // bind, which makes sockets; execve, which makes a file unwritable.
                    Set.of(
                            2, 85, 86, 87, 88, 82, 83, 84, 133, 76, 90, 92, 94, 132, 235, 188, 189,
                            197, 198, 257, 258, 259, 260, 261, 263, 264, 265, 266, 268, 280, 316,
                            322, 49, 59, 426, 437, 452),
                    "aarch64",
                    Set.of(
                            56, 33, 34, 35, 36, 37, 38, 45, 53, 54, 88, 5, 6, 14, 15, 276, 200, 221,
                            281, 426, 437, 452));

    /**
     * The same for 32-bit programs on amd64. A few mean something else to others, which are waited
     * for in vain then.
     */
    private static final Set<Integer> CHANGES_32 =
            Set.of(
                    5, 8, 9, 10, 11, 14, 15, 30, 38, 39, 40, 83, 92, 182, 193, 198, 212, 226, 227,
                    235, 236, 271, 295, 296, 297, 298, 299, 301, 302, 303, 304, 306, 320, 353, 358,
                    361);

    private static final int FIRST_UNKNOWN = 463;

    // Fields of stat, from the third on.
    private static final int STATE = 0;
    private static final int PARENT = 1;
    private static final int FLAGS = 6;
    private static final int USER_TIME = 11;
    private static final int SYSTEM_TIME = 12;
    private static final int START = 19;

    private final Map<Integer, Seen> threads = new HashMap<>();
    private final ByteBuffer buffer = ByteBuffer.allocateDirect(8192);

    /** A thread as it was at the moment; its start tells it from a later one of that number. */
    private record Seen(int process, String start, long ran) {}

    private InFlight() {}

    /** All that may be in a system call now. */
    public static InFlight now() throws LinuxException {
        InFlight found = new InFlight();
        try (Fd proc = proc()) {
            for (int process : Processes.all(proc)) {
                found.add(proc, process);
            }
        }
        return found;
    }

    private void add(Fd proc, int process) throws LinuxException {
        if (process == LibC.getpid()) {
            return;
        }
        try (Fd dir = open(proc, process);
                Fd tasks = At.open(dir, TASK, At.O_RDONLY | At.O_DIRECTORY, 0)) {
            for (FilePath name : At.list(tasks)) {
                try (Fd task = At.open(tasks, name, At.O_PATH | At.O_DIRECTORY, 0)) {
                    String[] stat = stat(task);
                    if (Integer.parseInt(stat[PARENT]) == LibC.getpid()
                            || (Long.parseLong(stat[FLAGS]) & KERNEL_THREAD) != 0) {
                        return;
                    }
                    if (isBusy(task, stat)) {
                        Seen seen = new Seen(process, stat[START], ran(task, stat));
                        threads.put(Integer.parseInt(name.raw()), seen);
                    }
                } catch (LinuxException e) {
                    skipIfGone(e);
                }
            }
        } catch (LinuxException e) {
            skipIfGone(e);
        }
    }

    /**
     * Looks at those that have not been seen to be through.
     *
     * @return one of them, for people; empty if all are through
     */
    public Optional<String> remaining() throws LinuxException {
        try (Fd proc = proc()) {
            for (Iterator<Map.Entry<Integer, Seen>> i = threads.entrySet().iterator();
                    i.hasNext(); ) {
                Map.Entry<Integer, Seen> e = i.next();
                if (isThrough(proc, e.getKey(), e.getValue())) {
                    i.remove();
                }
            }
            return threads.isEmpty()
                    ? Optional.empty()
                    : Optional.of(describe(proc, threads.values().iterator().next().process()));
        }
    }

    private boolean isThrough(Fd proc, int thread, Seen seen) throws LinuxException {
        try (Fd task = open(proc, thread)) {
            String[] stat = stat(task);
            return !stat[START].equals(seen.start())
                    || !isBusy(task, stat)
                    || ran(task, stat) - seen.ran() >= ENOUGH_NANOS;
        } catch (LinuxException e) {
            skipIfGone(e);
            return true;
        }
    }

    private boolean isBusy(Fd task, String[] stat) throws LinuxException {
        return switch (stat[STATE]) {
            case "R" -> !isOutside(task);
            case "D" -> mayChange(task);
            default -> false;
        };
    }

    /**
     * Of one that runs, or would if it got a processor, for which something that has the lowest
     * priority may wait for long: whether it has been interrupted in user mode, or on its way back
     * there. Of one that has a processor now that is not known: the kernel unwinds the stacks of
     * others only ({@code arch/x86/kernel/unwind_orc.c}; elsewhere it may tell an old one).
     */
    private boolean isOutside(Fd task) throws LinuxException {
        if (!ARCHITECTURE.equals("amd64")) {
            return false;
        }
        try {
            String stack = read(task, STACK);
            return stack.contains("exit_to_user_mode")
                    || !stack.isBlank() && !stack.contains("syscall");
        } catch (LinuxException e) {
            // Not built into this kernel, or not allowed.
            if (e.is(Errno.ENOENT, Errno.EPERM, Errno.EACCES)) {
                return false;
            }
            throw e;
        }
    }

    /** Of one that sleeps. */
    private boolean mayChange(Fd task) throws LinuxException {
        Set<Integer> changes = CHANGES.get(ARCHITECTURE);
        String call;
        try {
            call = read(task, CALL).split(" ")[0].strip();
        } catch (LinuxException e) {
            // Not built into this kernel, or not allowed.
            if (e.is(Errno.ENOENT, Errno.EPERM, Errno.EACCES)) {
                return true;
            }
            throw e;
        }
        // Or "running", by now. -1: in no call, but a page fault, or on its way out.
        if (changes == null || !call.matches("-?[0-9]{1,5}")) {
            return true;
        }
        int number = Integer.parseInt(call);
        return changes.contains(number)
                || CHANGES_32.contains(number) && changes == CHANGES.get("amd64")
                || number >= FIRST_UNKNOWN;
    }

    /** Nanoseconds that it has had a processor. */
    private long ran(Fd task, String[] stat) throws LinuxException {
        try {
            return Long.parseLong(read(task, RUN_TIME).split(" ")[0]);
        } catch (LinuxException e) {
            if (!e.is(Errno.ENOENT)) {
                throw e;
            }
            // Without CONFIG_SCHED_INFO: user and system time in hundredths of a second.
            return (Long.parseLong(stat[USER_TIME]) + Long.parseLong(stat[SYSTEM_TIME]))
                    * 10_000_000;
        }
    }

    private String[] stat(Fd task) throws LinuxException {
        String text = read(task, STAT);
        String[] fields = text.substring(text.lastIndexOf(')') + 1).strip().split(" ");
        if (fields.length <= START) {
            throw new LinuxException("read", task.toString(), Errno.ESRCH);
        }
        return fields;
    }

    private String read(Fd task, FilePath name) throws LinuxException {
        try (Fd fd = At.open(task, name, At.O_RDONLY, 0)) {
            buffer.clear();
            byte[] bytes = new byte[Io.readFully(fd, buffer, 0)];
            buffer.flip();
            buffer.get(bytes);
            return new String(bytes, StandardCharsets.ISO_8859_1);
        }
    }

    private String describe(Fd proc, int process) throws LinuxException {
        String command = "?";
        try (Fd dir = open(proc, process)) {
            command = FilePath.ofRaw(read(dir, COMM).strip()).toString();
        } catch (LinuxException e) {
            skipIfGone(e);
        }
        return "process " + process + " (" + command + ")";
    }

    private static Fd open(Fd proc, int thread) throws LinuxException {
        return At.open(proc, FilePath.of(Integer.toString(thread)), At.O_PATH | At.O_DIRECTORY, 0);
    }

    private static Fd proc() throws LinuxException {
        return At.open(FilePath.of("/proc"), At.O_RDONLY | At.O_DIRECTORY);
    }

    private static void skipIfGone(LinuxException e) throws LinuxException {
        if (!e.is(Errno.ENOENT, Errno.ESRCH, Errno.ENOTDIR)) {
            throw e;
        }
    }
}
