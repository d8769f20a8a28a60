package io.rampipe.config.internal;

import io.rampipe.api.Printable;
import java.lang.reflect.Array;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * A key of the configuration, as a bundle's metatype document describes it.
 *
 * @param most how many values it takes; 0: exactly one, which is no list
 * @param min least value, in the form that users write; null: none
 * @param max greatest value; null: none
 * @param options values that are allowed whatever the bounds; if there are no bounds, only these
 * @param standard default values: one, or any number for a list
 * @param required whether the empty text is no value
 */
record Attribute(
        String key,
        Kind kind,
        int most,
        String min,
        String max,
        List<String> options,
        List<String> standard,
        boolean required,
        String description) {

    /** What a component gets for this text. */
    Object parse(String text) throws InvalidValueException {
        if (most == 0) {
            return parseOne(text.strip(), text);
        }
        List<Object> values = new ArrayList<>();
        for (String item : split(text)) {
            values.add(parseOne(item, text));
        }
        if (values.size() > most) {
            throw invalid(text, ", at most " + most + " of them");
        }
        Class<?> type = values.isEmpty() ? empty() : values.get(0).getClass();
        return values.toArray((Object[]) Array.newInstance(type, values.size()));
    }

    private Class<?> empty() {
        return switch (kind) {
            case BOOLEAN -> Boolean.class;
            case INTEGER -> Integer.class;
            case LONG -> Long.class;
            case DECIMAL -> Double.class;
            case TEXT, SIZE, TIME -> String.class;
        };
    }

    private Object parseOne(String item, String text) throws InvalidValueException {
        String and =
                most == 0 || item.equals(text.strip())
                        ? ""
                        : ", which " + (item.isEmpty() ? "''" : Printable.of(item)) + " is not";
        try {
            for (String option : options) {
                if (option.equalsIgnoreCase(item)) {
                    return kind == Kind.TEXT ? option : parseOption(option);
                }
            }
            if (!options.isEmpty() && !bounded()) {
                throw invalid(text, and);
            }
            if (item.isEmpty() && (most > 0 || required && !standard.contains(""))) {
                throw invalid(text, and);
            }
            Object value = kind.parse(item);
            if (kind.isOrdered()) {
                double at = kind.order(item);
                if (min != null && at < kind.order(min) || max != null && at > kind.order(max)) {
                    throw invalid(text, and);
                }
            }
            return value;
        } catch (IllegalArgumentException e) {
            throw invalid(text, and);
        }
    }

    /** Options of sizes and times need be neither: {@code auto}. */
    private Object parseOption(String option) {
        return kind == Kind.SIZE || kind == Kind.TIME ? option : kind.parse(option);
    }

    private boolean bounded() {
        return kind.isOrdered() && (min != null || max != null);
    }

    private InvalidValueException invalid(String text, String more) {
        return new InvalidValueException(
                key + " = " + Printable.of(text) + ": must be " + form() + more);
    }

    /** What it takes, for people. */
    String form() {
        String one = String.join(", ", options);
        if (options.isEmpty() || bounded()) {
            one = options.isEmpty() ? "" : one + ", or ";
            one += kind.description();
            if (bounded()) {
                one +=
                        min == null
                                ? " of at most " + max
                                : max == null
                                        ? " of at least " + min
                                        : " from " + min + " to " + max;
            }
        } else if (options.size() > 1) {
            one = "one of " + one;
        }
        return most == 0 ? one : "a list, with commas, of " + one;
    }

    /** The default as it would be written in the file. */
    String standardText() {
        return most == 0 ? (standard.isEmpty() ? "" : standard.get(0)) : join(standard);
    }

    /** A value of {@link #parse} as it would be written in the file. */
    String text(Object value) {
        if (value == null) {
            return standardText();
        }
        if (value.getClass().isArray()) {
            return join(
                    IntStream.range(0, Array.getLength(value))
                            .mapToObj(i -> String.valueOf(Array.get(value, i)))
                            .toList());
        }
        return value instanceof Iterable<?> many
                ? join(
                        java.util.stream.StreamSupport.stream(many.spliterator(), false)
                                .map(String::valueOf)
                                .toList())
                : String.valueOf(value);
    }

    private static String join(List<String> items) {
        return items.stream()
                .map(item -> item.replace("\\", "\\\\").replace(",", "\\,"))
                .collect(Collectors.joining(", "));
    }

    /** Items between commas, stripped; a backslash takes the next character as it is. */
    private static List<String> split(String text) {
        List<String> items = new ArrayList<>();
        if (text.isBlank()) {
            return items;
        }
        StringBuilder item = new StringBuilder();
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '\\' && i + 1 < text.length()) {
                item.append(text.charAt(++i));
            } else if (c == ',') {
                items.add(item.toString().strip());
                item.setLength(0);
            } else {
                item.append(c);
            }
        }
        items.add(item.toString().strip());
        return items;
    }
}
