package io.rampipe.demo;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * What is where on the disk under test.
 *
 * @param disk where it is mounted
 * @param ledgers directory of the ledgers, not on that disk
 */
record Site(Path disk, Path ledgers) {
    private static final int HISTORY = 2_000;

    Path profilePath() {
        return disk.resolve("home/ada/.browser/profile");
    }

    Profile profile() throws IOException {
        return new Profile(profilePath(), Ledger.open(ledgers, "profile"));
    }

    AppLog log() throws IOException {
        return new AppLog(disk.resolve("var/log/app"), Ledger.open(ledgers, "log"));
    }

    ColdFiles cold() {
        return new ColdFiles(disk.resolve("srv/pictures"));
    }

    /** Profiles of that many users. */
    List<Profile> profiles(int count) throws IOException {
        List<Profile> all = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            String user = String.format("user%02d", i);
            Path directory = disk.resolve("home").resolve(user).resolve("profile");
            all.add(new Profile(directory, Ledger.open(ledgers, user)));
        }
        return all;
    }

    void create() throws Exception {
        profile().create(HISTORY);
        log().create();
        cold().create();
    }

    void check(Findings findings) throws IOException {
        new ProfileCheck(profile(), findings).run();
        log().check(findings);
        cold().check(findings);
    }
}
