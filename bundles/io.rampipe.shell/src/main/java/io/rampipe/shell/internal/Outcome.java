package io.rampipe.shell.internal;

import io.rampipe.api.FilePath;
import io.rampipe.api.Printable;
import java.io.IOException;

/**
 * What became of one path of a command that takes several.
 *
 * @param text what was done, for people; or why it was not
 * @param members what was done, for programs; null if it failed
 */
record Outcome(FilePath path, String text, Json.Members members) {

    static Outcome failed(FilePath path, String why) {
        return new Outcome(path, why, null);
    }

    boolean failed() {
        return members == null;
    }

    /** One line; a failure's message names the path mostly, and if not, is made to. */
    String line() {
        String safe = Printable.of(text);
        return failed() && safe.contains(path.toString()) ? safe : path + ": " + safe;
    }

    void write(Json json) throws IOException {
        json.put("path", path).put("ok", !failed());
        if (failed()) {
            json.put("error", text);
        } else {
            members.write(json);
        }
    }
}
