package org.crosslens.server;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xcontent.XContentParserConfiguration;
import org.elasticsearch.xcontent.json.JsonXContent;

/**
 * The golden files, which the Python side's tests read as well: {@code tests/golden} in the repository, where {@code
 * python -m tests.golden} writes them. What their lines mean stands in {@code docs/format.md}.
 */
public final class Golden {

    private Golden() {}

    /** The folder: in the repository, or elsewhere where {@code CROSSLENS_GOLDEN} names it. */
    public static Path folder() {
        String elsewhere = System.getenv("CROSSLENS_GOLDEN");
        return Path.of(elsewhere != null ? elsewhere : System.getProperty("crosslens.golden"));
    }

    /** The cases in {@code NAME.jsonl}. */
    public static List<Map<String, Object>> lines(String name) throws IOException {
        List<Map<String, Object>> lines = new ArrayList<>();
        for (String line : Files.readAllLines(folder().resolve(name + ".jsonl"), StandardCharsets.US_ASCII)) {
            try (XContentParser parser = JsonXContent.jsonXContent.createParser(XContentParserConfiguration.EMPTY, line)) {
                lines.add(parser.mapOrdered());
            }
        }
        return lines;
    }

    /** A JSON object. */
    @SuppressWarnings("unchecked")
    public static Map<String, Object> object(Object value) {
        return (Map<String, Object>) value;
    }

    /** A JSON array of objects. */
    public static List<Map<String, Object>> objects(Object value) {
        return ((List<?>) value).stream().map(Golden::object).toList();
    }

    /** A JSON array of strings. */
    public static List<String> strings(Object value) {
        return ((List<?>) value).stream().map(String.class::cast).toList();
    }

    /** A number; NaN for null. */
    public static double number(Object value) {
        return value == null ? Double.NaN : ((Number) value).doubleValue();
    }
}
