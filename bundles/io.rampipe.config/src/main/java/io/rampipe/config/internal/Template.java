package io.rampipe.config.internal;

import java.util.HashSet;
import java.util.Set;

/** Writes a configuration file that says what each key is for. */
final class Template {
    private static final int WIDTH = 88;

    private Template() {}

    static String of(Schema schema) {
        StringBuilder out =
                new StringBuilder(
                        """
                        # The configuration of RamPipe.
                        #
                        # A line KEY = VALUE sets a value; what is not set has its default, which is what the
                        # commented lines show. Changes take effect when the file is saved. If anything in it
                        # is invalid, nothing of it takes effect, the log and 'rampipe config' say why, and the
                        # last valid configuration stays in force.
                        #
                        # Sizes have the units K, M, G and T (powers of 1024), times ms, s, m, h and d. Items
                        # of lists are separated by commas. The file is UTF-8; a backslash is written \\\\, a
                        # comma inside an item of a list \\\\, and a long line goes on behind a backslash at
                        # its end.
                        """);
        Set<String> done = new HashSet<>();
        for (Section section : schema.sections()) {
            boolean heading = false;
            for (Attribute attribute : section.attributes()) {
                if (!done.add(attribute.key())) {
                    continue;
                }
                if (!heading) {
                    heading = true;
                    out.append("\n\n# ").append("-".repeat(WIDTH - 2)).append('\n');
                    comment(
                            out,
                            section.name()
                                    + (section.description().isEmpty()
                                            ? ""
                                            : ": " + section.description()));
                }
                out.append('\n');
                comment(out, attribute.description());
                if (!attribute.form().equals(Kind.TEXT.description())) {
                    comment(out, "Value: " + attribute.form() + ".");
                }
                String value = attribute.standardText().replace("\\", "\\\\");
                out.append('#').append(attribute.key()).append(" =");
                out.append(value.isEmpty() ? "" : " ").append(value).append('\n');
            }
        }
        return out.toString();
    }

    private static void comment(StringBuilder out, String text) {
        int column = 0;
        for (String word : text.strip().split("\\s+")) {
            if (column > 0 && column + 1 + word.length() > WIDTH) {
                out.append('\n');
                column = 0;
            }
            if (column == 0) {
                out.append('#');
                column = 1;
            }
            out.append(' ').append(word);
            column += 1 + word.length();
        }
        out.append('\n');
    }
}
