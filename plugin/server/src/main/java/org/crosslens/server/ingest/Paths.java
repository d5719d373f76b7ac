package org.crosslens.server.ingest;

import java.util.HashMap;
import java.util.Map;

/** Reading and writing dotted paths of a document's source. */
final class Paths {

    private Paths() {}

    /** The value at {@code path}, through objects only; null for none. */
    static Object get(Map<String, Object> source, String path) {
        Object node = source;
        for (String part : path.split("\\.", -1)) {
            if (node instanceof Map<?, ?> map == false) {
                return null;
            }
            node = ((Map<?, ?>) node).get(part);
        }
        return node;
    }

    /** The parent of {@code path} that is not an object, where {@link #put} would destroy it; null for none. */
    static String obstacle(Map<String, Object> source, String path) {
        Object node = source;
        int dot = -1;
        while ((dot = path.indexOf('.', dot + 1)) >= 0) {
            node = ((Map<?, ?>) node).get(path.substring(path.lastIndexOf('.', dot - 1) + 1, dot));
            if (node == null) {
                return null;
            }
            if (node instanceof Map == false) {
                return path.substring(0, dot);
            }
        }
        return null;
    }

    /** Sets the value at {@code path}, making the objects it lies in. */
    @SuppressWarnings("unchecked")
    static void put(Map<String, Object> source, String path, Object value) {
        String[] parts = path.split("\\.", -1);
        Map<String, Object> node = source;
        for (int i = 0; i < parts.length - 1; i++) {
            Object inner = node.get(parts[i]);
            if (inner == null) {
                inner = new HashMap<String, Object>();
                node.put(parts[i], inner);
            }
            node = (Map<String, Object>) inner;
        }
        node.put(parts[parts.length - 1], value);
    }
}
