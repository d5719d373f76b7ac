package org.crosslens.server.documents;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import org.crosslens.server.Golden;
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
            (boolean) field.get("each")
        );
        assertEquals(line.get("values"), fields.stream().map(each -> Source.values(document, each)).toList());
        assertEquals(line.get("inputs"), source.inputs(document));
        assertEquals(Golden.object(line.get("state")).get("source"), source.hash(source.inputs(document)));
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
        List<String> inputs = new Source(template.sources(), false, template, false).inputs(Golden.object(line.get("document")));
        assertEquals(line.get("text") == null ? List.of() : List.of(line.get("text")), inputs);
    }
}
