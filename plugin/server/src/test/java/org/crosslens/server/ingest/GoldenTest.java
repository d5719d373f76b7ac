package org.crosslens.server.ingest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.io.IOException;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.crosslens.server.Golden;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The processor writes the states and nested objects of the golden file, with the demo's model. */
class GoldenTest {

    private static final String FIELD = "v";
    /** Documents without the source field, whose state Python records and the processor leaves alone. */
    private static final Set<String> NOT_SENT = Set.of("no field", "a text where an object is looked for");
    private static DemoNode node;

    @BeforeAll
    static void start() {
        node = DemoNode.start();
    }

    @AfterAll
    static void close() {
        node.close();
    }

    static List<Map<String, Object>> documents() throws IOException {
        return Golden.lines("documents");
    }

    @ParameterizedTest
    @MethodSource("documents")
    void statesAreAsRecorded(Map<String, Object> line) {
        Map<String, Object> field = Golden.object(line.get("field")), recorded = Golden.object(line.get("state"));
        Map<String, Object> config = new HashMap<>();
        config.put("model", recorded.get("model"));
        config.put("field", FIELD);
        config.put("modality", field.get("modality"));
        config.put("each", field.get("each"));
        config.put("passages", field.getOrDefault("passages", false));
        config.put("ignore_missing", true);
        config.put("record_errors", true);
        if (field.get("template") == null) {
            config.put("source", field.get("sources"));
        } else {
            config.put("template", field.get("template"));
        }
        Map<String, Object> source = new HashMap<>(Golden.object(line.get("document")));
        node.succeed(config, source);
        if (NOT_SENT.contains(line.get("case"))) {
            // It may be a part of a document, which keeps the state that it has.
            assertNull(source.get("crosslens"));
            return;
        }
        Map<String, Object> state = new HashMap<>(Golden.object(Golden.object(source.get("crosslens")).get(FIELD)));
        // The document may be a part of one, so what it doesn't say is null.
        state.values().removeIf(Objects::isNull);
        // Each side says in its own words what is wrong.
        Object failure = state.remove("error");
        assertEquals(line.get("failed"), failure != null, String.valueOf(failure));
        assertEquals(recorded, state);
        List<?> stored = source.get(FIELD) instanceof List<?> list ? list : List.of();
        if (field.get("each").equals(true)) {
            assertEquals(line.get("vectors"), stored.size());
            assertEquals(line.get("nested"), Golden.objects(stored).stream().map(GoldenTest::withoutVector).toList());
        } else {
            assertEquals(line.get("vectors"), stored.isEmpty() ? 0 : 1);
        }
    }

    private static Map<String, Object> withoutVector(Map<String, Object> entry) {
        Map<String, Object> kept = new HashMap<>(entry);
        assertEquals(192, ((List<?>) kept.remove("vector")).size());
        return kept;
    }
}
