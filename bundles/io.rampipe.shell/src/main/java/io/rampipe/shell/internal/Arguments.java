package io.rampipe.shell.internal;

import io.rampipe.api.Printable;
import io.rampipe.api.Units;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/**
 * A command's arguments, told apart: options may stand anywhere before {@code --}, and everything
 * else is an operand. What makes no sense is {@link WrongUsage}.
 */
final class Arguments {
    private static final String TIME = "--for";

    private final Manual manual;
    private final Set<String> options = new HashSet<>();
    private final List<String> operands = new ArrayList<>();
    private String number;
    private String time;

    private Arguments(Manual manual) {
        this.manual = manual;
    }

    /**
     * @param given as Gogo has them, without the command's name
     */
    static Arguments of(Manual manual, String[] given) {
        Arguments arguments = new Arguments(manual);
        boolean operandsOnly = false;
        for (int i = 0; i < given.length; i++) {
            // Gogo takes the word null for null; here it is a name like others.
            String argument = String.valueOf(given[i]);
            if (operandsOnly || argument.length() < 2 || argument.charAt(0) != '-') {
                arguments.operands.add(argument);
            } else if (argument.equals("--")) {
                operandsOnly = true;
            } else if (argument.equals("--help") || argument.equals("-h")) {
                arguments.options.add("--help");
            } else if (argument.equals(TIME) && manual.options().contains(TIME)) {
                if (++i == given.length) {
                    throw arguments.wrong(TIME + " needs a time");
                }
                arguments.time = String.valueOf(given[i]);
            } else if (manual.options().contains(argument) && argument.startsWith("--")) {
                arguments.options.add(argument);
            } else if (manual.options().contains("-n") && argument.startsWith("-n")) {
                if (argument.length() == 2 && ++i == given.length) {
                    throw arguments.wrong("-n needs a number");
                }
                arguments.number = argument.length() == 2 ? given[i] : argument.substring(2);
            } else {
                throw arguments.wrong("unknown option " + Printable.of(argument));
            }
        }
        return arguments;
    }

    boolean has(String option) {
        return options.contains(option);
    }

    /** The value of -n, at least 1. */
    int number(int standard) {
        if (number == null) {
            return standard;
        }
        try {
            int value = Integer.parseInt(number);
            if (value > 0) {
                return value;
            }
        } catch (NumberFormatException e) {
            // Said below.
        }
        throw wrong("-n " + Printable.of(number) + ": must be a whole number of at least 1");
    }

    /** The value of --for. */
    Duration time(Duration standard) {
        try {
            return time == null ? standard : Units.duration(time);
        } catch (IllegalArgumentException e) {
            throw wrong(TIME + ": " + Printable.of(String.valueOf(e.getMessage())));
        }
    }

    List<String> operands() {
        return operands;
    }

    Arguments noOperands() {
        if (!operands.isEmpty()) {
            throw wrong("unexpected argument " + Printable.of(operands.get(0)));
        }
        return this;
    }

    /** The wrong usage of this command. */
    WrongUsage wrong(String what) {
        return new WrongUsage(
                manual
                        + ": "
                        + what
                        + "; usage: "
                        + manual.synopsis()
                        + " (see help "
                        + manual
                        + ")");
    }
}
