package org.crosslens.server.share;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.elasticsearch.common.Strings;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.xcontent.json.JsonXContent;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Nothing that a client says of a model leads out of its folder, past its size, or to two files in one place. */
class ManifestTest {

    private static final String HASH = "0".repeat(64);
    private static final String FINGERPRINT = "0123456789abcdef";

    @BeforeAll
    static void logging() {
        LogConfigurator.configureESLogging();
    }

    private static String json(String files, int parts) {
        String hashes = IntStream.range(0, parts).mapToObj(i -> '"' + HASH + '"').collect(Collectors.joining(","));
        return "{\"fingerprint\": \"" + FINGERPRINT + "\", \"files\": [" + files + "], \"parts\": [" + hashes + "]}";
    }

    private static String file(String name, long size) {
        return "{\"name\": \"" + name + "\", \"size\": " + size + ", \"sha256\": \"" + HASH + "\"}";
    }

    private static String refusal(String json) {
        return refusal("clip", json, 1L << 31);
    }

    private static String refusal(String name, String json, long most) {
        return assertThrows(IllegalArgumentException.class, () -> Announced.read(name, json, most), json).getMessage();
    }

    @Test
    void whatIsWrittenIsReadAgain() throws IOException {
        Manifest manifest = Announced.of("clip", FINGERPRINT, Map.of("config.json", Announced.bytes("{}")));
        String json = Strings.toString(manifest.write(JsonXContent.contentBuilder()));
        Manifest read = Announced.read("clip", json, 2);
        assertEquals(manifest, read);
        assertEquals(manifest.upload(), read.upload());
    }

    @Test
    void anUploadIsItsNameAndContent() {
        Map<String, byte[]> files = Map.of("config.json", Announced.bytes("{}"));
        String upload = Announced.of("clip", FINGERPRINT, files).upload();
        assertEquals(upload, Announced.of("clip", FINGERPRINT, files).upload());
        assertNotEquals(upload, Announced.of("other", FINGERPRINT, files).upload());
        assertNotEquals(upload, Announced.of("clip", FINGERPRINT.replace('0', '1'), files).upload());
        assertNotEquals(upload, Announced.of("clip", FINGERPRINT, Map.of("config.json", Announced.bytes("[]"))).upload());
    }

    @ParameterizedTest
    @ValueSource(
        strings = {
            "",
            "/etc/passwd",
            "../config.json",
            "onnx/../../config.json",
            "onnx/./model.onnx",
            "onnx//model.onnx",
            "onnx/",
            "onnx\\\\model.onnx",
            "C:model.onnx",
            "model.onnx:stream",
            ".upload",
            "onnx/.hidden",
            "model.onnx.",
            "model.onnx ",
            "~/model.onnx",
            "-model",
            "con",
            "onnx/NUL.onnx",
            "Com1.json",
            "a/b/c/d/e",
            "mod\\u00e8le.onnx",
            "model\\u0000.onnx",
            "model\\n.onnx" }
    )
    void namesThatDoNotStayInTheFolderAreRefused(String name) {
        assertTrue(refusal(json(file(name, 1), 1)).contains("can't be the name of a model's file"), name);
    }

    @ParameterizedTest
    @ValueSource(strings = { "", ".", "..", "../clip", "a/b", "a\\b", "clip.", ".clip", "con", "-clip", "cl ip", "*", "_all,x" })
    void namesThatAreNoFolderAreRefused(String name) {
        assertTrue(refusal(name, json(file("config.json", 1), 1), 10).contains("can't be the name of a model"), name);
    }

    @Test
    void longNamesAreRefusedAndNotRepeated() {
        String name = "a".repeat(101);
        assertTrue(refusal(json(file(name, 1), 1)).contains("[" + "a".repeat(100) + "...]"));
        assertTrue(refusal(name, json(file("a", 1), 1), 10).contains("[" + "a".repeat(100) + "...]"));
    }

    @Test
    void twoFilesInOnePlaceAreRefused() {
        assertTrue(refusal(json(file("a", 1) + "," + file("a", 1), 1)).contains("[a] twice"));
        assertTrue(refusal(json(file("onnx/a", 1) + "," + file("ONNX/A", 1), 1)).contains("[ONNX/A] twice"));
        for (String pair : List.of(file("onnx", 1) + "," + file("Onnx/a", 1), file("onnx/a/b", 1) + "," + file("onnx", 1))) {
            assertTrue(refusal(json(pair, 1)).contains("[onnx] as a file and as a folder"), pair);
        }
    }

    @Test
    void sizesThatLieAreRefused() {
        assertTrue(refusal(json(file("a", -1), 1)).contains("must have a [size]"));
        assertTrue(refusal(json("{\"name\": \"a\", \"sha256\": \"" + HASH + "\"}", 1)).contains("must have a [size]"));
        assertTrue(refusal("clip", json(file("a", 11), 1), 10).contains("larger than the 10 bytes"));
        assertTrue(refusal("clip", json(file("a", 6) + "," + file("b", 5), 1), 10).contains("larger than the 10 bytes"));
        // A sum that overflows to something small.
        String overflowing = file("a", Long.MAX_VALUE) + "," + file("b", Long.MAX_VALUE) + "," + file("c", 12);
        assertTrue(refusal("clip", json(overflowing, 1), 10).contains("larger than the 10 bytes"));
        assertTrue(refusal("clip", json(file("a", 1) + "," + file("b", Long.MAX_VALUE), 1), Long.MAX_VALUE).contains("larger than"));
    }

    @Test
    void settingsThatNoNodeCouldReadAreRefused() {
        assertTrue(refusal(json(file("Tokenizer.JSON", Manifest.LONGEST_SETTINGS + 1), 1)).contains("that settings may have"));
    }

    @Test
    void partsMustBeThoseOfTheFiles() throws IOException {
        String two = file("a", Manifest.PART_BYTES) + "," + file("b", 1);
        assertTrue(refusal(json(two, 1)).contains("2 of them for 1048577 bytes, not 1"));
        assertTrue(refusal(json(two, 3)).contains("2 of them for 1048577 bytes, not 3"));
        Manifest manifest = Announced.read("clip", json(two, 2), 1L << 31);
        assertEquals(List.of(Manifest.PART_BYTES, 1), List.of(manifest.length(0), manifest.length(1)));
        assertEquals(0, Announced.read("clip", json(file("a", 0), 0), 10).parts().size());
    }

    @Test
    void hashesAreHashes() {
        assertTrue(refusal(json(file("a", 1), 1).replace(HASH + "\"]", "ABC\"]")).contains("[parts] must be sha256"));
        assertTrue(refusal(json(file("a", 1).replace(HASH, HASH.replace('0', 'A')), 1)).contains("[sha256] of 64 lower-case"));
        assertTrue(refusal(json(file("a", 1), 1).replace(FINGERPRINT, "../../../../../x")).contains("[fingerprint] must be"));
        assertTrue(refusal("{\"files\": [], \"parts\": []}").contains("[fingerprint] must be"));
    }

    @Test
    void filesAreCounted() {
        assertTrue(refusal(json("", 0)).contains("from 1 to 200 files, not 0"));
        String many = IntStream.range(0, 201).mapToObj(i -> file("f" + i, 0)).collect(Collectors.joining(","));
        assertTrue(refusal(json(many, 0)).contains("from 1 to 200 files, not 201"));
    }

    @Test
    void whatIsNotKnownIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> Announced.read("clip", "{\"links\": []}", 10));
        assertThrows(IllegalArgumentException.class, () -> Announced.read("clip", json(file("a", 1).replace("}", ", \"mode\": 511}"), 1), 10));
    }
}
