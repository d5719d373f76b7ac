package org.crosslens.server.encode;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import org.elasticsearch.common.logging.LogConfigurator;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OnnxFileTest {

    @BeforeAll
    static void logging() {
        // Elasticsearch's own exceptions ask for a logger.
        LogConfigurator.configureESLogging();
    }

    @TempDir
    Path folder;

    @Test
    void aGraphLargerThanAProtocolBufferIsRefusedByItsSize() throws IOException {
        Path file = folder.resolve("text_model.onnx");
        try (RandomAccessFile sparse = new RandomAccessFile(file.toFile(), "rw")) {
            sparse.setLength(3L << 30);
        }
        assertTrue(refusal(file).contains("text_model.onnx can't be loaded: it has 3221225472 bytes"));
    }

    @Test
    void aGitLfsPointerIsCalledOne() throws IOException {
        Path file = folder.resolve("text_model.onnx");
        Files.writeString(file, "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 253\n");
        assertTrue(refusal(file).contains("is a Git LFS pointer"));
    }

    @Test
    void whatIsNoProtocolBufferIsCalledNoGraph() throws IOException {
        Path file = folder.resolve("text_model.onnx");
        Files.writeString(file, "none");
        assertTrue(refusal(file).contains("isn't an ONNX graph"));
    }

    private static String refusal(Path file) {
        return assertThrows(ModelException.class, () -> OnnxFile.read(file)).getMessage();
    }
}
