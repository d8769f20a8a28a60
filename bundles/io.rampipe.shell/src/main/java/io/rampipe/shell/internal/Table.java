package io.rampipe.shell.internal;

import io.rampipe.api.Printable;
import java.util.ArrayList;
import java.util.List;

/**
 * Text in columns. A heading that begins with {@code >} makes its column flush right. The last
 * column takes the room it needs, so that paths come whole.
 */
final class Table {
    private static final String GAP = "  ";

    private final String[] headings;
    private final List<String[]> rows = new ArrayList<>();

    /** Without any heading text there is no heading line. */
    Table(String... headings) {
        this.headings = headings;
    }

    void row(String... cells) {
        if (cells.length != headings.length) {
            throw new IllegalArgumentException(cells.length + " cells in " + headings.length);
        }
        String[] safe = new String[cells.length];
        for (int i = 0; i < cells.length; i++) {
            safe[i] = Printable.of(cells[i]);
        }
        rows.add(safe);
    }

    /** A line below the last row, indented; nothing if empty. */
    void note(String text) {
        if (!text.isEmpty()) {
            rows.add(new String[] {"    " + Printable.of(text)});
        }
    }

    @Override
    public String toString() {
        List<String[]> lines = new ArrayList<>();
        String[] names = new String[headings.length];
        boolean named = false;
        for (int i = 0; i < names.length; i++) {
            names[i] = headings[i].startsWith(">") ? headings[i].substring(1) : headings[i];
            named |= !names[i].isEmpty();
        }
        if (named) {
            lines.add(names);
        }
        lines.addAll(rows);

        int[] widths = new int[headings.length];
        for (String[] line : lines) {
            for (int i = 0; i < line.length && line.length == widths.length; i++) {
                widths[i] = Math.max(widths[i], width(line[i]));
            }
        }
        StringBuilder out = new StringBuilder();
        for (String[] line : lines) {
            int start = out.length();
            for (int i = 0; i < line.length; i++) {
                boolean last = i == line.length - 1;
                String pad = last ? "" : " ".repeat(widths[i] - width(line[i]));
                boolean right = headings[i].startsWith(">");
                out.append(i == 0 ? "" : GAP);
                out.append(right ? pad : "").append(line[i]).append(right ? "" : pad);
            }
            int end = out.length();
            while (end > start && out.charAt(end - 1) == ' ') {
                end--;
            }
            out.setLength(end);
            out.append('\n');
        }
        return out.toString();
    }

    private static int width(String text) {
        return text.codePointCount(0, text.length());
    }
}
