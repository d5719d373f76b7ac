package org.crosslens.server.share;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import org.crosslens.server.Demo;
import org.crosslens.server.encode.ModelFolder;
import org.crosslens.server.work.CountingBreaker;
import org.elasticsearch.common.breaker.CircuitBreakingException;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.util.concurrent.EsRejectedExecutionException;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A model that was put together is the one announced; and what is done with models is bounded. */
class StagingTest {

    @BeforeAll
    static void logging() {
        LogConfigurator.configureESLogging();
    }

    @TempDir
    Path root;
    private Path folder;
    private String fingerprint;

    @BeforeEach
    void model() throws IOException {
        folder = root.resolve("incoming");
        Demo.copyTo(folder);
        fingerprint = ModelFolder.open(folder).fingerprint();
    }

    private String refusal(String announced) {
        Manifest manifest = Announced.of("clip", announced, Map.of("config.json", new byte[1]));
        String message = assertThrows(IllegalArgumentException.class, () -> Staging.check(manifest, folder)).getMessage();
        assertFalse(message.contains(root.toString()), message);
        return message;
    }

    @Test
    void theModelAnnouncedIsTaken() {
        Staging.check(Announced.of("clip", fingerprint, Map.of("config.json", new byte[1])), folder);
    }

    @Test
    void anotherFingerprintIsRefused() {
        assertEquals(
            "the model [clip] has the fingerprint " + fingerprint + ", not 0123456789abcdef as announced",
            refusal("0123456789abcdef")
        );
    }

    @Test
    void filesThatTheModelsOwnManifestDeniesAreRefused() throws IOException {
        Files.writeString(folder.resolve("preprocessor_config.json"), "\n", StandardOpenOption.APPEND);
        assertTrue(refusal(fingerprint).contains("preprocessor_config.json has been changed since its export"));
    }

    @Test
    void filesOutsideOfTheFolderAreNotLookedAt() throws IOException {
        Files.writeString(root.resolve("secret"), "x");
        Path manifest = folder.resolve("crosslens.json");
        String honest = Files.readString(manifest);
        for (String name : List.of("../secret", "onnx/../../secret", root.resolve("secret").toString())) {
            Files.writeString(manifest, honest.replace("\"files\": {", "\"files\": {\"" + name + "\": \"0\","));
            String fingerprint = ModelFolder.open(folder).fingerprint();
            assertTrue(refusal(fingerprint).contains("names a file outside of the model's folder"), name);
        }
    }

    @Test
    void settingsThatMakeNoSenseAreRefused() throws IOException {
        Path manifest = folder.resolve("crosslens.json");
        Files.writeString(manifest, Files.readString(manifest).replace("\"length\": 32", "\"length\": {}"));
        assertTrue(refusal(fingerprint).contains("can't be served"));
    }

    @Test
    void whatIsNoModelIsRefused() throws IOException {
        Files.delete(folder.resolve("tokenizer.json"));
        assertTrue(refusal(fingerprint).contains("config.json or tokenizer.json is missing"));
    }

    @Test
    void memoryIsTakenAndGivenBackWhateverHappens() throws IOException {
        CountingBreaker breaker = new CountingBreaker(1_000);
        Gate gate = new Gate(breaker);
        assertEquals(400L, gate.request(100, breaker.used::get));
        assertThrows(IOException.class, () -> gate.request(100, () -> { throw new IOException("failed"); }));
        assertThrows(CircuitBreakingException.class, () -> gate.request(300, () -> "done"));
        assertEquals(0, breaker.used.get());
    }

    @Test
    void tooManyRequestsAreRefused() throws IOException {
        Gate gate = new Gate(new CountingBreaker(1_000));
        assertThrows(EsRejectedExecutionException.class, () -> nested(gate, Gate.AT_ONCE + 1));
        assertEquals("done", nested(gate, Gate.AT_ONCE));
    }

    private static String nested(Gate gate, int depth) throws IOException {
        return gate.request(1, () -> depth == 1 ? "done" : nested(gate, depth - 1));
    }
}
