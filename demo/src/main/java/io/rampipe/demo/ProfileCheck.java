package io.rampipe.demo;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.Set;

/**
 * Compares a profile with its ledger: what was acknowledged must be there, what was not even begun
 * must not, nor anything else.
 */
final class ProfileCheck {
    private static final Set<String> KNOWN =
            Set.of(
                    "cache2",
                    Profile.PLACES,
                    Profile.PLACES + "-journal",
                    Profile.COOKIE_STORE,
                    Profile.COOKIE_STORE + "-wal",
                    Profile.COOKIE_STORE + "-shm",
                    Profile.PREFERENCES,
                    Profile.PREFERENCES + ".new");

    private final Profile profile;
    private final Findings findings;

    ProfileCheck(Profile profile, Findings findings) {
        this.profile = profile;
        this.findings = findings;
    }

    void run() {
        step(this::names);
        step(this::visits);
        step(this::cookies);
        step(this::preferences);
        step(this::cache);
    }

    /** What cannot be read at all is one finding, and the rest is looked at nevertheless. */
    private void step(Step step) {
        try {
            step.run();
        } catch (IOException | SQLException e) {
            findings.bad(profile.directory + ": " + e);
        }
    }

    private void names() throws IOException {
        try (DirectoryStream<Path> all = Files.newDirectoryStream(profile.directory)) {
            for (Path path : all) {
                if (!KNOWN.contains(path.getFileName().toString())) {
                    findings.bad("nobody made " + path);
                }
            }
        }
    }

    private void visits() throws SQLException {
        try (Connection places = profile.open(Profile.PLACES);
                Statement sql = places.createStatement()) {
            integrity(sql, Profile.PLACES);
            long last = 0;
            try (ResultSet rows =
                    sql.executeQuery("SELECT id, url, title FROM visits ORDER BY id")) {
                while (rows.next()) {
                    long id = rows.getLong(1);
                    if (id != last + 1) {
                        findings.bad(profile.directory + ": visit " + id + " comes after " + last);
                    }
                    if (!Profile.Sql.url(id).equals(rows.getString(2))
                            || !Profile.Sql.title(id).equals(rows.getString(3))) {
                        findings.bad(profile.directory + ": visit " + id + " was changed");
                    }
                    last = id;
                }
            }
            range("visits", profile.visits, last);
            findings.commits += last;
        }
    }

    private void cookies() throws SQLException {
        try (Connection store = profile.open(Profile.COOKIE_STORE);
                Statement sql = store.createStatement()) {
            integrity(sql, Profile.COOKIE_STORE);
            long last = 0;
            try (ResultSet max = sql.executeQuery("SELECT coalesce(max(seq), 0) FROM cookies")) {
                max.next();
                last = max.getLong(1);
            }
            range("cookies", profile.cookies, last);
            long found = 0;
            try (ResultSet rows = sql.executeQuery("SELECT slot, seq, value FROM cookies")) {
                while (rows.next()) {
                    long seq = rows.getLong(2);
                    if (seq % Profile.COOKIES != rows.getLong(1)
                            || seq <= last - Profile.COOKIES
                            || !Profile.Sql.cookie(seq).equals(rows.getString(3))) {
                        findings.bad(profile.directory + ": cookie " + seq + " is wrong");
                    }
                    found++;
                }
            }
            if (found != Math.min(last, Profile.COOKIES)) {
                findings.bad(profile.directory + ": " + found + " cookies after change " + last);
            }
            findings.commits += last;
        }
    }

    private void integrity(Statement sql, String database) throws SQLException {
        try (ResultSet rows = sql.executeQuery("PRAGMA integrity_check")) {
            while (rows.next()) {
                if (!"ok".equals(rows.getString(1))) {
                    findings.bad(profile.directory.resolve(database) + ": " + rows.getString(1));
                }
            }
        }
        findings.databases++;
    }

    private void preferences() throws IOException {
        Path file = profile.directory.resolve(Profile.PREFERENCES);
        byte[] there = Files.readAllBytes(file);
        for (long n = profile.saves.acknowledged(); n <= profile.saves.begun(); n++) {
            if (Arrays.equals(there, Profile.preferences(n))) {
                findings.file(there.length);
                return;
            }
        }
        findings.bad(file + " is not save " + profile.saves.acknowledged());
    }

    private void cache() throws IOException {
        Path entries = profile.directory.resolve(Profile.CACHE);
        long acknowledged = profile.cached.acknowledged();
        long begun = profile.cached.begun();
        try (DirectoryStream<Path> all = Files.newDirectoryStream(entries)) {
            for (Path path : all) {
                long number = Long.parseLong(path.getFileName().toString(), 16);
                if (number > begun || number <= acknowledged - Profile.CACHED) {
                    findings.bad(path + " should not exist");
                }
            }
        }
        // The change under way may have taken the oldest one already.
        for (long n = Math.max(1, begun - Profile.CACHED + 1); n <= acknowledged; n++) {
            findings.compare(entries.resolve(Profile.entry(n)), Profile.cacheEntry(n));
        }
    }

    private void range(String what, Ledger.Stream stream, long found) {
        if (found < stream.acknowledged() || found > stream.begun()) {
            findings.bad(
                    profile.directory
                            + ": "
                            + found
                            + " "
                            + what
                            + ", but "
                            + stream.acknowledged()
                            + " were acknowledged and "
                            + stream.begun()
                            + " begun");
        }
    }

    private interface Step {
        void run() throws IOException, SQLException;
    }
}
