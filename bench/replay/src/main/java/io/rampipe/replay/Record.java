package io.rampipe.replay;

import io.rampipe.api.Access;
import io.rampipe.api.AccessEvent;
import io.rampipe.api.AccessListener;
import io.rampipe.api.EventSource;
import io.rampipe.api.FilePath;
import io.rampipe.linux.Fd;
import io.rampipe.linux.LinuxException;
import io.rampipe.linux.Stat;
import io.rampipe.tck.Defaults;
import io.rampipe.tck.Recorder;
import java.io.IOException;
import java.lang.reflect.Constructor;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;

/** Records what happens to files while a command runs, or for some time. */
public final class Record implements AccessListener {
    private static final String USAGE =
            """
            Usage: record [OPTION]... FILE [--] COMMAND [ARGUMENT]...
                   record [OPTION]... --for SECONDS FILE

            Records the accesses below some directories to FILE while COMMAND runs (or for
            SECONDS, or until it is stopped by SIGINT), as RamPipe's event source reports them,
            every 50 ms. It needs root. FILE is gzip; bench/replay/src/main/java/io/rampipe/replay/TraceFormat.java
            tells the format. It holds no data of files, and no names unless they are asked for.

              --watch DIRECTORY  below which; may be given again. The current one if not given
              --source NAME      fanotify or inotify; fanotify if not given
              --opens, --reads   record these too
              --names            keep the names of files and directories
              --for SECONDS      how long
            """;

    private static final long TICK = Duration.ofMillis(50).toNanos();
    private static final long SIZE_PAUSE = Duration.ofSeconds(1).toNanos();

    /** A file that was accessed. */
    private static final class Known {
        private final int number;
        private final AccessEvent.Location location;
        private long size = -1;
        private long looked = Long.MIN_VALUE;
        private boolean touched;

        Known(int number, AccessEvent.Location location) {
            this.number = number;
            this.location = location;
        }
    }

    private record Event(int file, int kinds, double scale) {}

    private final List<FilePath> roots;
    private final boolean names;
    private final TraceWriter out;
    private final Map<Long, Known> files = new HashMap<>();

    /** Numbers; -1 for what is outside. */
    private final Map<Long, Integer> directories = new HashMap<>();

    private final Map<FilePath, Integer> paths = new HashMap<>();

    private final List<Event> tick = new ArrayList<>();
    private final List<Known> touched = new ArrayList<>();
    private final List<Long> unwanted = new ArrayList<>();
    private long last = System.nanoTime();
    private long events;
    private int overflows;

    private Record(List<FilePath> roots, boolean names, TraceWriter out) {
        this.roots = roots;
        this.names = names;
        this.out = out;
    }

    public static void main(String[] args) throws Exception {
        List<FilePath> roots = new ArrayList<>();
        Map<String, Object> config = new HashMap<>();
        String source = "fanotify";
        boolean names = false;
        long seconds = 0;
        int i = 0;
        for (; i < args.length && args[i].startsWith("--"); i++) {
            switch (args[i]) {
                case "--watch" ->
                        roots.add(FilePath.of(Path.of(args[++i]).toRealPath().toString()));
                case "--source" -> source = args[++i];
                case "--opens" -> config.put("watch_opens", true);
                case "--reads" -> config.put("watch_reads", true);
                case "--names" -> names = true;
                case "--for" -> seconds = Long.parseLong(args[++i]);
                case "--help" -> {
                    System.out.print(USAGE);
                    return;
                }
                default -> fail("unknown option " + args[i]);
            }
        }
        List<String> rest = new ArrayList<>(List.of(args).subList(i, args.length));
        if (rest.isEmpty()) {
            fail("no FILE is given; see --help");
        }
        Path file = Path.of(rest.remove(0));
        rest.remove("--");
        if (rest.isEmpty() && seconds == 0) {
            fail("neither a command nor --for is given; see --help");
        }
        if (roots.isEmpty()) {
            roots.add(FilePath.of(Path.of("").toRealPath().toString()));
        }
        EventSource events = source(source, config);
        Optional<String> why = events.unusable();
        if (why.isPresent()) {
            fail(why.get());
        }
        try (TraceWriter out = new TraceWriter(file);
                EventSource.Session session = events.open()) {
            session.watch(roots);
            Record record = new Record(roots, names, out);
            int status = record.run(session, rest, seconds);
            System.err.printf(
                    "record: %d events of %d files in %d directories, queue overflows: %d, in %s%n",
                    record.events,
                    record.files.size(),
                    record.directories.values().stream().filter(n -> n >= 0).count(),
                    record.overflows,
                    file);
            if (status != 0) {
                fail("the command has exit status " + status);
            }
        } catch (IOException e) {
            fail(e.getMessage());
        }
    }

    private static void fail(String why) {
        System.err.println("record: " + why);
        System.exit(1);
    }

    /** A source as its bundle would make it. */
    private static EventSource source(String name, Map<String, Object> config) throws Exception {
        String type = Character.toUpperCase(name.charAt(0)) + name.substring(1) + "Source";
        Class<?> component;
        try {
            component = Class.forName("io.rampipe.source." + name + ".internal." + type);
        } catch (ClassNotFoundException e) {
            fail("there is no event source " + name);
            throw e;
        }
        Constructor<?> constructor = component.getConstructors()[0];
        return (EventSource)
                constructor.newInstance(
                        Defaults.of(constructor.getParameterTypes()[0], config), Recorder.SILENT);
    }

    private int run(EventSource.Session session, List<String> command, long seconds)
            throws IOException, InterruptedException {
        boolean[] stopped = {false};
        Thread main = Thread.currentThread();
        Runtime.getRuntime()
                .addShutdownHook(
                        new Thread(
                                () -> {
                                    stopped[0] = true;
                                    session.wake();
                                    try {
                                        main.join(Duration.ofSeconds(10).toMillis());
                                    } catch (InterruptedException e) {
                                        Thread.currentThread().interrupt();
                                    }
                                }));
        Process process =
                command.isEmpty() ? null : new ProcessBuilder(command).inheritIO().start();
        long end = System.nanoTime() + Duration.ofSeconds(seconds).toNanos();
        last = System.nanoTime();
        while (!stopped[0]) {
            boolean over =
                    process == null
                            ? System.nanoTime() - end >= 0
                            : !process.isAlive() || seconds > 0 && System.nanoTime() - end >= 0;
            if (session.await(TICK)) {
                LockSupport.parkNanos(TICK);
                session.drain(this);
                flush();
                unwanted.forEach(session::ignore);
                unwanted.clear();
            }
            if (over) {
                break;
            }
        }
        out.end((System.nanoTime() - last) / 1_000_000);
        if (process == null || stopped[0]) {
            return 0;
        }
        process.destroy();
        return seconds > 0 ? 0 : process.waitFor();
    }

    @Override
    public void access(AccessEvent e) {
        try {
            Known known = files.get(e.file());
            if (known == null) {
                int directory = directory(e);
                if (directory < 0) {
                    return;
                }
                AccessEvent.Location location = e.locate();
                known =
                        new Known(
                                out.file(directory, names ? location.name().bytes() : new byte[0]),
                                location);
                files.put(e.file(), known);
            }
            tick.add(new Event(known.number, e.kinds(), e.scale()));
            if (!known.touched && (e.kinds() & (Access.DIRECTORY | Access.DISAPPEAR)) == 0) {
                known.touched = true;
                touched.add(known);
            }
        } catch (IOException x) {
            throw new java.io.UncheckedIOException(x);
        }
    }

    private int directory(AccessEvent e) throws IOException {
        Integer number = directories.get(e.directory());
        if (number == null) {
            Optional<FilePath> path = e.locate().directory();
            boolean inside =
                    path.isPresent() && roots.stream().anyMatch(r -> r.contains(path.get()));
            if (path.isPresent() && !inside) {
                unwanted.add(e.directory());
            }
            if (inside) {
                number = directory(path.get());
            } else {
                // One that is gone already: it counts, for it may have been inside.
                number = path.isPresent() ? -1 : out.directory(-1, new byte[0]);
            }
            directories.put(e.directory(), number);
        }
        return number;
    }

    /** Number of a directory by its path; those that it is in have one too. */
    private int directory(FilePath path) throws IOException {
        Integer number = paths.get(path);
        if (number == null) {
            int parent = roots.contains(path) ? -1 : directory(path.parent());
            number = out.directory(parent, names ? path.bytes() : new byte[0]);
            paths.put(path, number);
        }
        return number;
    }

    @Override
    public void overflow() {
        overflows++;
    }

    private void flush() throws IOException {
        long now = System.nanoTime();
        for (Known known : touched) {
            known.touched = false;
            if (now - known.looked >= SIZE_PAUSE || known.size < 0) {
                known.looked = now;
                size(known);
            }
        }
        touched.clear();
        if (tick.isEmpty()) {
            return;
        }
        long millis = (now - last) / 1_000_000;
        last += millis * 1_000_000;
        out.tick(millis, tick.size());
        for (Event e : tick) {
            out.event(e.file(), e.kinds(), e.scale());
        }
        events += tick.size();
        tick.clear();
    }

    private void size(Known known) throws IOException {
        Optional<FilePath> directory = known.location.directory();
        if (directory.isEmpty()) {
            return;
        }
        try {
            Stat stat = Stat.at(Fd.CWD, directory.get().resolve(known.location.name()));
            if (stat.isRegular() && stat.size() != known.size) {
                known.size = stat.size();
                out.size(known.number, known.size);
            }
        } catch (LinuxException e) {
            // Gone meanwhile: its size is what it was.
            known.looked = System.nanoTime();
        }
    }
}
