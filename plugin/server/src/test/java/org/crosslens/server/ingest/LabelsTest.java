package org.crosslens.server.ingest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.crosslens.server.Golden;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.bulk.BulkRequest;
import org.elasticsearch.action.index.IndexRequest;
import org.elasticsearch.action.update.UpdateRequest;
import org.elasticsearch.common.breaker.CircuitBreaker;
import org.elasticsearch.common.breaker.CircuitBreakingException;
import org.elasticsearch.common.breaker.NoopCircuitBreaker;
import org.elasticsearch.ingest.IngestDocument;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What the processor makes of a document: that of the golden file, or nothing, which leaves it to a run. */
class LabelsTest {

    private static final String INTO = "look.tags", STATE = "crosslens." + INTO;
    private static DemoNode node;

    @BeforeAll
    static void start() {
        node = DemoNode.start();
    }

    @AfterAll
    static void close() {
        node.close();
    }

    /** Captions aren't among them: their names and vectors aren't stored, so runs give them. */
    static List<Map<String, Object>> labels() throws IOException {
        List<Map<String, Object>> lines = Golden.lines("labels");
        assertTrue(lines.removeIf(line -> Golden.object(line.get("set")).get("kind").equals("caption")));
        return lines;
    }

    private static Map<String, Object> line(String name) throws IOException {
        return labels().stream().filter(line -> line.get("case").equals(name)).findFirst().orElseThrow();
    }

    /** A document's source of its own, as one comes from a request. */
    private static Map<String, Object> document(Map<String, Object> line) {
        return IngestDocument.deepCopyMap(Golden.object(line.get("document")));
    }

    /** Stores a case's set under an index of its own name; the processor's settings for it. */
    private static Map<String, Object> stored(Map<String, Object> line) {
        Map<String, Object> set = Golden.object(line.get("set"));
        String index = (String) line.get("case");
        node.stored().put(index + "/" + INTO + "/labels/0", set);
        Object labels = set.get("fingerprint");
        return Map.of("index", index, "into", INTO, "labels", labels, "field", line.get("path"), "model", "f00d");
    }

    @ParameterizedTest
    @MethodSource("labels")
    void documentsAreLabelledAsRecorded(Map<String, Object> line) {
        Map<String, Object> source = document(line), update = Golden.object(line.get("update"));
        Object before = Paths.get(source, INTO);
        node.label(stored(line), "index", source);
        assertEquals(Paths.get(update, STATE), Paths.get(source, STATE));
        assertEquals(update.containsKey("look") ? Paths.get(update, INTO) : before, Paths.get(source, INTO));
        // Written again, it is left alone.
        Map<String, Object> again = IngestDocument.deepCopyMap(source);
        Paths.put(again, STATE + ".found", List.of("not looked at"));
        node.label(stored(line), "index", again);
        assertEquals(List.of("not looked at"), Paths.get(again, STATE + ".found"));
    }

    @Test
    void whatIsTakenAwayStaysAwayAndANewVectorHasItsOwnLabels() throws IOException {
        Map<String, Object> line = line("a child and those above it"), source = document(line), config = stored(line);
        node.label(config, "index", source);
        assertEquals(List.of("lion", "cat", "animal"), Paths.get(source, INTO));
        Paths.put(source, INTO, new ArrayList<>(List.of("lion", "by hand")));
        Paths.put(source, "crosslens.view.source", "another");
        node.label(config, "index", source);
        assertEquals(List.of("by hand", "lion"), Paths.get(source, INTO));
        assertEquals(List.of("cat", "animal"), Paths.get(source, STATE + ".refused"));
        source.put("view", List.of(0.0, 0.0, 1.0));
        Paths.put(source, "crosslens.view.source", "red");
        node.label(config, "index", source);
        assertEquals(List.of("by hand", "red", "Größe 7"), Paths.get(source, INTO));
        // Its vector gone, so are its labels.
        source.put("view", null);
        node.label(config, "index", source);
        assertEquals(List.of("by hand"), Paths.get(source, INTO));
        assertNull(Paths.get(source, STATE));
    }

    @Test
    void vectorsInBase64AreTheSame() throws IOException {
        Map<String, Object> line = line("the best of several"), source = document(line);
        for (Map<String, Object> object : Golden.objects(source.get("views"))) {
            ByteBuffer bytes = ByteBuffer.allocate(3 * Float.BYTES);
            ((List<?>) object.get("vector")).forEach(each -> bytes.putFloat(((Number) each).floatValue()));
            object.put("vector", Base64.getEncoder().encodeToString(bytes.array()));
        }
        node.label(stored(line), "index", source);
        assertEquals(Paths.get(Golden.object(line.get("update")), STATE), Paths.get(source, STATE));
    }

    @Test
    void whatCantBeLabelledIsLeftToARun() throws IOException {
        Map<String, Object> line = line("the owner's come first"), config = stored(line);
        assertLeft(config, null, document(line));
        assertLeft(with(config, "labels", "0123456789abcdef"), "index", document(line));
        assertLeft(with(config, "index", "no such"), "index", document(line));
        assertLeft(with(config, "model", "another"), "index", document(line));
        for (Object vector : new Object[] { List.of(1.0, 2.0), List.of(0, 0, 0), List.of("a", "b", "c"), "AAAA", "?", 7, true, Map.of() }) {
            Map<String, Object> source = document(line);
            source.put("view", vector);
            assertLeft(config, "index", source);
        }
        for (Object look : new Object[] { "text", List.of(Map.of("tags", "in an array")) }) {
            Map<String, Object> source = document(line);
            source.put("look", look);
            assertLeft(config, "index", source);
        }
        Map<String, Object> dotted = document(line);
        dotted.remove("look");
        dotted.put("look.tags", "with a dot");
        assertLeft(config, "index", dotted);
        Map<String, Object> damaged = new HashMap<>(Golden.object(line.get("set")));
        for (String key : List.of("vectors", "centre", "spread", "thresholds", "labels", "parents", "parts")) {
            node.stored().put(key + "/" + INTO + "/labels/0", with(damaged, key, key.equals("parts") ? 0 : "AAAA"));
            assertLeft(with(config, "index", key), "index", document(line));
        }
    }

    @Test
    void thePartThatAnUpdateSendsIsKnownWhoeverHandedItOn() {
        IndexRequest part = new IndexRequest("index").id("1"), whole = new IndexRequest("index").id("2");
        IndexRequest other = new IndexRequest("index").id("3");
        BulkRequest bulk = new BulkRequest();
        bulk.add(new UpdateRequest("index", "1").doc(part.source(Map.of("photo", "a"))).docAsUpsert(true));
        bulk.add(whole.source(Map.of("photo", "a")));
        bulk.add(new UpdateRequest("index", "3").doc(Map.of("photo", "a")).upsert(other.source(Map.of("photo", "a"))));
        boolean[] went = new boolean[1];
        new UpdateParts().apply(null, "bulk", bulk, null, (task, action, request, listener) -> went[0] = true);
        assertTrue(went[0]);
        assertNull(part.index());
        assertEquals("index", whole.index());
        assertEquals("index", other.index());
    }

    private static Map<String, Object> with(Map<String, Object> map, String key, Object value) {
        Map<String, Object> changed = new HashMap<>(map);
        changed.put(key, value);
        return changed;
    }

    private static void assertLeft(Map<String, Object> config, String index, Map<String, Object> source) {
        Map<String, Object> before = IngestDocument.deepCopyMap(source);
        node.label(config, index, source);
        assertEquals(before, source);
    }

    /** A stored set of so many labels of {@code dims}, in parts of 1,000. */
    private static Map<String, Map<String, Object>> large(String index, int count, int dims) {
        Map<String, Map<String, Object>> parts = new HashMap<>();
        int most = 1_000, number = (count + most - 1) / most;
        for (int part = 0; part < number; part++) {
            int size = Math.min(most, count - part * most);
            List<String> names = new ArrayList<>(), parents = new ArrayList<>();
            ByteBuffer vectors = ByteBuffer.allocate(size * dims * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
            ByteBuffer ones = ByteBuffer.allocate(size * Double.BYTES).order(ByteOrder.LITTLE_ENDIAN);
            for (int i = 0; i < size; i++) {
                names.add("label " + (part * most + i));
                parents.add(null);
                vectors.putFloat((i * dims + (part + i) % dims) * Float.BYTES, 1);
                ones.putDouble(1);
            }
            Map<String, Object> source = new HashMap<>(Map.of("fingerprint", index, "kind", "keyword", "part", part, "parts", number));
            source.putAll(Map.of("labels", names, "parents", parents, "vectors", Base64.getEncoder().encodeToString(vectors.array())));
            for (String key : List.of("centre", "spread", "thresholds")) {
                source.put(key, Base64.getEncoder().encodeToString(ones.array()));
            }
            parts.put(index + "/" + INTO + "/labels/" + part, source);
        }
        return parts;
    }

    /** What the sets of {@code stored} documents answer; {@code reads} counts how many documents were read. */
    private static LabelSets sets(Map<String, Map<String, Object>> stored, CircuitBreaker breaker, int[] reads, long[] now) {
        return new LabelSets((id, listener) -> {
            reads[0]++;
            listener.onResponse(stored.get(id));
        }, Runnable::run, breaker, () -> now[0]);
    }

    private static LabelSet find(LabelSets sets, String index) {
        LabelSet[] found = new LabelSet[1];
        sets.find(new LabelSets.Name(index, INTO, index), ActionListener.wrap(set -> found[0] = set, e -> { throw new AssertionError(e); }));
        return found[0];
    }

    @Test
    void setsAreReadOnceAndKeptWithinBounds() {
        long[] counted = new long[1], most = new long[1], now = new long[1];
        int[] reads = new int[1];
        CircuitBreaker breaker = new NoopCircuitBreaker("crosslens") {
            @Override
            public void addEstimateBytesAndMaybeBreak(long bytes, String label) {
                counted[0] += bytes;
                most[0] = Math.max(most[0], counted[0]);
            }

            @Override
            public void addWithoutBreaking(long bytes) {
                counted[0] += bytes;
            }
        };
        Map<String, Map<String, Object>> stored = new HashMap<>();
        for (String index : List.of("a", "b", "c")) {
            stored.putAll(large(index, 2_900, 2_048));
        }
        stored.putAll(large("too large", 10_000, 2_048));
        LabelSets sets = sets(stored, breaker, reads, now);
        LabelSet first = find(sets, "a");
        assertEquals(2_048, first.dims());
        assertEquals(first, find(sets, "a"));
        assertEquals(3, reads[0]);
        assertTrue(most[0] > 2_900 * 2_048 * Float.BYTES);
        assertEquals(most[0], sets.used());
        for (String index : List.of("b", "c", "a")) {
            assertNotNull(find(sets, index));
            assertTrue(sets.used() <= 64 << 20);
            assertEquals(0, counted[0]);
        }
        assertNull(find(sets, "too large"));
        assertEquals(0, counted[0]);
        // What isn't there is asked for again, after a while.
        reads[0] = 0;
        assertNull(find(sets, "not yet"));
        assertNull(find(sets, "not yet"));
        stored.putAll(large("not yet", 1, 3));
        assertNull(find(sets, "not yet"));
        assertEquals(1, reads[0]);
        now[0] += 10_000;
        assertNotNull(find(sets, "not yet"));
        // A part of another set beside it.
        stored.put("b/" + INTO + "/labels/1", large("c", 2_900, 2_048).get("c/" + INTO + "/labels/1"));
        assertNull(find(sets, "b"));
        assertEquals(0, counted[0]);
    }

    @Test
    void aSetForWhichThereIsNoMemoryIsNotKept() {
        CircuitBreaker full = new NoopCircuitBreaker("crosslens") {
            @Override
            public void addEstimateBytesAndMaybeBreak(long bytes, String label) {
                throw new CircuitBreakingException("full", Durability.TRANSIENT);
            }
        };
        LabelSets sets = sets(large("a", 3, 3), full, new int[1], new long[1]);
        assertNull(find(sets, "a"));
        assertEquals(0, sets.used());
    }

    @Test
    void documentsThatAskMeanwhileGetTheSameAnswer() {
        List<Runnable> later = new ArrayList<>();
        Map<String, Map<String, Object>> stored = large("a", 3, 3);
        LabelSets.Reader reader = (id, listener) -> later.add(() -> listener.onResponse(stored.get(id)));
        LabelSets sets = new LabelSets(reader, Runnable::run, new NoopCircuitBreaker("crosslens"), () -> 0);
        List<LabelSet> found = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            sets.find(new LabelSets.Name("a", INTO, "a"), ActionListener.wrap(found::add, e -> { throw new AssertionError(e); }));
        }
        assertTrue(found.isEmpty());
        assertEquals(1, later.size());
        later.get(0).run();
        assertEquals(3, found.size());
        assertEquals(1, found.stream().distinct().count());
        assertFalse(found.contains(null));
    }
}
