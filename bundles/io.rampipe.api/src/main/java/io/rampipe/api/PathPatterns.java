package io.rampipe.api;

import java.util.List;
import java.util.regex.Pattern;

/**
 * Path patterns: {@code *} any characters but a slash, {@code **} any characters, {@code ?} one
 * character but a slash. A pattern with a slash is matched against the whole path, one without
 * against each name on it; whatever is below a match matches too.
 */
public final class PathPatterns {
    private final List<Pattern> whole;
    private final List<Pattern> names;

    public PathPatterns(List<String> globs) {
        whole = globs.stream().filter(g -> g.contains("/")).map(PathPatterns::compile).toList();
        names = globs.stream().filter(g -> !g.contains("/")).map(PathPatterns::compile).toList();
    }

    public boolean isEmpty() {
        return whole.isEmpty() && names.isEmpty();
    }

    /** Whether a pattern matches it, or something that it is in. */
    public boolean matches(FilePath path) {
        for (FilePath p = path; !p.isEmpty() && !p.raw().equals("/"); p = p.parent()) {
            String text = p.raw();
            String name = p.name().raw();
            if (whole.stream().anyMatch(g -> g.matcher(text).matches())
                    || names.stream().anyMatch(g -> g.matcher(name).matches())) {
                return true;
            }
        }
        return false;
    }

    private static Pattern compile(String glob) {
        String g = FilePath.of(glob).raw();
        StringBuilder regex = new StringBuilder();
        for (int i = 0; i < g.length(); i++) {
            char c = g.charAt(i);
            if (c == '*' && i + 1 < g.length() && g.charAt(i + 1) == '*') {
                regex.append(".*");
                i++;
            } else if (c == '*') {
                regex.append("[^/]*");
            } else if (c == '?') {
                regex.append("[^/]");
            } else {
                regex.append(Pattern.quote(String.valueOf(c)));
            }
        }
        return Pattern.compile(regex.toString(), Pattern.DOTALL);
    }
}
