package io.rampipe.config.internal;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.jar.JarFile;
import java.util.zip.ZipEntry;

/**
 * The man page rampipe.cfg(5), and the template that {@code /etc/rampipe/rampipe.cfg} begins as,
 * made from what the bundles describe when the distribution is built.
 */
final class ConfigurationPage {
    private ConfigurationPage() {}

    /**
     * Writes the files.
     *
     * @param args the distribution's directory; the version
     */
    public static void main(String[] args) throws IOException {
        Path home = Path.of(args[0]);
        Schema schema = new Schema(sections(home.resolve("bundle")));
        Files.createDirectories(home.resolve("man"));
        Files.writeString(home.resolve("man/rampipe.cfg.5"), page(schema, args[1]));
        Files.writeString(home.resolve("conf/rampipe.cfg.template"), Template.of(schema));
    }

    private static List<Section> sections(Path bundles) throws IOException {
        List<Path> jars = new ArrayList<>();
        try (DirectoryStream<Path> found = Files.newDirectoryStream(bundles, "*.jar")) {
            found.forEach(jars::add);
        }
        jars.sort(Comparator.naturalOrder());
        List<Section> sections = new ArrayList<>();
        for (Path jar : jars) {
            try (JarFile open = new JarFile(jar.toFile())) {
                for (ZipEntry entry : Collections.list(open.entries())) {
                    if (entry.getName().startsWith("OSGI-INF/metatype/")
                            && entry.getName().endsWith(".xml")) {
                        try (InputStream in = open.getInputStream(entry)) {
                            sections.addAll(Section.read(in));
                        }
                    }
                }
            }
        }
        return sections;
    }

    static String page(Schema schema, String version) {
        StringBuilder out = new StringBuilder();
        out.append(".TH RAMPIPE.CFG 5 \"\" \"RamPipe ").append(version);
        out.append("\" \"File formats\"\n");
        out.append(
                """
                .SH NAME
                rampipe.cfg \\- the configuration of RamPipe
                .SH DESCRIPTION
                The daemon reads
                .I /etc/rampipe/rampipe.cfg
                when it starts, within two seconds after a change, and at
                .BR "rampipe reload" .
                Only
                .B watch.directories
                has to be set: as long as it is not, nothing is pinned;
                .B observe.directories
                are observed, and
                .B rampipe top
                tells what would be pinned.
                .PP
                A line is KEY = VALUE; one that begins with # is a comment.
                Sizes have the units K, M, G and T (powers of 1024), times ms, s, m, h and d.
                Items of lists are separated by commas.
                The file is UTF\\-8; a backslash is written twice, a comma inside an item behind two backslashes,
                and a long line goes on behind a backslash at its end.
                .PP
                If a key is unknown or a value is invalid, nothing of the file takes effect:
                .B rampipe config
                and the log say why, and the last valid configuration stays in force.
                .B rampipe config \\-\\-template
                prints a commented file.
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
                    out.append(".SH \"").append(roff(section.name().toUpperCase(Locale.ROOT)));
                    out.append("\"\n");
                    if (!section.description().isEmpty()) {
                        out.append(roff(section.description())).append('\n');
                    }
                }
                String standard = attribute.standardText();
                out.append(".TP\n.B ").append(roff(attribute.key())).append('\n');
                out.append(roff(attribute.description())).append('\n');
                if (!attribute.form().equals(Kind.TEXT.description())) {
                    out.append("Value: ").append(roff(attribute.form())).append(".\n");
                }
                out.append("Default: ");
                out.append(standard.isEmpty() ? "empty" : roff(standard)).append(".\n");
            }
        }
        out.append(
                """
                .SH SEE ALSO
                .BR rampipe (1),
                .BR rampiped (8)
                """);
        return out.toString();
    }

    private static String roff(String text) {
        String line = text.strip().replaceAll("\\s+", " ");
        String escaped = line.replace("\\", "\\e").replace("-", "\\-").replace("\"", "\\(dq");
        return escaped.startsWith(".") || escaped.startsWith("'") ? "\\&" + escaped : escaped;
    }
}
