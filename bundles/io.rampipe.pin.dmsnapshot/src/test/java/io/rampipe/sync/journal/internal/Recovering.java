package io.rampipe.sync.journal.internal;

import io.rampipe.api.FilePath;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/** What a daemon does at its start. */
public final class Recovering {
    private Recovering() {}

    public static void run(Path directory) throws IOException {
        new JournalSyncBack(Steps.NONE, line -> {})
                .recover(List.of(FilePath.of(directory.toString())), List.of())
                .forEach(System.out::println);
    }
}
