package io.rampipe.demo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** What a check looked at, and what it found wrong. */
final class Findings {
    private static final int SHOWN = 20;

    private final List<String> problems = new ArrayList<>();
    private int more;
    long commits;
    long databases;
    long lines;
    private long files;
    private long bytes;

    void bad(String problem) {
        if (problems.size() < SHOWN) {
            problems.add(problem);
        } else {
            more++;
        }
    }

    /** Counts a file that is as it should be. */
    void file(long size) {
        files++;
        bytes += size;
    }

    /** Compares a whole file. */
    void compare(Path file, byte[] expected) {
        try {
            byte[] there = Files.readAllBytes(file);
            int at = Arrays.mismatch(there, expected);
            if (at >= 0) {
                bad(
                        file
                                + " differs from byte "
                                + at
                                + "; it has "
                                + there.length
                                + " bytes, expected "
                                + expected.length);
            } else {
                file(there.length);
            }
        } catch (IOException e) {
            bad("cannot read " + e);
        }
    }

    boolean good() {
        return problems.isEmpty();
    }

    List<String> problems() {
        List<String> all = new ArrayList<>(problems);
        if (more > 0) {
            all.add("and " + more + " more");
        }
        return all;
    }

    @Override
    public String toString() {
        return commits
                + " commits in "
                + databases
                + " sound databases, "
                + lines
                + " log lines, "
                + files
                + " files of "
                + bytes
                + " bytes";
    }
}
