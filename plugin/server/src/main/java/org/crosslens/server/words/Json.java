package org.crosslens.server.words;

import java.util.List;
import java.util.Map;

/** Parts of JSON that was read: what is of another type counts as empty. */
final class Json {

    private Json() {}

    static Map<String, Object> object(Map<String, Object> from, String key) {
        return object(from.get(key));
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> object(Object value) {
        return value instanceof Map<?, ?> map ? (Map<String, Object>) map : Map.of();
    }

    static List<?> list(Object value) {
        return value instanceof List<?> list ? list : List.of();
    }
}
