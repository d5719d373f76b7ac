package org.crosslens.server.documents;

import java.math.BigDecimal;
import java.math.RoundingMode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What labelling makes of the field that labels are written to, and what the document then says of them: as the Python
 * package's {@code crosslens.ingest.contract.labelled}.
 *
 * <p>The owner's own values stay, before those given; of a field of true and false an own value keeps its place. What was
 * given before and isn't there any more was refused, and is not given again.
 *
 * @param changed whether {@code value} differs from what is in the field
 * @param value what the field is to hold; null for nothing
 * @param state what stands beside it; null where the document has no vector any more
 */
public record Labelled(boolean changed, Object value, Map<String, Object> state) {

    private static final int DIGITS = 3;

    /** What a document records of its labels; empty where it was never given any. */
    public static Map<?, ?> state(Object recorded) {
        return recorded instanceof Map<?, ?> state && state.get("labels") instanceof String labels && labels.isEmpty() == false
            ? state
            : Map.of();
    }

    /** What changes whenever a document's vector does, by the vector's own state. */
    public static String identity(Map<?, ?> vector) {
        List<String> parts = new ArrayList<>();
        for (String name : List.of("source", "content", "model")) {
            parts.add(vector.get(name) == null ? "" : vector.get(name).toString());
        }
        return Source.contentHash(String.join("\0", parts).getBytes(StandardCharsets.UTF_8));
    }

    /** Whether a value is written to {@code path} in a way that can't be written again: with dots in keys, or in an array of objects. */
    public static boolean isScattered(Map<String, Object> document, Object atPath, String path) {
        return atPath == null && Source.values(document, path).isEmpty() == false;
    }

    /**
     * A document whose field holds {@code present}, and that said {@code before} of its labels, with the labels that were
     * {@code found}, by name with scores: of a field of true and false {@code "true"} or {@code "false"} alone. {@code labels}
     * is the fingerprint of the label set, and {@code vector} the vector's {@link #identity}.
     */
    public static Labelled of(
        Object present,
        Map<?, ?> before,
        boolean isBoolean,
        Map<String, Double> found,
        String labels,
        String vector
    ) {
        Marks marks = new Marks(present, before);
        List<Object> all = marks.own(), given = new ArrayList<>();
        if (isBoolean == false || all.isEmpty()) {
            Set<String> kept = new HashSet<>(marks.refused);
            all.forEach(each -> kept.add(word(each)));
            for (String name : found.keySet()) {
                if (kept.contains(name) == false) {
                    given.add(isBoolean ? (Object) name.equals("true") : name);
                }
            }
        }
        all.addAll(given);
        Map<String, Object> state = new HashMap<>();
        state.put("labels", labels);
        state.put("vector", vector);
        state.put("found", List.copyOf(found.keySet()));
        state.put("scores", found.values().stream().map(Labelled::rounded).toList());
        state.put("given", given.stream().map(Labelled::word).toList());
        state.put("refused", List.copyOf(marks.refused));
        return marks.with(all, isBoolean, state);
    }

    /** A document that has no vector any more: without what it was given. */
    public static Labelled without(Object present, Map<?, ?> before, boolean isBoolean) {
        Marks marks = new Marks(present, before);
        return marks.with(marks.own(), isBoolean, null);
    }

    /** What is in the field, and which of it was given. */
    private static final class Marks {

        private final List<Object> values;
        private final Set<String> given;
        private final Set<String> refused = new LinkedHashSet<>();

        Marks(Object present, Map<?, ?> before) {
            values = listed(present);
            given = words(before.get("given"));
            refused.addAll(words(before.get("refused")));
            refused.addAll(given);
            values.forEach(each -> refused.remove(word(each)));
        }

        /** The owner's values. */
        List<Object> own() {
            List<Object> own = new ArrayList<>(values);
            own.removeIf(each -> given.contains(word(each)));
            return own;
        }

        Labelled with(List<Object> all, boolean isBoolean, Map<String, Object> state) {
            Object value = all.isEmpty() ? null : isBoolean ? all.get(0) : all;
            return new Labelled(all.equals(values) == false, value, state);
        }
    }

    private static List<Object> listed(Object value) {
        List<Object> values = value instanceof List<?> list ? new ArrayList<>(list) : new ArrayList<>();
        if (value instanceof List == false) {
            values.add(value);
        }
        values.removeIf(each -> each == null);
        return values;
    }

    private static Set<String> words(Object recorded) {
        Set<String> words = new LinkedHashSet<>();
        listed(recorded).forEach(each -> words.add(word(each)));
        return words;
    }

    /** A value as states record it: a text as it is, all else as JSON. */
    private static String word(Object value) {
        return value instanceof String text ? text : Python.dumps(value);
    }

    /** To three decimals as Python rounds: half of one to the even digit, of the number as it is and not as it is written. */
    private static double rounded(double score) {
        return new BigDecimal(score).setScale(DIGITS, RoundingMode.HALF_EVEN).doubleValue();
    }
}
