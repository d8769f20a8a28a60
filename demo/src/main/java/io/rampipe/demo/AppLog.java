package io.rampipe.demo;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** A log that a program appends to, opening and closing it for each line, which is safe at once. */
final class AppLog {
    private static final int HISTORY = 500;

    private final Path file;
    private final Ledger.Stream lines;

    AppLog(Path directory, Ledger ledger) {
        this.file = directory.resolve("app.log");
        this.lines = ledger.stream(0);
    }

    void create() throws IOException {
        Files.createDirectories(file.getParent());
        lines.beginTo(HISTORY);
        Disk.create(file, text(HISTORY));
        lines.acknowledge(HISTORY);
    }

    void append() throws IOException {
        long number = lines.begin();
        Disk.append(file, line(number).getBytes(StandardCharsets.US_ASCII));
        lines.acknowledge(number);
    }

    void check(Findings findings) {
        if (lines.begun() == lines.acknowledged()) {
            findings.compare(file, text(lines.acknowledged()));
        } else {
            // The line under way may be there, in part or as a whole.
            try {
                String there = Files.readString(file, StandardCharsets.ISO_8859_1);
                String all = new String(text(lines.begun()), StandardCharsets.US_ASCII);
                if (!all.startsWith(there) || there.length() < text(lines.acknowledged()).length) {
                    findings.bad(file + " does not hold what was appended");
                }
            } catch (IOException e) {
                findings.bad("cannot read " + e);
            }
        }
        findings.lines += lines.acknowledged();
    }

    private static byte[] text(long lines) {
        StringBuilder out = new StringBuilder();
        for (long i = 1; i <= lines; i++) {
            out.append(line(i));
        }
        return out.toString().getBytes(StandardCharsets.US_ASCII);
    }

    private static String line(long number) {
        int length = Content.size("line", number, 40, 160);
        return number + " app[1]: " + Content.text("line", number, length) + "\n";
    }
}
