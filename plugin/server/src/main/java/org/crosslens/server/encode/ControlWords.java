package org.crosslens.server.encode;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import org.elasticsearch.xcontent.XContentGenerator;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xcontent.XContentParserConfiguration;
import org.elasticsearch.xcontent.XContentType;

/**
 * The words by which a tokenizer marks beginnings, ends and the like. None of them is meant by a text that contains it,
 * so they get names that no text contains, everywhere but where they are added around a text. The ids stay what they are.
 *
 * <p>The Python side does the same, in {@code crosslens.ingest.model.tokens}.
 */
final class ControlWords {

    /** Two noncharacters, which no text contains. */
    private static final String RESERVED = "\uFFFE\uFFFF";
    /** Bytes of unknown characters are looked up by these names. */
    private static final Pattern BYTE = Pattern.compile("<0x[0-9A-F]{2}>");

    private final Set<String> words = new HashSet<>();

    private ControlWords() {}

    /** The tokenizer.json in {@code file}, with its control words renamed. */
    static String asText(Path file) throws IOException {
        ControlWords control = new ControlWords();
        byte[] json = Files.readAllBytes(file);
        // A vocabulary has hundreds of thousands of words: it is copied, never held.
        try (XContentParser parser = parser(json)) {
            control.find(parser);
        }
        ByteArrayOutputStream out = new ByteArrayOutputStream(json.length + 1024);
        try (XContentParser parser = parser(json); XContentGenerator to = XContentType.JSON.xContent().createGenerator(out)) {
            parser.nextToken();
            control.copyTokenizer(parser, to);
        }
        return out.toString(StandardCharsets.UTF_8);
    }

    private static XContentParser parser(byte[] json) throws IOException {
        return XContentType.JSON.xContent().createParser(XContentParserConfiguration.EMPTY, json);
    }

    private void find(XContentParser parser) throws IOException {
        parser.nextToken();
        while (parser.nextToken() == XContentParser.Token.FIELD_NAME) {
            String field = parser.currentName();
            parser.nextToken();
            if (field.equals("added_tokens") && parser.currentToken() == XContentParser.Token.START_ARRAY) {
                for (Object token : parser.list()) {
                    if (token instanceof Map<?, ?> map && Boolean.TRUE.equals(map.get("special"))) {
                        words.add(String.valueOf(map.get("content")));
                    }
                }
            } else if (field.equals("post_processor") && parser.currentToken() == XContentParser.Token.START_OBJECT) {
                addedAround(parser.map());
            } else {
                parser.skipChildren();
            }
        }
        words.removeIf(word -> BYTE.matcher(word).matches());
    }

    private void addedAround(Map<?, ?> processor) {
        if (processor.get("processors") instanceof List<?> steps) {
            for (Object step : steps) {
                if (step instanceof Map<?, ?> map) {
                    addedAround(map);
                }
            }
        }
        if (processor.get("special_tokens") instanceof Map<?, ?> special) {
            special.keySet().forEach(word -> words.add(String.valueOf(word)));
        }
        for (String key : List.of("sep", "cls")) {
            if (processor.get(key) instanceof List<?> pair && pair.isEmpty() == false) {
                words.add(String.valueOf(pair.get(0)));
            }
        }
    }

    private String name(String word) {
        return words.contains(word) ? word + RESERVED : word;
    }

    private void copyTokenizer(XContentParser parser, XContentGenerator to) throws IOException {
        to.writeStartObject();
        while (parser.nextToken() == XContentParser.Token.FIELD_NAME) {
            String field = parser.currentName();
            to.writeFieldName(field);
            XContentParser.Token value = parser.nextToken();
            if (field.equals("added_tokens") && value == XContentParser.Token.START_ARRAY) {
                copyAdded(parser.list(), to);
            } else if (field.equals("model") && value == XContentParser.Token.START_OBJECT) {
                copyModel(parser, to);
            } else {
                to.copyCurrentStructure(parser);
            }
        }
        to.writeEndObject();
    }

    private void copyAdded(List<?> tokens, XContentGenerator to) throws IOException {
        to.writeStartArray();
        for (Object token : tokens) {
            if (token instanceof Map<?, ?> map && BYTE.matcher(String.valueOf(map.get("content"))).matches() == false) {
                to.writeStartObject();
                for (Map.Entry<?, ?> entry : map.entrySet()) {
                    to.writeFieldName(String.valueOf(entry.getKey()));
                    if (entry.getValue() instanceof Boolean flag) {
                        to.writeBoolean(flag);
                    } else if (entry.getValue() instanceof Number number) {
                        to.writeNumber(number.longValue());
                    } else {
                        to.writeString(name(String.valueOf(entry.getValue())));
                    }
                }
                to.writeEndObject();
            }
        }
        to.writeEndArray();
    }

    private void copyModel(XContentParser parser, XContentGenerator to) throws IOException {
        to.writeStartObject();
        while (parser.nextToken() == XContentParser.Token.FIELD_NAME) {
            String field = parser.currentName();
            to.writeFieldName(field);
            XContentParser.Token value = parser.nextToken();
            if (field.equals("vocab") && value == XContentParser.Token.START_OBJECT) {
                to.writeStartObject();
                while (parser.nextToken() == XContentParser.Token.FIELD_NAME) {
                    to.writeFieldName(name(parser.currentName()));
                    parser.nextToken();
                    to.copyCurrentStructure(parser);
                }
                to.writeEndObject();
            } else if (field.equals("vocab") && value == XContentParser.Token.START_ARRAY) {
                copyPieces(parser, to);
            } else if (field.equals("unk_token") && value == XContentParser.Token.VALUE_STRING) {
                to.writeString(name(parser.text()));
            } else {
                to.copyCurrentStructure(parser);
            }
        }
        to.writeEndObject();
    }

    /** A Unigram vocabulary: pairs of a piece and its score. */
    private void copyPieces(XContentParser parser, XContentGenerator to) throws IOException {
        to.writeStartArray();
        while (parser.nextToken() == XContentParser.Token.START_ARRAY) {
            to.writeStartArray();
            parser.nextToken();
            to.writeString(name(parser.text()));
            while (parser.nextToken() != XContentParser.Token.END_ARRAY) {
                to.copyCurrentStructure(parser);
            }
            to.writeEndArray();
        }
        to.writeEndArray();
    }
}
