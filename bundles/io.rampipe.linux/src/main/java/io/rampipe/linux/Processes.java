package io.rampipe.linux;

import io.rampipe.api.FilePath;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.LongPredicate;

/**
 * Who uses a directory or a mount, from {@code /proc} ({@code proc_pid_fd(5)}, {@code
 * proc_pid_cwd(5)}, {@code proc_pid_map_files(5)}). Best effort by nature: processes come and go
 * while one looks, one that vanishes is skipped, and a descriptor on its way through a socket or
 * registered with io_uring is in no table.
 */
public final class Processes {
    private static final FilePath CWD = FilePath.of("cwd");
    private static final FilePath ROOT = FilePath.of("root");
    private static final FilePath FD = FilePath.of("fd");
    private static final FilePath TASK = FilePath.of("task");
    private static final FilePath MAP_FILES = FilePath.of("map_files");
    private static final FilePath COMM = FilePath.of("comm");

    /** In the mode of a link in {@code /proc/PID/fd}: it is open for writing. */
    private static final int WRITABLE = 0200;

    private static final FilePath UP = FilePath.of("..");

    /** Nobody nests directories deeper; a bound against surprises. */
    private static final int MOST_LEVELS = 10_000;

    private Processes() {}

    /**
     * A process and what it holds.
     *
     * @param command its name, safe to print
     * @param what such as {@code "working directory"} or {@code "descriptor 5"}
     * @param path what it holds, as the kernel names it for that process now; empty if it is gone
     */
    public record Holder(int pid, String command, String what, FilePath path) {
        @Override
        public String toString() {
            return "process "
                    + pid
                    + " ("
                    + command
                    + ", "
                    + what
                    + (path.isEmpty() ? "" : " " + path)
                    + ")";
        }
    }

    /** What one looks for; decides by what {@code stat} tells of each thing that is held. */
    @FunctionalInterface
    private interface Search {
        boolean matches(Fd dir, FilePath link, Stat held) throws LinuxException;
    }

    /**
     * Other processes that stand in a directory or below it (working directory, root), hold a
     * directory there open, or have one of the given files open. Goes by identity, so it finds
     * those that came there before something was mounted over it, too.
     *
     * @param directory open, O_PATH will do
     * @param files inode numbers of files on the same file system that count as well
     * @param most stop after so many
     */
    public static List<Holder> inside(Fd directory, LongPredicate files, int most)
            throws IOException {
        Stat target = Stat.of(directory);
        Map<Long, Boolean> known = new HashMap<>();
        return scan(
                false,
                false,
                most,
                (dir, link, held) -> {
                    if (held.device() != target.device()) {
                        return false;
                    }
                    if (!held.isDirectory()) {
                        return files.test(held.inode());
                    }
                    Boolean answer = known.get(held.inode());
                    if (answer == null) {
                        answer = isBelow(dir, link, target);
                        known.put(held.inode(), answer);
                    }
                    return answer;
                });
    }

    /**
     * Other processes that have one file open, O_PATH included.
     *
     * @param file what it is, by device and inode number
     * @param mappings look for files that are only mapped, too, which takes longer
     */
    public static List<Holder> using(Stat file, boolean mappings, int most) throws IOException {
        return scan(false, mappings, most, (dir, link, held) -> held.sameFile(file));
    }

    /**
     * Processes, this one included, that keep one of these mounts busy: stand in it, have a file of
     * it open or mapped.
     *
     * @param mounts ids as in {@link Stat#mount}
     */
    public static List<Holder> onMounts(Set<Long> mounts, int most) throws IOException {
        return scan(true, true, most, (dir, link, held) -> mounts.contains(held.mount()));
    }

    /**
     * Other processes that can change something on these mounts at this moment: stand in them, have
     * a directory of them open, or a file for writing. (Not those that have a file only mapped.)
     *
     * @param mounts ids as in {@link Stat#mount}
     */
    public static List<Holder> writing(Set<Long> mounts, int most) throws IOException {
        return scan(
                false,
                false,
                most,
                (dir, link, held) ->
                        mounts.contains(held.mount())
                                && (held.isDirectory()
                                        || (Stat.at(dir, link).mode() & WRITABLE) != 0));
    }

    /**
     * When a process began.
     *
     * @param parent its parent at present
     * @param start clock ticks (a hundredth of a second) since the machine started
     */
    public record Birth(int parent, long start) {}

    /** Null if there is no such process. */
    public static Birth birth(int pid) throws LinuxException {
        try (Fd proc = proc()) {
            return birth(proc, pid);
        }
    }

    /** Now, in the ticks of {@link Birth}. */
    public static long ticks() throws LinuxException {
        ByteBuffer buffer = ByteBuffer.allocateDirect(64);
        try (Fd uptime = At.open(FilePath.of("/proc/uptime"), At.O_RDONLY)) {
            byte[] bytes = new byte[Io.readFully(uptime, buffer, 0)];
            buffer.flip();
            buffer.get(bytes);
            String text = new String(bytes, StandardCharsets.ISO_8859_1);
            return (long) (Double.parseDouble(text.split(" ")[0]) * 100);
        }
    }

    static Birth birth(Fd proc, int pid) {
        String[] fields = stat(proc, pid);
        // proc_pid_stat(5): 4 is the parent, 22 the start; the first two are cut off.
        return fields.length < 20
                ? null
                : new Birth(Integer.parseInt(fields[1]), Long.parseLong(fields[19]));
    }

    /** As in {@code proc_pid_stat(5)}; 0 if there is no such thread. */
    static char state(Fd proc, int thread) {
        String[] fields = stat(proc, thread);
        return fields.length == 0 || fields[0].isEmpty() ? 0 : fields[0].charAt(0);
    }

    private static String[] stat(Fd proc, int thread) {
        ByteBuffer buffer = ByteBuffer.allocateDirect(1024);
        try (Fd stat = At.open(proc, FilePath.of(thread + "/stat"), At.O_RDONLY, 0)) {
            byte[] bytes = new byte[Io.readFully(stat, buffer, 0)];
            buffer.flip();
            buffer.get(bytes);
            String text = new String(bytes, StandardCharsets.ISO_8859_1);
            return text.substring(text.lastIndexOf(')') + 2).split(" ");
        } catch (LinuxException | IndexOutOfBoundsException e) {
            return new String[0];
        }
    }

    /** Every process that there is. */
    static Set<Integer> all() throws LinuxException {
        try (Fd proc = proc()) {
            return all(proc);
        }
    }

    static Set<Integer> all(Fd proc) throws LinuxException {
        Set<Integer> all = new HashSet<>();
        for (FilePath name : At.list(proc)) {
            int pid = number(name);
            if (pid > 0) {
                all.add(pid);
            }
        }
        return all;
    }

    private static Fd proc() throws LinuxException {
        return At.open(FilePath.of("/proc"), At.O_RDONLY | At.O_DIRECTORY);
    }

    /** Walks up; a directory that was removed still knows its parent. */
    private static boolean isBelow(Fd dir, FilePath link, Stat target) throws LinuxException {
        Fd here = At.open(dir, link, At.O_PATH | At.O_DIRECTORY, 0);
        try {
            Stat now = Stat.of(here);
            for (int level = 0; level < MOST_LEVELS; level++) {
                if (now.sameFile(target)) {
                    return true;
                }
                if (now.device() != target.device()) {
                    return false;
                }
                Fd up = At.open(here, UP, At.O_PATH | At.O_DIRECTORY, 0);
                here.close();
                here = up;
                Stat next = Stat.of(here);
                if (next.sameFile(now) && next.mount() == now.mount()) {
                    return false;
                }
                now = next;
            }
            return false;
        } finally {
            here.close();
        }
    }

    private static List<Holder> scan(boolean self, boolean maps, int most, Search search)
            throws IOException {
        List<Holder> found = new ArrayList<>();
        int own = LibC.getpid();
        try (Fd proc = At.open(FilePath.of("/proc"), At.O_RDONLY | At.O_DIRECTORY)) {
            for (FilePath name : At.list(proc)) {
                int pid = number(name);
                if (pid < 0 || pid == own && !self) {
                    continue;
                }
                if (found.size() >= most) {
                    return found;
                }
                try (Fd process = At.open(proc, name, At.O_PATH | At.O_DIRECTORY, 0)) {
                    Holder holder = look(pid, process, maps, search);
                    if (holder != null) {
                        found.add(holder);
                    }
                } catch (LinuxException e) {
                    skipIfGone(e);
                }
            }
        }
        return found;
    }

    /** The first thing of this process that matches, or null. */
    private static Holder look(int pid, Fd process, boolean maps, Search search)
            throws LinuxException {
        if (matches(process, CWD, search)) {
            return holder(pid, process, "working directory", process, CWD);
        }
        if (matches(process, ROOT, search)) {
            return holder(pid, process, "root directory", process, ROOT);
        }
        try (Fd fds = At.open(process, FD, At.O_RDONLY | At.O_DIRECTORY, 0)) {
            for (FilePath fd : At.list(fds)) {
                if (matches(fds, fd, search)) {
                    return holder(pid, process, "descriptor " + fd, fds, fd);
                }
            }
        }
        // A thread may have a working directory of its own (unshare(2), CLONE_FS).
        try (Fd tasks = At.open(process, TASK, At.O_RDONLY | At.O_DIRECTORY, 0)) {
            for (FilePath id : At.list(tasks)) {
                if (number(id) == pid) {
                    continue;
                }
                try (Fd task = At.open(tasks, id, At.O_PATH | At.O_DIRECTORY, 0)) {
                    if (matches(task, CWD, search)) {
                        return holder(pid, process, "a thread's working directory", task, CWD);
                    }
                    if (matches(task, ROOT, search)) {
                        return holder(pid, process, "a thread's root directory", task, ROOT);
                    }
                } catch (LinuxException e) {
                    skipIfGone(e);
                }
            }
        }
        if (maps) {
            try (Fd mapped = At.open(process, MAP_FILES, At.O_RDONLY | At.O_DIRECTORY, 0)) {
                for (FilePath range : At.list(mapped)) {
                    if (matches(mapped, range, search)) {
                        return holder(pid, process, "a mapping of", mapped, range);
                    }
                }
            }
        }
        return null;
    }

    private static boolean matches(Fd dir, FilePath link, Search search) throws LinuxException {
        try {
            return search.matches(dir, link, Stat.behind(dir, link));
        } catch (LinuxException e) {
            skipIfGone(e);
            return false;
        }
    }

    private static Holder holder(int pid, Fd process, String what, Fd dir, FilePath link) {
        String command = "?";
        FilePath path = FilePath.of("");
        try {
            path = At.readLink(dir, link);
            command = command(process);
        } catch (LinuxException e) {
            // It went away meanwhile; what is known is enough.
        }
        return new Holder(pid, command, what, path);
    }

    private static String command(Fd process) throws LinuxException {
        ByteBuffer buffer = ByteBuffer.allocateDirect(64);
        try (Fd comm = At.open(process, COMM, At.O_RDONLY, 0)) {
            int n = Io.readFully(comm, buffer, 0);
            byte[] bytes = new byte[n];
            buffer.flip();
            buffer.get(bytes);
            int length = n > 0 && bytes[n - 1] == '\n' ? n - 1 : n;
            return FilePath.ofBytes(bytes, 0, length).toString();
        }
    }

    /** A process may end, and close or protect what it has, at any moment; kernel threads too. */
    private static void skipIfGone(LinuxException e) throws LinuxException {
        if (!e.is(
                Errno.ENOENT,
                Errno.ESRCH,
                Errno.EACCES,
                Errno.EPERM,
                Errno.ENOTDIR,
                Errno.ESTALE,
                Errno.EINVAL)) {
            throw e;
        }
    }

    private static int number(FilePath name) {
        String text = name.raw();
        int n = 0;
        for (int i = 0; i < text.length(); i++) {
            int digit = text.charAt(i) - '0';
            if (digit < 0 || digit > 9) {
                return -1;
            }
            n = n * 10 + digit;
        }
        return n;
    }
}
