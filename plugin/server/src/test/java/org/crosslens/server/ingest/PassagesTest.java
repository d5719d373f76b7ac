package org.crosslens.server.ingest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.crosslens.server.Demo;
import org.crosslens.server.Golden;
import org.crosslens.server.documents.TextException;
import org.crosslens.server.encode.Device;
import org.crosslens.server.encode.Encoder;
import org.crosslens.server.encode.ModelFolder;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which passages of a document are encoded when it is written again. */
class PassagesTest {

    private static final int SENTENCES = 100;
    private static DemoNode node;

    @BeforeAll
    static void start() {
        node = DemoNode.start();
    }

    @AfterAll
    static void close() {
        node.close();
    }

    private static Map<String, Object> config(Object... more) {
        Map<String, Object> config = new HashMap<>(Map.of("model", "crosslens-emoji", "field", "v", "modality", "text", "source", "body"));
        config.put("passages", true);
        for (int i = 0; i < more.length; i += 2) {
            config.put((String) more[i], more[i + 1]);
        }
        return config;
    }

    private static String body(String another) {
        StringBuilder body = new StringBuilder();
        for (int i = 0; i < SENTENCES; i++) {
            body.append(i == SENTENCES / 2 ? another : "A green lamp stands beside house " + i + ". ");
        }
        return body.toString();
    }

    private static Map<String, Object> written(String body) {
        Map<String, Object> source = new HashMap<>(Map.of("body", body));
        node.succeed(config(), source);
        return source;
    }

    private static List<Map<String, Object>> passages(Map<String, Object> source) {
        return Golden.objects(source.get("v"));
    }

    private static long encodedBy(Map<String, Object> source) {
        long before = node.encoded();
        node.succeed(config(), source);
        return node.encoded() - before;
    }

    @Test
    void aChangedSentenceEncodesItsPassagesAndNoOthers() {
        Map<String, Object> source = written(body("A red hat. "));
        List<Map<String, Object>> before = passages(source);
        source.put("body", body("A blue shoe is here, with more words. "));
        long encoded = encodedBy(source);
        assertTrue(0 < encoded && encoded <= 4 && before.size() > 20, encoded + " of " + before.size());
        List<Map<String, Object>> afresh = passages(written((String) source.get("body"))), after = passages(source);
        assertEquals(afresh.size(), after.size());
        for (int i = 0; i < after.size(); i++) {
            assertEquals(without(afresh.get(i), "vector"), without(after.get(i), "vector"));
            List<?> expected = (List<?>) afresh.get(i).get("vector"), vector = (List<?>) after.get(i).get("vector");
            for (int j = 0; j < expected.size(); j++) {
                assertEquals((float) expected.get(j), (float) vector.get(j), 1e-5);
            }
        }
        assertSame(before.get(0).get("vector"), after.get(0).get("vector"));
    }

    private static Map<String, Object> without(Map<String, Object> object, String key) {
        Map<String, Object> left = new HashMap<>(object);
        left.remove(key);
        return left;
    }

    @Test
    void anUnchangedDocumentIsLeftAlone() {
        Map<String, Object> source = written(body("A red hat. "));
        Object passages = source.get("v"), state = source.get("crosslens");
        assertEquals(0, encodedBy(source));
        assertSame(passages, source.get("v"));
        assertEquals(state, source.get("crosslens"));
    }

    @Test
    void whatLacksVectorsOrPassagesIsNotUnchanged() {
        Map<String, Object> source = written(body("A red hat. "));
        int all = passages(source).size();
        // Read back from Elasticsearch 9, it comes without vectors.
        List<Map<String, Object>> bare = passages(source).stream().map(each -> without(each, "vector")).toList();
        source.put("v", bare);
        assertEquals(all, encodedBy(source));
        List<Map<String, Object>> fewer = new ArrayList<>(passages(source));
        fewer.remove(all / 2);
        fewer.set(0, without(fewer.get(0), "vector"));
        source.put("v", fewer);
        assertEquals(2, encodedBy(source));
        assertEquals(all, passages(source).size());
        // Every vector is there, but not in its place.
        List<Map<String, Object>> moved = new ArrayList<>(passages(source));
        moved.add(moved.remove(0));
        source.put("v", moved);
        assertEquals(0, encodedBy(source));
        assertEquals(0, passages(source).get(0).get("start"));
    }

    @Test
    void vectorsOfAnotherModelAreNotKept() {
        Map<String, Object> source = written("A red hat. A blue shoe.");
        Golden.object(Golden.object(source.get("crosslens")).get("v")).put("model", "0123456789abcdef");
        assertEquals(1, encodedBy(source));
    }

    @Test
    void aTextOfTooManyPassagesFails() {
        Map<String, Object> source = written("A red hat.");
        source.put("body", "red hat blue shoe green lamp old bird.\n".repeat(20_000));
        Exception refused = node.run(config(), source);
        assertInstanceOf(TextException.class, refused);
        assertEquals("the text makes more than 5000 passages; split the document", refused.getMessage());
        node.succeed(config("record_errors", true), source);
        Map<String, Object> state = Golden.object(Golden.object(source.get("crosslens")).get("v"));
        assertEquals(refused.getMessage(), state.get("error"));
        assertNull(source.get("v"));
    }

    /** A prompt takes room, and is encoded with each passage without being part of it. */
    @Test
    void aModelsPromptGoesBeforeEveryPassage(@TempDir Path root) throws IOException {
        Demo.copyTo(root.resolve("prompted"));
        // Without a manifest, which would have to list the prompts.
        Files.delete(root.resolve("prompted/crosslens.json"));
        String prompt = "search for a passage: ";
        String prompts = "{\"prompts\": {\"query\": \"find: \", \"passage\": \"" + prompt + "\"}}";
        Files.writeString(root.resolve("prompted/config_sentence_transformers.json"), prompts);
        Map<String, Object> plain = written(body("A red hat. ")), source = new HashMap<>(Map.of("body", body("A red hat. ")));
        try (DemoNode prompted = DemoNode.start(root)) {
            prompted.succeed(config("model", "prompted"), source);
        }
        assertTrue(passages(source).size() > passages(plain).size());
        ModelFolder folder = ModelFolder.open(Path.of(System.getProperty("crosslens.model")));
        try (Encoder encoder = new Encoder(folder, new Encoder.Compute(Device.CPU, 1))) {
            String body = (String) source.get("body");
            int room = encoder.room() - encoder.counts(List.of(prompt))[0];
            for (Map<String, Object> each : passages(source)) {
                String words = body.substring((int) each.get("start"), (int) each.get("end"));
                assertTrue(encoder.counts(List.of(words))[0] <= room);
                float[] expected = encoder.encodeTexts(List.of(prompt + words), false)[0];
                for (int i = 0; i < expected.length; i++) {
                    assertEquals(expected[i], (float) ((List<?>) each.get("vector")).get(i), 1e-5);
                }
            }
        }
    }
}
