package org.crosslens.server.documents;

import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.crosslens.server.encode.Sha256;

/**
 * What of a document is encoded for a vector field, and its hash. Equal to the Python package's
 * {@code crosslens.ingest.documents}, so that both can serve one index.
 *
 * <p>{@code template} is null where values are joined by full stops; with {@code each} every value of the one source
 * gets a vector of its own, and with {@code passages} as well every passage of each.
 */
public record Source(List<String> fields, boolean image, Template template, boolean each, boolean passages) {

    /** The texts or image references to encode, or to cut into passages: at most one, or with {@code each} all of them. */
    public List<String> inputs(Map<String, Object> document) {
        if (passages) {
            // As they are: passages are places in them.
            return values(document, fields.get(0));
        }
        if (each) {
            return values(document, fields.get(0)).stream().map(Python::strip).toList();
        }
        if (image == false) {
            String text = text(document);
            return text == null ? List.of() : List.of(text);
        }
        for (String field : fields) {
            List<String> values = values(document, field);
            if (values.isEmpty() == false) {
                return List.of(Python.strip(values.get(0)));
            }
        }
        return List.of();
    }

    /** The hash that a document's state records for its {@link #inputs}. */
    public String hash(List<String> inputs) {
        return contentHash(Python.utf8(each ? Python.json(inputs) : String.join("", inputs)));
    }

    /** The hash of a passage's words. */
    public static String hashOf(String words) {
        return contentHash(Python.utf8(words));
    }

    /** 32 hex digits of sha256. */
    public static String contentHash(byte[] data) {
        return Sha256.of(data).substring(0, 32);
    }

    /** The same of all that {@code in} gives. */
    static String contentHash(InputStream in) throws IOException {
        return Sha256.of(in).substring(0, 32);
    }

    private String text(Map<String, Object> document) {
        Map<String, String> parts = new LinkedHashMap<>();
        for (String field : fields) {
            parts.put(field, String.join(", ", values(document, field).stream().map(Python::strip).toList()));
        }
        if (template == null) {
            String joined = String.join(
                ". ",
                parts.values().stream().filter(part -> part.isEmpty() == false).map(Source::withoutStops).toList()
            );
            return joined.isEmpty() ? null : joined;
        }
        if (parts.values().stream().allMatch(String::isEmpty)) {
            return null;
        }
        String filled = template.fill(parts);
        return filled.isEmpty() ? null : filled;
    }

    private static String withoutStops(String part) {
        int end = part.length();
        while (end > 0 && part.charAt(end - 1) == '.') {
            end--;
        }
        return part.substring(0, end);
    }

    /** The values at a dotted path, in order; nested objects, arrays and dotted keys all work. Blank ones are none. */
    static List<String> values(Map<String, Object> document, String path) {
        List<String> values = new ArrayList<>();
        walk(document, path.split("\\.", -1), 0, values);
        values.removeIf(value -> Python.strip(value).isEmpty());
        return values;
    }

    /** Whether a document says anything at a dotted path, be it null or blank. */
    public static boolean isIn(Map<String, Object> document, String path) {
        return isIn(document, path.split("\\.", -1), 0);
    }

    private static boolean isIn(Object node, String[] parts, int at) {
        if (at == parts.length) {
            return true;
        }
        if (node instanceof List<?> list) {
            return list.stream().anyMatch(item -> isIn(item, parts, at));
        }
        StringBuilder key = new StringBuilder();
        for (int i = at; node instanceof Map<?, ?> map && i < parts.length; i++) {
            key.append(i == at ? "" : ".").append(parts[i]);
            if (map.containsKey(key.toString()) && isIn(map.get(key.toString()), parts, i + 1)) {
                return true;
            }
        }
        return false;
    }

    private static void walk(Object node, String[] parts, int at, List<String> values) {
        if (node instanceof List<?> list) {
            list.forEach(item -> walk(item, parts, at, values));
        } else if (at == parts.length) {
            if (node instanceof String text) {
                values.add(text);
            } else if (node instanceof Number || node instanceof Boolean) {
                values.add(Python.json(node));
            }
        } else if (node instanceof Map<?, ?> map) {
            StringBuilder key = new StringBuilder();
            for (int i = at; i < parts.length; i++) {
                key.append(i == at ? "" : ".").append(parts[i]);
                if (map.containsKey(key.toString())) {
                    walk(map.get(key.toString()), parts, i + 1, values);
                }
            }
        }
    }
}
