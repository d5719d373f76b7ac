package org.crosslens.server.encode;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.crosslens.server.Golden;
import org.crosslens.server.documents.Cutter;
import org.elasticsearch.common.logging.LogConfigurator;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Model folders, texts and pictures give the fingerprints, tokens and pixels of the golden files. */
class GoldenTest {

    @TempDir
    Path root;

    @BeforeAll
    static void logging() {
        // Elasticsearch's exceptions have loggers, which the server sets up when it starts.
        LogConfigurator.configureESLogging();
    }

    static List<Map<String, Object>> fingerprints() throws IOException {
        return Golden.lines("fingerprints");
    }

    static List<Map<String, Object>> pixels() throws IOException {
        return Golden.lines("pixels");
    }

    @ParameterizedTest
    @MethodSource("fingerprints")
    void fingerprintsAndTextSettingsAreAsRecorded(Map<String, Object> line) throws IOException {
        for (Map.Entry<String, Object> each : Golden.object(line.get("files")).entrySet()) {
            Path file = root.resolve("model").resolve(each.getKey());
            Files.createDirectories(file.getParent());
            Files.writeString(file, (String) each.getValue(), StandardCharsets.UTF_8);
        }
        ModelFolder folder = ModelFolder.open(root.resolve("model"));
        folder.verify();
        assertEquals(line.get("fingerprint"), folder.fingerprint());
        assertEquals(line.get("name"), folder.name());
        assertEquals(line.get("dims") == null ? 0 : line.get("dims"), folder.dims());
        assertEquals(line.getOrDefault("searches", List.of()), folder.searches().stream().sorted().toList());
        Map<String, Object> text = Golden.object(line.get("text"));
        assertEquals(text.get("length"), folder.text().length());
        assertEquals(Golden.number(text.get("pad_id")), folder.text().padId());
        assertEquals(text.get("fixed"), folder.text().fixed());
        assertEquals(text.get("side"), folder.text().left() ? "left" : "right");
        Map<String, Object> prompts = line.containsKey("prompts") ? Golden.object(line.get("prompts")) : Map.of("query", "", "passage", "");
        assertEquals(prompts.get("query"), folder.prompts().of(Prompts.Role.QUERY));
        assertEquals(prompts.get("passage"), folder.prompts().of(Prompts.Role.PASSAGE));
    }

    @Test
    void tokensAreAsRecorded() throws IOException {
        ModelFolder demo = ModelFolder.open(Path.of(System.getProperty("crosslens.model")));
        List<Map<String, Object>> all = Golden.lines("tokens");
        tokensAreAsRecorded(
            demo.path().resolve(ModelFolder.TOKENIZER),
            demo.text().length(),
            all.stream().filter(line -> line.containsKey("tokenizer") == false).toList()
        );
        all.stream().filter(line -> line.containsKey("tokenizer")).collect(Collectors.groupingBy(line -> line.get("tokenizer"))).forEach(
            (name, lines) -> tokensAreAsRecorded(
                Golden.folder().resolve("tokenizers").resolve((String) name),
                (int) lines.get(0).get("length"),
                lines
            )
        );
    }

    private static void tokensAreAsRecorded(Path file, int length, List<Map<String, Object>> lines) {
        try (Tokenizer tokenizer = new Tokenizer(file, length)) {
            long[][] ids = tokenizer.encode(lines.stream().map(line -> (String) line.get("text")).toList());
            for (int i = 0; i < ids.length; i++) {
                long[] recorded = ((List<?>) lines.get(i).get("ids")).stream().mapToLong(id -> ((Number) id).longValue()).toArray();
                assertArrayEquals(recorded, ids[i], (String) lines.get(i).get("text"));
            }
        }
    }

    /** Of a thousand odd texts; offsets are in code points. */
    @Test
    void passagesAreCutAsRecorded() throws IOException {
        Path demo = Path.of(System.getProperty("crosslens.model")).resolve(ModelFolder.TOKENIZER);
        Path others = Golden.folder().resolve("tokenizers");
        Map<String, Tokenizer> tokenizers = new HashMap<>();
        for (Map<String, Object> line : Golden.lines("passages")) {
            String name = (String) line.get("tokenizer");
            Tokenizer tokenizer = tokenizers.computeIfAbsent(name, key -> new Tokenizer(key == null ? demo : others.resolve(key), 32));
            StringBuilder text = new StringBuilder();
            for (Object piece : (List<?>) line.get("text")) {
                text.append(((String) ((List<?>) piece).get(0)).repeat((int) ((List<?>) piece).get(1)));
            }
            List<List<Integer>> made = new ArrayList<>();
            Cutter cutter = new Cutter(
                text.toString(),
                (int) line.get("most"),
                Cutter.CHARACTERS,
                texts -> tokenizer.counts(texts, false),
                each -> made.add(List.of(each.start(), each.end()))
            );
            while (cutter.advance()) {
                assertTrue(cutter.done() <= text.length());
            }
            assertEquals(line.get("passages"), made, line.get("case") + ": " + line.get("text"));
        }
        tokenizers.values().forEach(Tokenizer::close);
    }

    @ParameterizedTest
    @MethodSource("pixels")
    void pixelsAreAsRecorded(Map<String, Object> line) throws IOException {
        byte[] file = Files.readAllBytes(Golden.folder().resolve("pictures").resolve((String) line.get("picture")));
        ImageTransform transform = ImageTransform.parse(Golden.object(line.get("preprocessor")));
        Picture picture = Images.open(file, transform.resizeTarget(), 1_000_000, bytes -> {});
        float[] tensor = transform.apply(picture);
        assertEquals(line.get("size"), List.of(picture.width(), picture.height()));
        assertEquals(line.get("shape"), List.of(3, transform.outputHeight(), transform.outputWidth()));
        double within = Math.max(1e-5, Golden.number(line.get("within")));
        for (Object each : (List<?>) line.get("samples")) {
            List<?> sample = (List<?>) each;
            int channel = (int) sample.get(0), y = (int) sample.get(1), x = (int) sample.get(2);
            int at = (channel * transform.outputHeight() + y) * transform.outputWidth() + x;
            assertEquals(Golden.number(sample.get(3)), tensor[at], within, sample.toString());
        }
        if (line.containsKey("tensor")) {
            ByteBuffer bytes = ByteBuffer.allocate(tensor.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
            bytes.asFloatBuffer().put(tensor);
            assertEquals(line.get("rgb"), sha256(picture.rgb()));
            assertEquals(line.get("tensor"), sha256(bytes.array()));
        }
    }

    private static String sha256(byte[] data) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(data));
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError("every Java has SHA-256", e);
        }
    }
}
