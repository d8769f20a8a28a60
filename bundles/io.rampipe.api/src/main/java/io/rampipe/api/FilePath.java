package io.rampipe.api;

import java.nio.charset.StandardCharsets;
import java.util.Objects;

/**
 * A Linux path or file name: any bytes but NUL. Java's own paths cannot hold names that are not
 * valid in the locale's character set, and a name that cannot be held cannot be saved; so names
 * travel as bytes.
 *
 * <p>Immutable. Equality and order are those of the bytes. No normalisation: {@code ..} and links
 * are the kernel's business.
 */
public final class FilePath implements Comparable<FilePath> {
    private static final char[] HEX = "0123456789abcdef".toCharArray();

    /** One char a byte (ISO 8859-1): compact, hashable, and free of loss. */
    private final String raw;

    private FilePath(String raw) {
        if (raw.indexOf('\0') >= 0) {
            throw new IllegalArgumentException("a path cannot contain a NUL byte");
        }
        this.raw = raw;
    }

    /**
     * The path that these characters name in UTF-8, as on a command line. An unpaired surrogate
     * U+DC80 to U+DCFF stands for one byte 80 to FF, as {@link #text()} makes them.
     */
    public static FilePath of(String text) {
        StringBuilder raw = new StringBuilder(text.length() + 8);
        int start = 0;
        for (int i = 0; i < text.length(); ) {
            int c = text.codePointAt(i);
            if (c >= 0xdc80 && c <= 0xdcff) {
                appendUtf8(raw, text.substring(start, i));
                raw.append((char) (c - 0xdc00));
                start = i + 1;
            }
            i += Character.charCount(c);
        }
        appendUtf8(raw, text.substring(start));
        return new FilePath(raw.toString());
    }

    private static void appendUtf8(StringBuilder raw, String text) {
        raw.append(new String(text.getBytes(StandardCharsets.UTF_8), StandardCharsets.ISO_8859_1));
    }

    /** The path of exactly these bytes; the array is copied. */
    public static FilePath ofBytes(byte[] bytes) {
        return new FilePath(new String(bytes, StandardCharsets.ISO_8859_1));
    }

    /** The path of {@code length} bytes from {@code offset}; the bytes are copied. */
    public static FilePath ofBytes(byte[] bytes, int offset, int length) {
        return new FilePath(new String(bytes, offset, length, StandardCharsets.ISO_8859_1));
    }

    /** The path whose {@link #raw()} form this is. */
    public static FilePath ofRaw(String raw) {
        for (int i = 0; i < raw.length(); i++) {
            if (raw.charAt(i) > 0xff) {
                throw new IllegalArgumentException("not a raw path: char above 0xff at " + i);
            }
        }
        return new FilePath(raw);
    }

    /** One char a byte, for keys and records; not for people. */
    public String raw() {
        return raw;
    }

    /** The bytes, without a terminating NUL; a fresh array. */
    public byte[] bytes() {
        return raw.getBytes(StandardCharsets.ISO_8859_1);
    }

    /** The bytes with a terminating NUL, as system calls want them; a fresh array. */
    public byte[] cString() {
        byte[] out = new byte[raw.length() + 1];
        System.arraycopy(bytes(), 0, out, 0, raw.length());
        return out;
    }

    /**
     * The characters that the bytes stand for in UTF-8; each byte that is not UTF-8 becomes an
     * unpaired surrogate U+DC80 to U+DCFF (Python's PEP 383), so that nothing is lost: {@link #of}
     * gives the same path again. For handing paths through interfaces made for text; not for
     * people.
     */
    public String text() {
        byte[] b = bytes();
        StringBuilder out = new StringBuilder(b.length);
        int start = 0;
        for (int i = 0; i < b.length; ) {
            int length = utf8Length(b, i);
            if (length == 0) {
                out.append(new String(b, start, i - start, StandardCharsets.UTF_8));
                out.append((char) (0xdc00 + (b[i] & 0xff)));
                start = ++i;
            } else {
                i += length;
            }
        }
        return out.append(new String(b, start, b.length - start, StandardCharsets.UTF_8))
                .toString();
    }

    /** Whether the bytes are valid UTF-8, so that {@link #text()} is plain text. */
    public boolean isUtf8() {
        byte[] b = bytes();
        for (int i = 0; i < b.length; ) {
            int length = utf8Length(b, i);
            if (length == 0) {
                return false;
            }
            i += length;
        }
        return true;
    }

    public boolean isEmpty() {
        return raw.isEmpty();
    }

    public boolean isAbsolute() {
        return raw.startsWith("/");
    }

    /** This path, a slash, and {@code child}; only {@code child} if this path is empty. */
    public FilePath resolve(FilePath child) {
        if (raw.isEmpty()) {
            return child;
        }
        return new FilePath(raw.endsWith("/") ? raw + child.raw : raw + "/" + child.raw);
    }

    public FilePath resolve(String child) {
        return resolve(of(child));
    }

    /**
     * Everything before the last slash; {@code /} for {@code /x}; the empty path for a bare name.
     */
    public FilePath parent() {
        int slash = raw.lastIndexOf('/');
        return slash < 0
                ? new FilePath("")
                : new FilePath(slash == 0 ? "/" : raw.substring(0, slash));
    }

    /** Everything behind the last slash. */
    public FilePath name() {
        return new FilePath(raw.substring(raw.lastIndexOf('/') + 1));
    }

    /** True for this path itself and everything below it, by whole components. */
    public boolean contains(FilePath other) {
        return other.raw.equals(raw)
                || other.raw.startsWith(raw)
                        && (raw.endsWith("/") || other.raw.charAt(raw.length()) == '/');
    }

    /** What is left of {@code other} behind this path and its slash; empty for this path itself. */
    public FilePath relativize(FilePath other) {
        if (!contains(other)) {
            throw new IllegalArgumentException(other + " is not below " + this);
        }
        String rest = other.raw.substring(raw.length());
        return new FilePath(rest.startsWith("/") ? rest.substring(1) : rest);
    }

    @Override
    public int compareTo(FilePath other) {
        return raw.compareTo(other.raw);
    }

    @Override
    public boolean equals(Object o) {
        return o instanceof FilePath p && p.raw.equals(raw);
    }

    @Override
    public int hashCode() {
        return Objects.hashCode(raw);
    }

    /**
     * For people and logs: UTF-8 decoded, with control characters, backslashes and bytes that are
     * not UTF-8 escaped as {@code \n}, {@code \\} and {@code \xNN}, so that a hostile name can
     * neither forge a log line nor a terminal command.
     */
    @Override
    public String toString() {
        StringBuilder out = new StringBuilder(raw.length());
        byte[] b = bytes();
        for (int i = 0; i < b.length; ) {
            int length = utf8Length(b, i);
            if (length == 0) {
                out.append("\\x").append(HEX[b[i] >> 4 & 15]).append(HEX[b[i] & 15]);
                i++;
                continue;
            }
            int c = new String(b, i, length, StandardCharsets.UTF_8).codePointAt(0);
            if (c == '\n') {
                out.append("\\n");
            } else if (c == '\t') {
                out.append("\\t");
            } else if (c == '\\') {
                out.append("\\\\");
            } else if (Character.isISOControl(c) || Character.getType(c) == Character.FORMAT) {
                for (int j = i; j < i + length; j++) {
                    out.append("\\x").append(HEX[b[j] >> 4 & 15]).append(HEX[b[j] & 15]);
                }
            } else {
                out.appendCodePoint(c);
            }
            i += length;
        }
        return out.toString();
    }

    /**
     * Length of the valid UTF-8 sequence at {@code i}, or 0 (RFC 3629: no overlong forms, no
     * surrogates).
     */
    private static int utf8Length(byte[] b, int i) {
        int c = b[i] & 0xff;
        int n =
                c < 0x80
                        ? 1
                        : c >= 0xc2 && c < 0xe0
                                ? 2
                                : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xf0 && c < 0xf5 ? 4 : 0;
        if (n == 0 || i + n > b.length) {
            return 0;
        }
        for (int j = 1; j < n; j++) {
            if ((b[i + j] & 0xc0) != 0x80) {
                return 0;
            }
        }
        if (n > 2) {
            int second = b[i + 1] & 0xff;
            if (c == 0xe0 && second < 0xa0
                    || c == 0xed && second > 0x9f
                    || c == 0xf0 && second < 0x90
                    || c == 0xf4 && second > 0x8f) {
                return 0;
            }
        }
        return n;
    }
}
