package io.rampipe.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.Statement;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A check that finds nothing proves nothing: it must find whatever is wrong. */
class ProfileCheckTest {
    @TempDir Path scratch;
    private Path directory;
    private Profile profile;

    @BeforeEach
    void load() throws Exception {
        directory = scratch.resolve("profile");
        profile = profile("ledger");
        profile.create(50);
        for (int i = 0; i < 25; i++) {
            profile.burst(1000, 40);
        }
    }

    @Test
    void findsNothingWrongAfterLoad() throws IOException {
        assertEquals(List.of(), check(profile).problems());
    }

    @Test
    void findsAcknowledgedCommitThatIsMissing() throws Exception {
        sql(Profile.PLACES, "DELETE FROM visits WHERE id = (SELECT max(id) FROM visits)");
        assertFalse(check(profile).good());
    }

    @Test
    void findsCommitMissingInTheMiddle() throws Exception {
        sql(Profile.PLACES, "DELETE FROM visits WHERE id = 60");
        assertFalse(check(profile).good());
    }

    @Test
    void findsChangedRow() throws Exception {
        sql(Profile.PLACES, "UPDATE visits SET title = 'x' WHERE id = 60");
        assertFalse(check(profile).good());
    }

    @Test
    void findsCommitThatNobodyBegan() throws Exception {
        sql(
                Profile.COOKIE_STORE,
                "INSERT OR REPLACE INTO cookies SELECT (max(seq) + 1) % 200, max(seq) + 1, '' FROM"
                        + " cookies");
        assertFalse(check(profile).good());
    }

    @Test
    void findsDamagedDatabase() throws Exception {
        Path places = directory.resolve(Profile.PLACES);
        byte[] content = Files.readAllBytes(places);
        content[content.length / 2] ^= 1;
        Files.write(places, content);
        assertFalse(check(profile).good());
    }

    @Test
    void findsOldPreferences() throws IOException {
        Files.write(directory.resolve(Profile.PREFERENCES), Profile.preferences(1));
        assertFalse(check(profile).good());
    }

    @Test
    void findsChangedCacheEntry() throws IOException {
        long newest = profile.cached.acknowledged();
        Path entry = directory.resolve(Profile.CACHE).resolve(Profile.entry(newest));
        byte[] content = Files.readAllBytes(entry);
        content[content.length - 1] ^= 1;
        Files.write(entry, content);
        assertFalse(check(profile).good());
    }

    @Test
    void findsFileThatShouldBeGone() throws IOException {
        Files.write(
                directory.resolve(Profile.CACHE).resolve(Profile.entry(1)), Profile.cacheEntry(1));
        assertFalse(check(profile).good());
    }

    @Test
    void findsFileThatNobodyMade() throws IOException {
        Files.createFile(directory.resolve(".places.sqlite.rampipe"));
        assertFalse(check(profile).good());
    }

    @Test
    void allowsEitherOutcomeOfChangeUnderWay() throws Exception {
        profile.visits.begin();
        profile.saves.begin();
        assertEquals(List.of(), check(profile).problems());
    }

    private Profile profile(String ledger) throws IOException {
        return new Profile(directory, Ledger.open(scratch, ledger));
    }

    private static Findings check(Profile profile) {
        Findings findings = new Findings();
        new ProfileCheck(profile, findings).run();
        return findings;
    }

    private void sql(String database, String statement) throws Exception {
        try (Connection connection =
                        DriverManager.getConnection("jdbc:sqlite:" + directory.resolve(database));
                Statement sql = connection.createStatement()) {
            sql.executeUpdate(statement);
        }
    }
}
