package org.crosslens.server.encode;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
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

    @Test
    void aGraphThatIsNestedWithoutEndIsRefused() throws IOException {
        byte[] graph = new byte[0];
        for (int i = 0; i < 100; i++) {
            // A graph's node's attribute's graph.
            graph = field(1, field(5, field(6, graph)));
        }
        Path file = folder.resolve("text_model.onnx");
        Files.write(file, field(7, graph));
        assertTrue(refusal(file).contains("it is nested too deeply"));
    }

    @Test
    void aGraphThatNamesFilesWithoutEndIsRefused() throws IOException {
        ByteArrayOutputStream tensor = new ByteArrayOutputStream();
        for (int i = 0; i <= 10_000; i++) {
            byte[] location = field(1, bytes("location")), name = field(2, bytes("weights" + i));
            tensor.writeBytes(field(13, joined(location, name)));
        }
        Path file = folder.resolve("text_model.onnx");
        Files.write(file, field(7, field(5, tensor.toByteArray())));
        assertTrue(refusal(file).contains("it names too many files"));
        Files.write(file, field(7, field(5, field(13, joined(field(1, bytes("location")), field(2, new byte[5_000]))))));
        assertTrue(refusal(file).contains("a name is too long"));
    }

    @Test
    void aGraphWithInputsWithoutEndIsRefused() throws IOException {
        ByteArrayOutputStream graph = new ByteArrayOutputStream();
        for (int i = 0; i <= 100; i++) {
            graph.writeBytes(field(11, field(1, bytes("input" + i))));
        }
        Path file = folder.resolve("text_model.onnx");
        Files.write(file, field(7, graph.toByteArray()));
        assertTrue(refusal(file).contains("it has too many inputs"));
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] joined(byte[] first, byte[] second) {
        ByteArrayOutputStream all = new ByteArrayOutputStream();
        all.writeBytes(first);
        all.writeBytes(second);
        return all.toByteArray();
    }

    /** A field of Protocol Buffers that holds bytes. */
    private static byte[] field(int number, byte[] content) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.write(number << 3 | 2);
        int length = content.length;
        for (; length > 0x7F; length >>>= 7) {
            out.write(length & 0x7F | 0x80);
        }
        out.write(length);
        out.writeBytes(content);
        return out.toByteArray();
    }

    private static String refusal(Path file) {
        return assertThrows(ModelException.class, () -> OnnxFile.read(file)).getMessage();
    }
}
