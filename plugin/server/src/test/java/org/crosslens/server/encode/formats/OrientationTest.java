package org.crosslens.server.encode.formats;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Random;
import org.crosslens.server.encode.Picture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class OrientationTest {

    @ParameterizedTest
    @CsvSource({ "1,0,0", "2,3,0", "3,3,1", "4,0,1", "5,0,0", "6,1,0", "7,1,3", "8,0,3" })
    void aPictureIsTurned(int orientation, int x, int y) {
        // The first pixel of a 4 x 2 picture is white; where does it go?
        byte[] rgb = new byte[4 * 2 * 3];
        Arrays.fill(rgb, 0, 3, (byte) 255);
        Picture turned = Orientation.upright(new Picture(4, 2, rgb), orientation);
        assertEquals(orientation < 5 ? 4 : 2, turned.width());
        assertEquals(255, turned.rgb()[(y * turned.width() + x) * 3] & 0xFF);
    }

    @Test
    void aBrokenExifBlockSaysNothing() {
        Random random = new Random(5);
        for (int i = 0; i < 10_000; i++) {
            byte[] tiff = new byte[random.nextInt(40)];
            random.nextBytes(tiff);
            if (tiff.length > 1) {
                tiff[0] = tiff[1] = (byte) (random.nextBoolean() ? 'I' : 'M');
            }
            int orientation = Orientation.ofExif(tiff, 0, tiff.length);
            assertTrue(orientation >= 0 && orientation <= 8);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = { "tiff:Orientation=\"6\"", "<tiff:Orientation>6</tiff:Orientation>", "Orientation = '6'", "O\0r\0ientation=\"6\"" })
    void anXmpPacketSaysIt(String packet) {
        byte[] data = packet.getBytes(StandardCharsets.ISO_8859_1);
        assertEquals(6, Orientation.ofXmp(data, 0, data.length));
        byte[] profile = ("\nxmp\n   9\n" + HexFormat.of().formatHex(data)).getBytes(StandardCharsets.ISO_8859_1);
        assertEquals(6, Orientation.ofRawProfile(profile));
    }

    @ParameterizedTest
    @ValueSource(strings = { "tiff:Orientation=\"9\"", "Orientation", "tiff:Orientation=6", "", "\n\n\nzz\n" })
    void anyOtherTextSaysNothing(String packet) {
        byte[] data = packet.getBytes(StandardCharsets.ISO_8859_1);
        assertEquals(Orientation.NONE, Orientation.ofXmp(data, 0, data.length));
        assertEquals(Orientation.NONE, Orientation.ofRawProfile(data));
    }
}
