package org.crosslens.server.ingest;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.crosslens.server.documents.Passage;
import org.crosslens.server.documents.Source;

/**
 * The passages of a document's texts: which of them have a vector already, and what the document keeps of all. As the
 * Python package's {@code crosslens.ingest.run.passages}.
 */
final class Passages {

    /** A passage of the text at {@code position}, and the hash of its words. */
    private record Place(int position, Passage passage, String hash) {}

    private final List<Place> places = new ArrayList<>();
    private final Map<String, Object> kept = new HashMap<>();
    private final Map<String, Place> lacking = new LinkedHashMap<>();
    private final List<String> texts;
    private final boolean stored;

    /** The {@code cut} passages of {@code texts}; those in {@code before}, what the document has by the same model, keep their vectors. */
    Passages(List<String> texts, List<List<Passage>> cut, List<?> before) {
        this.texts = texts;
        Set<String> hashes = new HashSet<>();
        for (int i = 0; i < texts.size(); i++) {
            for (Passage each : cut.get(i)) {
                Place place = new Place(i, each, Source.hashOf(each.of(texts.get(i))));
                places.add(place);
                hashes.add(place.hash);
            }
        }
        for (Object entry : before) {
            if (entry instanceof Map<?, ?> object && object.get("hash") instanceof String hash && hashes.contains(hash)) {
                Object vector = object.get("vector");
                if (Kept.isVector(vector)) {
                    kept.put(hash, vector);
                }
            }
        }
        for (Place each : places) {
            if (kept.containsKey(each.hash) == false) {
                lacking.putIfAbsent(each.hash, each);
            }
        }
        this.stored = isStored(before);
    }

    private boolean isStored(List<?> before) {
        if (before.size() != places.size()) {
            return false;
        }
        for (int i = 0; i < places.size(); i++) {
            Place place = places.get(i);
            boolean same = before.get(i) instanceof Map<?, ?> entry
                && Kept.isVector(entry.get("vector"))
                && place.hash.equals(entry.get("hash"))
                && is(entry.get("position"), place.position)
                && is(entry.get("start"), place.passage.start())
                && is(entry.get("end"), place.passage.end());
            if (same == false) {
                return false;
            }
        }
        return true;
    }

    private static boolean is(Object value, int number) {
        return value instanceof Number found && found.doubleValue() == number;
    }

    /** Whether the document has just these passages, each with its vector. */
    boolean areStored() {
        return stored;
    }

    /** The words of the passages that have no vector yet, in order, each once. */
    List<String> lacking() {
        return lacking.values().stream().map(each -> each.passage.of(texts.get(each.position))).toList();
    }

    /** The memory that {@link #lacking} and vectors of {@code dims} for them take, in bytes. */
    long bytes(int dims) {
        long characters = lacking.values().stream().mapToLong(each -> each.passage.to() - each.passage.from()).sum();
        return Character.BYTES * characters + (long) Float.BYTES * dims * lacking.size();
    }

    /** What the document keeps: an object for every passage. {@code made} are the vectors of {@link #lacking}. */
    List<Map<String, Object>> stored(float[][] made) {
        Map<String, Object> vectors = new HashMap<>(kept);
        int i = 0;
        for (String hash : lacking.keySet()) {
            vectors.put(hash, Kept.vector(made[i++]));
        }
        List<Map<String, Object>> objects = new ArrayList<>();
        for (Place each : places) {
            Map<String, Object> object = new HashMap<>();
            object.put("vector", vectors.get(each.hash));
            object.put("position", each.position);
            object.put("start", each.passage.start());
            object.put("end", each.passage.end());
            object.put("hash", each.hash);
            objects.add(object);
        }
        return objects;
    }
}
