package io.rampipe.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AppLogTest {
    @TempDir Path scratch;

    @Test
    void findsNothingWrongInWhatWasAppended() throws IOException {
        assertEquals(List.of(), check(written()).problems());
    }

    @Test
    void findsLostLine() throws IOException {
        AppLog log = written();
        Path file = scratch.resolve("log/app.log");
        byte[] content = Files.readAllBytes(file);
        Files.write(file, java.util.Arrays.copyOf(content, content.length - 10));
        assertFalse(check(log).good());
    }

    @Test
    void findsLineThatNobodyWrote() throws IOException {
        AppLog log = written();
        Files.writeString(
                scratch.resolve("log/app.log"), "501 app[1]: x\n", StandardOpenOption.APPEND);
        assertFalse(check(log).good());
    }

    private AppLog written() throws IOException {
        AppLog log = new AppLog(scratch.resolve("log"), Ledger.open(scratch, "ledger"));
        log.create();
        for (int i = 0; i < 20; i++) {
            log.append();
        }
        return log;
    }

    private static Findings check(AppLog log) {
        Findings findings = new Findings();
        log.check(findings);
        return findings;
    }
}
