package org.crosslens.server.ingest;

import java.util.AbstractList;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.crosslens.server.documents.References;

/**
 * What a document keeps for a vector field, its vectors and its state: reading what it says, and writing it anew.
 *
 * <p>The processor may see a part of a document, which an update merges into the whole one afterwards. So what is to be gone
 * is written as null: left out, it would stay as it was.
 */
final class Kept {

    private final Map<String, Object> document;
    private final Settings settings;

    /** Of a document's source. */
    Kept(Map<String, Object> document, Settings settings) {
        this.document = document;
        this.settings = settings;
    }

    /** Whether there is a vector or a state. */
    boolean isThere() {
        return Paths.get(document, settings.field()) != null || Paths.get(document, settings.state()) != null;
    }

    /** The same, and the images behind the references are those of {@code content}; null of texts. */
    boolean isOf(String hash, String fingerprint, String content, int values) {
        return isOf(hash, fingerprint, values) && Objects.equals(content, Paths.get(document, settings.state() + ".content"));
    }

    /** Whether there is a vector for every one of {@code values} values, of the source of that hash and by that model. */
    boolean isOf(String hash, String fingerprint, int values) {
        return saysOf(hash, fingerprint) && hasVectors(Paths.get(document, settings.field()), values);
    }

    /** Whether the state alone says that the vectors are of the source of that hash and by that model. */
    boolean saysOf(String hash, String fingerprint) {
        return Paths.get(document, settings.state()) instanceof Map<?, ?> state
            && fingerprint.equals(state.get("model"))
            && hash.equals(state.get("source"))
            && state.get("error") == null
            && state.get("skipped") == null;
    }

    /** The objects that vectors by that model lie in; none where another made them. */
    List<?> objects(String fingerprint) {
        boolean same = fingerprint.equals(Paths.get(document, settings.state() + ".model"));
        return same && Paths.get(document, settings.field()) instanceof List<?> list ? list : List.of();
    }

    /** Whether every vector is there: a document that was read back comes without them unless asked for. */
    private boolean hasVectors(Object stored, int values) {
        if (settings.source().each() == false) {
            return isVector(stored);
        }
        List<?> objects = stored instanceof List<?> list ? list : stored == null ? List.of() : List.of(stored);
        return objects.size() == values
            && objects.stream().allMatch(each -> each instanceof Map<?, ?> object && isVector(object.get("vector")));
    }

    static boolean isVector(Object value) {
        return value instanceof List<?> list ? list.isEmpty() == false && list.contains(null) == false
            : value instanceof String text && text.isEmpty() == false;
    }

    /** Writes vectors, or null for none, and the state with the {@code outcome} (content, error, skipped, as far as they are). */
    void write(Object vectors, String hash, String fingerprint, Map<String, String> outcome) {
        Map<String, Object> state = new HashMap<>();
        state.put("source", hash);
        state.put("model", fingerprint);
        state.put("error", outcome.get("error"));
        state.put("skipped", outcome.get("skipped"));
        if (settings.source().image()) {
            state.put("content", outcome.get("content"));
        }
        Paths.put(document, settings.field(), vectors);
        Paths.put(document, settings.state(), state);
    }

    /** A vector as documents hold it. */
    static List<Float> vector(float[] values) {
        return new Floats(values);
    }

    /** What is written of vectors by value (null: it has none): the one, or with {@code each} an object for each, in order. */
    static Object of(float[][] vectors, List<String> values, Settings settings) {
        if (settings.source().each() == false) {
            return vectors[0] == null ? null : new Floats(vectors[0]);
        }
        List<Map<String, Object>> objects = new ArrayList<>();
        for (int i = 0; i < vectors.length; i++) {
            if (vectors[i] == null) {
                continue;
            }
            Map<String, Object> object = new HashMap<>();
            object.put("vector", new Floats(vectors[i]));
            object.put("position", i);
            if (settings.source().image() && References.isInline(values.get(i)) == false) {
                object.put("reference", values.get(i));
            }
            objects.add(object);
        }
        return objects.isEmpty() ? null : objects;
    }

    /** A vector as a list, without a box for each number until one is asked for. */
    private static final class Floats extends AbstractList<Float> {

        private final float[] values;

        Floats(float[] values) {
            this.values = values;
        }

        @Override
        public Float get(int i) {
            return values[i];
        }

        @Override
        public int size() {
            return values.length;
        }
    }
}
