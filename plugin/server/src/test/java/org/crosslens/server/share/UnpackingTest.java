package org.crosslens.server.share;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Files come out of parts as they went in, or not at all. */
class UnpackingTest {

    private static final String FINGERPRINT = "0123456789abcdef";

    @TempDir
    Path folder;
    private final Map<String, byte[]> files = new LinkedHashMap<>();

    @BeforeEach
    void files() {
        // One ends within a part, one on its edge, one takes several, and empty ones lie anywhere.
        Random random = new Random(7);
        int[] sizes = { 0, 10, Manifest.PART_BYTES - 10, 3 * Manifest.PART_BYTES + 5, 0, 1, 0 };
        for (int i = 0; i < sizes.length; i++) {
            byte[] bytes = new byte[sizes[i]];
            random.nextBytes(bytes);
            files.put("onnx/" + i, bytes);
        }
    }

    private static void unpack(Manifest manifest, Path folder, List<byte[]> parts) throws IOException {
        try (Unpacking unpacking = new Unpacking(manifest, folder)) {
            for (byte[] part : parts) {
                unpacking.take(part);
            }
            unpacking.finish();
        }
    }

    @Test
    void filesAreAsTheyWere() throws IOException {
        unpack(Announced.of("clip", FINGERPRINT, files), folder, Announced.parts(files));
        for (Map.Entry<String, byte[]> each : files.entrySet()) {
            assertArrayEquals(each.getValue(), Files.readAllBytes(folder.resolve(each.getKey())), each.getKey());
        }
    }

    @Test
    void onlyEmptyFilesTakeNoParts() throws IOException {
        unpack(Announced.of("clip", FINGERPRINT, Map.of("a", new byte[0])), folder, List.of());
        assertEquals(0, Files.size(folder.resolve("a")));
    }

    private String refusal(Manifest manifest, List<byte[]> parts) {
        return assertThrows(IllegalArgumentException.class, () -> unpack(manifest, folder, parts)).getMessage();
    }

    @Test
    void aChangedByteIsRefused() {
        List<byte[]> parts = Announced.parts(files);
        parts.get(2)[77] ^= 1;
        assertEquals("part 2 is damaged: its sha256 differs from the one announced", refusal(Announced.of("clip", FINGERPRINT, files), parts));
    }

    @Test
    void partsInAnotherOrderAreRefused() {
        List<byte[]> parts = new ArrayList<>(Announced.parts(files));
        parts.add(1, parts.remove(2));
        assertTrue(refusal(Announced.of("clip", FINGERPRINT, files), parts).startsWith("part 1 is damaged"));
    }

    @Test
    void aPartOfAnotherLengthIsRefused() {
        List<byte[]> parts = new ArrayList<>(Announced.parts(files));
        parts.set(0, new byte[Manifest.PART_BYTES + 1]);
        assertEquals("part 0 has 1048577 bytes where the model has 1048576", refusal(Announced.of("clip", FINGERPRINT, files), parts));
    }

    @Test
    void onePartTooManyIsRefused() {
        List<byte[]> parts = new ArrayList<>(Announced.parts(files));
        parts.add(new byte[1]);
        assertTrue(refusal(Announced.of("clip", FINGERPRINT, files), parts).contains("no part 5"));
    }

    @Test
    void onePartTooFewIsRefused() {
        List<byte[]> parts = Announced.parts(files);
        assertEquals("the model ends in its file [onnx/3]", refusal(Announced.of("clip", FINGERPRINT, files), parts.subList(0, 4)));
    }

    @Test
    void aFileThatIsNotTheOneAnnouncedIsRefused() {
        Manifest honest = Announced.of("clip", FINGERPRINT, files);
        List<Manifest.Content> claims = new ArrayList<>(honest.files());
        claims.set(1, new Manifest.Content("onnx/1", 10, "0".repeat(64)));
        Manifest lie = new Manifest("clip", FINGERPRINT, claims, honest.parts());
        assertEquals(
            "the file [onnx/1] is damaged: its sha256 differs from the one announced",
            refusal(lie, Announced.parts(files))
        );
    }

    @Test
    void aLinkThatWasThereBeforeIsNotFollowed(@TempDir Path outside) throws IOException {
        Files.createSymbolicLink(folder.resolve("a"), outside.resolve("written"));
        Manifest manifest = Announced.of("clip", FINGERPRINT, Map.of("a", new byte[1]));
        assertThrows(FileAlreadyExistsException.class, () -> unpack(manifest, folder, List.of(new byte[1])));
        assertTrue(Files.notExists(outside.resolve("written")));
    }
}
