package org.crosslens.server.fusion;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/** One of several things that a request names, such as {@code min-max}. */
final class Choice {

    private Choice() {}

    /** How requests write it. */
    static String written(Enum<?> choice) {
        return choice.name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    /** The choice of that name; throws {@link IllegalArgumentException} that says which there are of this {@code kind}. */
    static <E extends Enum<E>> E of(Class<E> choices, String kind, String name) {
        for (E each : choices.getEnumConstants()) {
            if (written(each).equals(name)) {
                return each;
            }
        }
        String known = Arrays.stream(choices.getEnumConstants()).map(Choice::written).collect(Collectors.joining(", "));
        throw new IllegalArgumentException("unknown " + kind + " [" + name + "]; one of " + known);
    }
}
