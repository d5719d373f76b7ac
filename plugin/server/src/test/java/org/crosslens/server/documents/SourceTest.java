package org.crosslens.server.documents;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class SourceTest {

    private static Source texts(String... fields) {
        return new Source(List.of(fields), false, null, false, false);
    }

    @Test
    void fieldsAreJoinedByFullStopsAndValuesByCommas() {
        Map<String, Object> document = Map.of("title", "Shoe.", "brand", List.of("A ", " B"), "empty", " ");
        assertEquals(List.of("Shoe. A, B"), texts("title", "brand", "empty").inputs(document));
        assertEquals(List.of(), texts("empty", "none").inputs(document));
    }

    @Test
    void objectsArraysAndDottedKeysAreAllWalked() {
        Map<String, Object> document = Map.of("a", List.of(Map.of("b", "1"), Map.of("b", List.of("2", 3))), "a.b", true);
        assertEquals(List.of("1", "2", "3", "true"), Source.values(document, "a.b"));
    }

    @Test
    void aTemplateLeavesNothingForAMissingField() {
        Source source = new Source(List.of("title", "brand"), false, new Template("{title}  by {brand}{{!}}"), false, false);
        assertEquals(List.of("Shoe by {!}"), source.inputs(Map.of("title", "Shoe")));
        assertEquals(List.of(), source.inputs(Map.of("other", 1)));
    }

    @ParameterizedTest
    @ValueSource(strings = { "{a", "a}", "{}", "{a!r}", "{a:>3}", "{a{b}}" })
    void aTemplateThatIsNotUnderstoodIsRefused(String template) {
        assertThrows(IllegalArgumentException.class, () -> new Template(template));
    }

    @ParameterizedTest
    @CsvSource({ "1e16,1e+16", "123456.0,123456.0", "0.0001,0.0001", "0.00001,1e-05", "-0.0,-0.0", "1e22,1e+22", "2e-3,0.002",
        "9007199254740993.0,9007199254740992.0", "5e-324,5e-324", "1.7976931348623157e308,1.7976931348623157e+308" })
    void floatingPointNumbersReadAsPythonWritesThem(double value, String written) {
        assertEquals(written, Python.json(value));
    }

    @Test
    void jsonIsPythons() {
        assertEquals("[\"a\\\"\\\\\\n\\u0001\", \"é\u2028\"]", Python.json(List.of("a\"\\\n\u0001", "é\u2028")));
    }

    @Test
    void spaceIsPythons() {
        assertEquals("a", Python.strip("\u00A0\u001F a\u3000\u0085"));
        assertEquals("\u200Ba", Python.strip("\u200Ba "));
    }

    @Test
    void halfASurrogatePairIsThreeBytes() {
        assertArrayEquals(new byte[] { (byte) 0xED, (byte) 0xA0, (byte) 0x80 }, Python.utf8("\uD800"));
        assertArrayEquals("a😀é".getBytes(StandardCharsets.UTF_8), Python.utf8("a😀é"));
    }

    @Test
    void hashesAreThoseOfThePythonSide() {
        // hashlib.sha256(b"blue shoe").hexdigest()[:32]
        assertEquals("99837bcd97f1b896e6a5a6d274336056", texts("t").hash(List.of("blue shoe")));
        assertEquals(Source.contentHash("[\"a\", \"b\"]".getBytes(StandardCharsets.UTF_8)), new Source(List.of("t"), false, null, true, false).hash(List.of("a", "b")));
        assertEquals("e3b0c44298fc1c149afbf4c8996fb924", texts("t").hash(List.of()));
    }
}
