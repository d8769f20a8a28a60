package io.rampipe.demo;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import java.util.function.LongSupplier;

/** Follows the daemon by asking it again and again, and shows what it says. A thread of its own. */
final class Watch implements Runnable {
    private static final long POLL_NANOS = 150_000_000;
    private static final int SHOWN = 8;

    private final Client client;
    private final Screen screen;
    private final Path disk;
    private final Path expected;
    private final double pinRate;
    private final LongSupplier commits;
    private final Map<String, Client.Pinned> known = new HashMap<>();
    private final Map<String, String> refused = new HashMap<>();

    private volatile boolean over;
    private volatile String load = "";
    private volatile Exception failure;
    private volatile List<Client.Pinned> pins = List.of();
    private volatile double secondsToPin = Double.NaN;

    /** When the directory was last asked about and found below the threshold. */
    private long below = System.nanoTime();

    /**
     * @param expected the directory that should become pinned
     * @param commits counts the load's
     */
    Watch(
            Client client,
            Screen screen,
            Path disk,
            Path expected,
            double pinRate,
            LongSupplier commits) {
        this.client = client;
        this.screen = screen;
        this.disk = disk;
        this.expected = expected;
        this.pinRate = pinRate;
        this.commits = commits;
    }

    @Override
    public void run() {
        long drawn = System.nanoTime();
        long before = commits.getAsLong();
        try {
            while (!over) {
                long asked = System.nanoTime();
                List<Client.Hot> top = client.top();
                follow(asked, top, client.pins());
                long now = System.nanoTime();
                if (now - drawn >= 1_000_000_000L) {
                    long count = commits.getAsLong();
                    draw((count - before) * 1e9 / (now - drawn), top);
                    drawn = now;
                    before = count;
                }
                LockSupport.parkNanos(POLL_NANOS);
            }
        } catch (IOException | RuntimeException e) {
            failure = e;
        }
    }

    void stop() {
        over = true;
    }

    /** What the load does at present, for the picture. */
    void load(String what) {
        load = what;
    }

    /** Throws if the daemon can no longer be asked. */
    List<Client.Pinned> pins() throws IOException {
        if (failure != null) {
            throw new IOException("the daemon cannot be asked: " + failure.getMessage(), failure);
        }
        return pins;
    }

    boolean pinned() throws IOException {
        return pins().stream().anyMatch(this::covers);
    }

    /**
     * From the last time the directory was seen below the threshold until it was seen pinned: at
     * least what it took, at most two polls more.
     */
    double secondsToPin() {
        return secondsToPin;
    }

    private void follow(long asked, List<Client.Hot> top, List<Client.Pinned> now) {
        double rate = 0;
        for (Client.Hot hot : top) {
            if (hot.path().equals(expected.toString())) {
                rate = hot.rate();
            }
            if (hot.state().equals("refused")
                    && hot.directory()
                    && !hot.reason().equals(refused.put(hot.path(), hot.reason()))) {
                screen.news("refused  " + name(hot.path()) + ": " + hot.reason());
            }
        }
        if (rate < pinRate) {
            below = asked;
        }
        Map<String, Client.Pinned> gone = new HashMap<>(known);
        for (Client.Pinned pin : now) {
            gone.remove(pin.id());
            if (known.put(pin.id(), pin) == null) {
                boolean found = Double.isNaN(secondsToPin) && covers(pin);
                if (found) {
                    secondsToPin = (System.nanoTime() - below) / 1e9;
                }
                screen.news(
                        String.format(
                                "PINNED   %s with %s, %s in RAM%s",
                                name(pin.path()),
                                pin.strategy(),
                                Screen.bytes(pin.size()),
                                found
                                        ? String.format(
                                                "; %.1f s after it crossed %.1f accesses a second",
                                                secondsToPin, pinRate)
                                        : ""));
            }
        }
        for (Client.Pinned pin : gone.values()) {
            known.remove(pin.id());
            screen.news("UNPINNED " + name(pin.path()) + ", all of it is on disk");
        }
        pins = List.copyOf(now);
    }

    private boolean covers(Client.Pinned pin) {
        return expected.startsWith(Path.of(pin.path()));
    }

    private void draw(double rate, List<Client.Hot> top) {
        long size = 0;
        long dirty = 0;
        for (Client.Pinned pin : pins) {
            size += pin.size();
            dirty += pin.dirty();
        }
        StringBuilder line = new StringBuilder();
        line.append(String.format("%s %.0f commits/s", load, rate));
        List<String> table = new ArrayList<>();
        table.add("");
        table.add(String.format("  %-30s %9.0f commits/s", load, rate));
        table.add(
                String.format(
                        "  in RAM %-10s not yet on disk %s",
                        Screen.bytes(size), Screen.bytes(dirty)));
        table.add(String.format("  %-42s %9s  %s", "directory", "rate", "state"));
        int rows = 0;
        for (Client.Hot hot : top) {
            if (!hot.directory() || rows == SHOWN) {
                continue;
            }
            rows++;
            String state = hot.reason().isEmpty() ? hot.state() : hot.state() + ": " + hot.reason();
            table.add(
                    String.format(
                            "  %-42s %7.1f/s  %s",
                            name(hot.path()),
                            hot.rate(),
                            state.length() > 60 ? state.substring(0, 60) : state));
            if (rows <= 3) {
                line.append(
                        String.format(
                                " | %s %.1f/s %s", name(hot.path()), hot.rate(), hot.state()));
            }
        }
        if (size > 0) {
            line.append(
                    String.format(
                            " | RAM %s, %s not on disk", Screen.bytes(size), Screen.bytes(dirty)));
        }
        screen.picture(line.toString(), table);
    }

    private String name(String path) {
        Path all = Path.of(path);
        return all.startsWith(disk) && !all.equals(disk) ? disk.relativize(all).toString() : path;
    }
}
