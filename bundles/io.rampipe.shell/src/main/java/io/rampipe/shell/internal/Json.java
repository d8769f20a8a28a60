package io.rampipe.shell.internal;

import com.google.gson.stream.JsonWriter;
import io.rampipe.api.FilePath;
import io.rampipe.api.Printable;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.Collection;
import java.util.HexFormat;

/**
 * An object being written. Only the stream writer of the library is used: it is three classes,
 * without reflection, and leaves nothing behind.
 */
final class Json {
    /** Writes one object's members. */
    @FunctionalInterface
    interface Members {
        void write(Json object) throws IOException;
    }

    /** Writes the members of an item. */
    @FunctionalInterface
    interface Item<T> {
        void write(Json object, T item) throws IOException;
    }

    private final JsonWriter out;

    private Json(JsonWriter out) {
        this.out = out;
    }

    static String object(Members members) {
        StringWriter text = new StringWriter();
        try (JsonWriter out = new JsonWriter(text)) {
            out.setIndent("  ");
            out.beginObject();
            members.write(new Json(out));
            out.endObject();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return safe(text.toString());
    }

    /**
     * JSON lets most control and format characters stand in strings as they are; terminals would
     * obey them. Outside of strings there are none but the line ends made here.
     */
    private static String safe(String json) {
        StringBuilder safe = new StringBuilder(json.length());
        json.codePoints()
                .forEach(
                        c -> {
                            if (c == '\n' || Printable.isSafe(c)) {
                                safe.appendCodePoint(c);
                            } else {
                                for (char unit : Character.toChars(c)) {
                                    safe.append(String.format("\\u%04x", (int) unit));
                                }
                            }
                        });
        return safe.toString();
    }

    Json put(String key, String value) throws IOException {
        out.name(key).value(value);
        return this;
    }

    Json put(String key, long value) throws IOException {
        out.name(key).value(value);
        return this;
    }

    Json put(String key, boolean value) throws IOException {
        out.name(key).value(value);
        return this;
    }

    /** JSON has no infinity and no NaN: null. */
    Json put(String key, double value) throws IOException {
        out.name(key);
        if (Double.isFinite(value)) {
            out.value(value);
        } else {
            out.nullValue();
        }
        return this;
    }

    /** A moment; null for none. */
    Json moment(String key, long epochMillis) throws IOException {
        out.name(key);
        if (epochMillis > 0) {
            out.value(epochMillis);
        } else {
            out.nullValue();
        }
        return this;
    }

    /**
     * A path exactly as it is. JSON can hold no bytes: what is not UTF-8 comes as people see it,
     * and its bytes in hexadecimal under {@code KEY_hex}.
     */
    Json put(String key, FilePath path) throws IOException {
        if (path.isUtf8()) {
            return put(key, path.text());
        }
        return put(key, path.toString()).put(key + "_hex", HexFormat.of().formatHex(path.bytes()));
    }

    <T> Json list(String key, Collection<T> items, Item<T> each) throws IOException {
        out.name(key).beginArray();
        for (T item : items) {
            out.beginObject();
            each.write(this, item);
            out.endObject();
        }
        out.endArray();
        return this;
    }

    Json texts(String key, Collection<String> texts) throws IOException {
        out.name(key).beginArray();
        for (String text : texts) {
            out.value(text);
        }
        out.endArray();
        return this;
    }
}
