package io.rampipe.shell.internal;

import io.rampipe.api.Printable;
import io.rampipe.api.Settings.Setting;
import java.io.IOException;
import java.util.List;
import java.util.Locale;

/** The configuration as text and as JSON. */
final class SettingsReport {
    private SettingsReport() {}

    static String all(List<Setting> settings, List<String> problems) {
        Table table = new Table("KEY", "FROM", "VALUE");
        for (Setting setting : settings) {
            table.row(setting.key(), source(setting), value(setting.value()));
        }
        StringBuilder out = new StringBuilder(table.toString().stripTrailing());
        if (!problems.isEmpty()) {
            out.append("\n! The file is refused; the last valid configuration is in force:");
            for (String problem : problems) {
                out.append("\n!   ").append(Printable.of(problem));
            }
        }
        return out.toString();
    }

    static String some(List<Setting> settings) {
        StringBuilder out = new StringBuilder();
        for (Setting setting : settings) {
            out.append(out.length() == 0 ? "" : "\n");
            out.append(setting.key()).append(" = ").append(Printable.of(setting.value()));
            out.append('\n');
            Table table = new Table("", "");
            table.row("  what", setting.description());
            table.row("  takes", setting.form());
            table.row("  default", value(setting.standard()));
            table.row("  from", source(setting));
            table.row("  for", setting.pid());
            out.append(table);
        }
        return out.toString().stripTrailing();
    }

    static void setting(Json json, Setting setting) throws IOException {
        json.put("key", setting.key())
                .put("value", setting.value())
                .put("default", setting.standard())
                .put("source", source(setting))
                .put("form", setting.form())
                .put("description", setting.description())
                .put("pid", setting.pid());
    }

    private static String source(Setting setting) {
        return setting.source().name().toLowerCase(Locale.ROOT);
    }

    private static String value(String value) {
        return value.isEmpty() ? Human.NOTHING : value;
    }
}
