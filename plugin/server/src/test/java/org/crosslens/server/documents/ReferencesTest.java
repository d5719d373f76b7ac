package org.crosslens.server.documents;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import org.crosslens.server.encode.ImageException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ReferencesTest {

    @TempDir
    Path folder;

    /** The second column is what Python's {@code access.shown} makes of the first. */
    @ParameterizedTest
    @CsvSource(
        {
            "shoe.jpg, shoe.jpg",
            "https://me:secret@example.org/a.png?token=1#top, https://example.org/a.png?...",
            "HTTP://example.org/a.png?, http://example.org/a.png",
            "s3://bucket/key, s3://bucket/key",
            "'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB', 'data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAA... (54 characters)'",
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ, iVBORw0KGgoAAAANSUhEUgAA... (44 characters)" }
    )
    void aReferenceIsShownWithoutSecretsAndData(String reference, String shown) {
        assertEquals(shown, References.shown(reference));
    }

    @Test
    void anErrorNamesItsReferenceOnce() {
        ImageException error = new ImageException("damaged");
        ImageException named = References.named("shoe.jpg", error);
        assertEquals("shoe.jpg: damaged", named.getMessage());
        assertSame(named, References.named("shoe.jpg", named));
    }

    @ParameterizedTest
    @ValueSource(strings = { "//host/x.jpg", "//host" })
    void aUrlWithoutItsSchemeIsNoPath(String reference) throws Exception {
        Files.createDirectories(folder.resolve("host"));
        Files.write(folder.resolve("host/x.jpg"), new byte[] { 1 });
        for (Path each : new Path[] { folder, null }) {
            ImageException error = assertThrows(ImageException.class, () -> new References(each).read(reference));
            assertTrue(error.getMessage().startsWith(reference + ": a URL without its scheme"), error.getMessage());
        }
    }
}
