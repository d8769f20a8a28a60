package io.rampipe.api;

/** Text from elsewhere, made safe to print: in a log, on a terminal, in a configuration error. */
public final class Printable {
    private Printable() {}

    /**
     * The text with everything escaped that could forge a line, steer a terminal or hide what is
     * there: control and format characters, line separators and unpaired surrogates, as {@code \n},
     * {@code \t}, {@code \r} or {@code \}{@code uXXXX}. Backslashes stay as they are, because names
     * arrive here already escaped ({@link FilePath#toString}). Null gives {@code null} as text.
     */
    public static String of(CharSequence text) {
        String in = String.valueOf(text);
        int i = 0;
        while (i < in.length() && harmless(in.charAt(i))) {
            i++;
        }
        if (i == in.length()) {
            return in;
        }
        StringBuilder out = new StringBuilder(in.length() + 16).append(in, 0, i);
        while (i < in.length()) {
            int c = in.codePointAt(i);
            int length = Character.charCount(c);
            if (c == '\n') {
                out.append("\\n");
            } else if (c == '\t') {
                out.append("\\t");
            } else if (c == '\r') {
                out.append("\\r");
            } else if (isSafe(c)) {
                out.appendCodePoint(c);
            } else {
                for (int j = i; j < i + length; j++) {
                    out.append(String.format("\\u%04x", (int) in.charAt(j)));
                }
            }
            i += length;
        }
        return out.toString();
    }

    /** Whether a code point may be printed as it is. */
    public static boolean isSafe(int codePoint) {
        return switch (Character.getType(codePoint)) {
            case Character.CONTROL,
                    Character.FORMAT,
                    Character.SURROGATE,
                    Character.LINE_SEPARATOR,
                    Character.PARAGRAPH_SEPARATOR ->
                    false;
            default -> true;
        };
    }

    /** Most text is ASCII, and then nothing is copied. */
    private static boolean harmless(char c) {
        return c >= ' ' && c < 0x7f;
    }
}
