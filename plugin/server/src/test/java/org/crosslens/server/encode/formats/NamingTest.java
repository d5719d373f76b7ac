package org.crosslens.server.encode.formats;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Random;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.Images;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class NamingTest {

    private static byte[] bytes(String latin) {
        return latin.getBytes(StandardCharsets.ISO_8859_1);
    }

    @ParameterizedTest
    @CsvSource(
        delimiter = '|',
        ignoreLeadingAndTrailingWhitespace = false,
        value = {
            "%PDF-1.7|a PDF document",
            "version https://git-lfs.github.com/spec/v1|a Git LFS pointer",
            "PK\3\4|a ZIP archive",
            "{\"error\": 1}|a JSON document",
            "<rss>|an XML document",
            "<svg xmlns=''>|an SVG, which is not read in the cluster",
            "<!-- <html> --><svg/>|an SVG, which",
            "\0\0\0\30ftypheic\0\0\0\0mif1|a HEIC picture, which is not read in the cluster",
            "\0\0\0\30ftypmif1\0\0\0\0avif|an AVIF picture, which",
            "\0\0\0\20ftypisom|an MP4 video",
            "RIFFxxxxAVI |an AVI video",
            "hello there|text ('hello there')",
            "\0\1\2|a file that begins with 00 01 02" }
    )
    void aFileOfAnotherKindIsNamed(String data, String name) {
        String described = Naming.description(bytes(data));
        assertTrue(described.startsWith(name), described);
        ImageException error = assertThrows(ImageException.class, () -> Images.open(bytes(data), 0, 9, size -> {}));
        assertTrue(error.getMessage().startsWith("not an image in a supported format but " + name), error.getMessage());
    }

    @Test
    void aLoginPageIsNamedByItsTitle() {
        String page = "\n<!DOCTYPE html><html><head><title> Sign\n in </title>";
        assertEquals("an HTML page titled 'Sign in', perhaps a login or an error page", Naming.description(bytes(page)));
    }

    @Test
    void aCharacterAtTheEndOfWhatIsLookedAtMayBeCut() {
        byte[] text = "\u00fc".repeat(5000).getBytes(StandardCharsets.UTF_8);
        assertEquals("text ('" + "\u00fc".repeat(40) + "')", Naming.description(Arrays.copyOf(text, 4095)));
    }

    @Test
    void anyBytesHaveAName() {
        Random random = new Random(3);
        for (int i = 0; i < 20_000; i++) {
            byte[] data = new byte[random.nextInt(60)];
            random.nextBytes(data);
            if (i % 2 == 0 && data.length > 12) {
                System.arraycopy(bytes(i % 4 == 0 ? "ftyp" : "<!--"), 0, data, i % 4 == 0 ? 4 : 0, 4);
            }
            assertTrue(Naming.description(data).length() > 5);
            for (Format format : Format.values()) {
                Naming.cutOff(data, format);
            }
        }
        assertFalse(Naming.cutOff(bytes("GIF89a;"), Format.GIF));
    }
}
