package io.rampipe.demo;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.concurrent.TimeUnit;

/**
 * A directory such as a browser keeps: two SQLite databases, a file of preferences that is replaced
 * by rename, a cache of files that come and go. Used in bursts, between which no file is open, as a
 * short-lived program would: only then can a directory be pinned or unpinned. One thread.
 */
final class Profile {
    /** Cookies there are; the number of a change modulo this says which one it is about. */
    static final int COOKIES = 200;

    /** Files that the cache keeps. */
    static final int CACHED = 32;

    static final String PLACES = "places.sqlite";
    static final String COOKIE_STORE = "cookies.sqlite";
    static final String PREFERENCES = "prefs.js";
    static final String CACHE = "cache2/entries";

    private static final int VISITS_PER_COOKIE = 16;
    private static final int BURSTS_PER_SAVE = 8;
    private static final int BURSTS_PER_CACHED = 12;

    final Path directory;
    final Ledger.Stream visits;
    final Ledger.Stream cookies;
    final Ledger.Stream saves;
    final Ledger.Stream cached;
    private int bursts;

    /**
     * @param ledger belongs to this profile alone
     */
    Profile(Path directory, Ledger ledger) {
        this.directory = directory;
        this.visits = ledger.stream(0);
        this.cookies = ledger.stream(1);
        this.saves = ledger.stream(2);
        this.cached = ledger.stream(3);
    }

    /** Makes the directory with some history in it. */
    void create(int history) throws IOException, SQLException {
        Files.createDirectories(directory.resolve(CACHE));
        try (Connection places = open(PLACES);
                Statement sql = places.createStatement()) {
            sql.execute("CREATE TABLE visits(id INTEGER PRIMARY KEY, url TEXT, title TEXT)");
            places.setAutoCommit(false);
            try (PreparedStatement visit = places.prepareStatement(Sql.VISIT)) {
                for (long i = 1; i <= visits.beginTo(history); i++) {
                    Sql.visit(visit, i);
                }
            }
            places.commit();
            visits.acknowledge(history);
        }
        try (Connection store = open(COOKIE_STORE);
                Statement sql = store.createStatement()) {
            sql.execute("PRAGMA journal_mode = WAL");
            sql.execute("CREATE TABLE cookies(slot INTEGER PRIMARY KEY, seq INTEGER, value TEXT)");
        }
        save();
        for (int i = 0; i < CACHED; i++) {
            cache();
        }
    }

    /**
     * Opens the databases, commits one change after another until the time or the number is up, and
     * closes them.
     */
    Burst burst(long millis, int most) throws IOException, SQLException {
        long start = System.nanoTime();
        long end = start + TimeUnit.MILLISECONDS.toNanos(millis);
        int commits = 0;
        try (Connection places = open(PLACES);
                Connection store = open(COOKIE_STORE);
                PreparedStatement visit = places.prepareStatement(Sql.VISIT);
                PreparedStatement cookie = store.prepareStatement(Sql.COOKIE)) {
            while (commits < most && System.nanoTime() - end < 0) {
                long number = visits.begin();
                Sql.visit(visit, number);
                visits.acknowledge(number);
                commits++;
                if (number % VISITS_PER_COOKIE == 0) {
                    number = cookies.begin();
                    Sql.cookie(cookie, number);
                    cookies.acknowledge(number);
                    commits++;
                }
            }
        }
        Burst burst = new Burst(commits, System.nanoTime() - start);
        bursts++;
        if (bursts % BURSTS_PER_SAVE == 0) {
            save();
        }
        if (bursts % BURSTS_PER_CACHED == 0) {
            cache();
        }
        return burst;
    }

    private void save() throws IOException {
        long number = saves.begin();
        Path draft = directory.resolve(PREFERENCES + ".new");
        Disk.create(draft, preferences(number));
        Files.move(
                draft,
                directory.resolve(PREFERENCES),
                StandardCopyOption.ATOMIC_MOVE,
                StandardCopyOption.REPLACE_EXISTING);
        Disk.syncNames(directory);
        saves.acknowledge(number);
    }

    private void cache() throws IOException {
        Path entries = directory.resolve(CACHE);
        long number = cached.begin();
        Disk.create(entries.resolve(entry(number)), cacheEntry(number));
        Files.deleteIfExists(entries.resolve(entry(number - CACHED)));
        Disk.syncNames(entries);
        cached.acknowledge(number);
    }

    static byte[] preferences(long number) {
        StringBuilder out = new StringBuilder("user_pref(\"saves\", " + number + ");\n");
        for (int i = 0; i < 60; i++) {
            out.append("user_pref(\"pref." + i + "\", \"");
            out.append(Content.text("pref " + i, number, 40)).append("\");\n");
        }
        return out.toString().getBytes(StandardCharsets.US_ASCII);
    }

    static String entry(long number) {
        return String.format("%08X", number);
    }

    static byte[] cacheEntry(long number) {
        return Content.bytes("cache", number, Content.size("cache", number, 2_000, 24_000));
    }

    /** The caller closes it. */
    Connection open(String database) throws SQLException {
        Connection connection =
                DriverManager.getConnection("jdbc:sqlite:" + directory.resolve(database));
        try (Statement sql = connection.createStatement()) {
            sql.execute("PRAGMA synchronous = FULL");
            return connection;
        } catch (SQLException e) {
            connection.close();
            throw e;
        }
    }

    /**
     * What a burst did.
     *
     * @param commits transactions acknowledged
     * @param nanos from before the databases were opened until after they were closed
     */
    record Burst(int commits, long nanos) {
        Burst plus(Burst other) {
            return new Burst(commits + other.commits, nanos + other.nanos);
        }

        /** Commits a second. */
        double rate() {
            return commits * 1e9 / nanos;
        }
    }

    /** The statements that the load executes, each a transaction of its own. */
    static final class Sql {
        static final String VISIT = "INSERT INTO visits(id, url, title) VALUES (?, ?, ?)";
        static final String COOKIE =
                "INSERT OR REPLACE INTO cookies(slot, seq, value) VALUES (?, ?, ?)";

        private Sql() {}

        static void visit(PreparedStatement visit, long number) throws SQLException {
            visit.setLong(1, number);
            visit.setString(2, url(number));
            visit.setString(3, title(number));
            visit.executeUpdate();
        }

        static void cookie(PreparedStatement cookie, long number) throws SQLException {
            cookie.setLong(1, number % COOKIES);
            cookie.setLong(2, number);
            cookie.setString(3, cookie(number));
            cookie.executeUpdate();
        }

        static String url(long number) {
            return "https://" + Content.text("url", number, 40);
        }

        static String title(long number) {
            return Content.text("title", number, 30);
        }

        static String cookie(long number) {
            return Content.text("cookie", number, 120);
        }
    }
}
