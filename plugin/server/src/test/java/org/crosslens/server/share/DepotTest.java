package org.crosslens.server.share;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A model is there whole or not at all, and what isn't whole is gone at the next start. */
class DepotTest {

    @TempDir
    Path data;

    private Depot depot() {
        return new Depot(data.resolve("crosslens"));
    }

    private static Path written(Depot depot, String content) throws IOException {
        Path folder = depot.begin();
        Files.createDirectory(folder.resolve("onnx"));
        Files.writeString(folder.resolve("onnx/model"), content);
        return folder;
    }

    private long left() throws IOException {
        try (Stream<Path> files = Files.walk(data)) {
            return files.filter(Files::isRegularFile).count();
        }
    }

    @Test
    void modelsComeAndGo() throws IOException {
        Depot depot = depot();
        assertEquals(Map.of(), depot.installed());
        depot.install(written(depot, "a"), "clip", "123");
        assertEquals(Map.of("clip", "123"), depot.installed());
        assertEquals("a", Files.readString(Depot.models(data.resolve("crosslens")).resolve("clip/onnx/model")));
        assertEquals(Map.of("clip", "123"), depot().installed());
        depot.remove("clip");
        depot.remove("clip");
        assertEquals(Map.of(), depot.installed());
        assertEquals(0, left());
    }

    @Test
    void whatIsUnfinishedIsGoneAtTheNextStart() throws IOException {
        Depot depot = depot();
        depot.install(written(depot, "a"), "clip", "123");
        written(depot, "half of it");
        assertEquals(Map.of("clip", "123"), depot.installed());
        depot().clean();
        assertEquals(Map.of("clip", "123"), depot().installed());
        assertEquals(2, left());
    }

    @Test
    void oneModelIsNotPutOverAnother() throws IOException {
        Depot depot = depot();
        depot.install(written(depot, "a"), "clip", "123");
        Path other = written(depot, "b");
        assertThrows(IOException.class, () -> depot.install(other, "clip", "456"));
        assertEquals(Map.of("clip", "123"), depot.installed());
    }

    @Test
    void aFolderWithoutAMarkIsNoUpload() throws IOException {
        Files.createDirectories(Depot.models(data.resolve("crosslens")).resolve("stray"));
        assertEquals(Map.of("stray", ""), depot().installed());
    }

    @Test
    void deletingDoesNotFollowLinks(@TempDir Path outside) throws IOException {
        Files.writeString(outside.resolve("kept"), "x");
        Depot depot = depot();
        Path folder = written(depot, "a");
        Files.createSymbolicLink(folder.resolve("link"), outside);
        Depot.delete(folder);
        assertTrue(Files.exists(outside.resolve("kept")));
        assertEquals(0, left());
    }
}
