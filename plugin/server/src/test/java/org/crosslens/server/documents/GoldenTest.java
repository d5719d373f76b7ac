package org.crosslens.server.documents;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.crosslens.server.Golden;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Documents and templates give the values, texts and hashes of the golden files. */
class GoldenTest {

    static List<Map<String, Object>> documents() throws IOException {
        return Golden.lines("documents");
    }

    static List<Map<String, Object>> templates() throws IOException {
        return Golden.lines("templates");
    }

    @ParameterizedTest
    @MethodSource("documents")
    void valuesTextsAndHashesAreAsRecorded(Map<String, Object> line) {
        Map<String, Object> field = Golden.object(line.get("field")), document = Golden.object(line.get("document"));
        String template = (String) field.get("template");
        List<String> fields = Golden.strings(field.get("sources"));
        Source source = new Source(
            fields,
            field.get("modality").equals("image"),
            template == null ? null : new Template(template),
            (boolean) field.get("each"),
            field.get("passages") == Boolean.TRUE
        );
        assertEquals(line.get("values"), fields.stream().map(each -> Source.values(document, each)).toList());
        assertEquals(line.get("inputs"), source.inputs(document));
        assertEquals(Golden.object(line.get("state")).get("source"), source.hash(source.inputs(document)));
    }

    @Test
    void sentencesEndWhereUnicodesOwnTestSays() throws IOException {
        List<String> lines = Files.readAllLines(Golden.folder().resolve("unicode/SentenceBreakTest.txt"));
        lines = lines.stream().filter(line -> line.startsWith("#") == false).toList();
        assertEquals(512, lines.size());
        for (String line : lines) {
            List<String> parts = new ArrayList<>();
            for (String part : line.substring(2, line.length() - 2).split(" ÷ ")) {
                StringBuilder text = new StringBuilder();
                for (String point : part.split(" × ")) {
                    text.appendCodePoint(Integer.parseInt(point, 16));
                }
                parts.add(text.toString());
            }
            String text = String.join("", parts);
            Sentences sentences = new Sentences(text);
            List<String> found = new ArrayList<>();
            for (int start = 0, end; start < text.length(); start = end) {
                end = sentences.following(start);
                found.add(text.substring(start, end));
            }
            assertEquals(parts, found, line);
        }
    }

    @ParameterizedTest
    @MethodSource("templates")
    void templatesAreFilledAsRecorded(Map<String, Object> line) {
        String written = (String) line.get("template");
        if (line.containsKey("refused")) {
            assertThrows(IllegalArgumentException.class, () -> new Template(written));
            return;
        }
        Template template = new Template(written);
        assertEquals(line.get("sources"), template.sources());
        List<String> inputs = new Source(template.sources(), false, template, false, false).inputs(Golden.object(line.get("document")));
        assertEquals(line.get("text") == null ? List.of() : List.of(line.get("text")), inputs);
    }
}
