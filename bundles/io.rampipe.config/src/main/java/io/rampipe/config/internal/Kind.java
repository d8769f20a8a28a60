package io.rampipe.config.internal;

import io.rampipe.api.Units;
import java.util.Locale;
import java.util.Objects;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.osgi.service.metatype.AttributeDefinition;

/** What a value is. Metatype knows no sizes and times: they are strings whose bounds have units. */
enum Kind {
    TEXT("text") {
        @Override
        Object parse(String text) {
            return text;
        }
    },
    BOOLEAN("true or false") {
        @Override
        Object parse(String text) {
            return switch (text.toLowerCase(Locale.ROOT)) {
                case "true", "yes", "on" -> Boolean.TRUE;
                case "false", "no", "off" -> Boolean.FALSE;
                default -> throw new IllegalArgumentException(text);
            };
        }
    },
    INTEGER("a whole number") {
        @Override
        Object parse(String text) {
            return Integer.valueOf(text);
        }

        @Override
        double order(String text) {
            return Integer.parseInt(text);
        }
    },
    LONG("a whole number") {
        @Override
        Object parse(String text) {
            return Long.valueOf(text);
        }

        @Override
        double order(String text) {
            return Long.parseLong(text);
        }
    },
    DECIMAL("a number") {
        @Override
        Object parse(String text) {
            return order(text);
        }

        @Override
        double order(String text) {
            if (!DECIMAL_FORM.matcher(text).matches()) {
                // Double.parseDouble would take NaN, Infinity, 0x1p3 and 2d.
                throw new IllegalArgumentException(text);
            }
            return Double.parseDouble(text);
        }
    },
    /** For the component a string, which it reads with {@link Units#bytes(String)}. */
    SIZE("a size") {
        @Override
        Object parse(String text) {
            Units.bytes(text);
            return text;
        }

        @Override
        double order(String text) {
            return Units.bytes(text);
        }
    },
    /** For the component a string, which it reads with {@link Units#duration(String)}. */
    TIME("a time") {
        @Override
        Object parse(String text) {
            Units.duration(text);
            return text;
        }

        @Override
        double order(String text) {
            return Units.duration(text).toNanos();
        }
    };

    private static final Pattern DECIMAL_FORM =
            Pattern.compile("[+-]?(\\d+\\.?\\d*|\\.\\d+)([eE][+-]?\\d{1,3})?");
    private static final Pattern SIZE_FORM =
            Pattern.compile("\\d+(\\.\\d+)?\\s*([KMGT](iB)?|B|[kgt])");
    private static final Pattern TIME_FORM =
            Pattern.compile("\\d+(\\.\\d+)?\\s*(us|ms|s|m|min|h|d)");

    private final String description;

    Kind(String description) {
        this.description = description;
    }

    /** For people: {@code a whole number}. */
    String description() {
        return description;
    }

    /**
     * The value as the component's configuration has it.
     *
     * @throws IllegalArgumentException if it is none
     */
    abstract Object parse(String text);

    /** Where it stands among others of its kind; for bounds. */
    double order(String text) {
        throw new IllegalArgumentException("no order: " + text);
    }

    /** Whether its values have an order, so that bounds mean something. */
    boolean isOrdered() {
        return this != TEXT && this != BOOLEAN;
    }

    /**
     * @param metatype type by {@link AttributeDefinition}'s constants
     * @param examples bounds and default, each may be null: they tell whether a string is a size or
     *     a time. In them {@code m} is minutes and {@code M} mebibytes
     */
    static Kind of(int metatype, String... examples) {
        return switch (metatype) {
            case AttributeDefinition.BOOLEAN -> BOOLEAN;
            case AttributeDefinition.INTEGER -> INTEGER;
            case AttributeDefinition.LONG -> LONG;
            case AttributeDefinition.DOUBLE -> DECIMAL;
            case AttributeDefinition.STRING ->
                    matches(TIME_FORM, examples)
                            ? TIME
                            : matches(SIZE_FORM, examples) ? SIZE : TEXT;
            default ->
                    throw new IllegalArgumentException(
                            "metatype type " + metatype + " is not supported");
        };
    }

    private static boolean matches(Pattern form, String... examples) {
        return Stream.of(examples)
                .filter(Objects::nonNull)
                .anyMatch(example -> form.matcher(example.strip()).matches());
    }
}
