package org.crosslens.server.encode;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import javax.imageio.ImageIO;
import org.crosslens.server.encode.Resampler.Filter;
import org.elasticsearch.common.breaker.CircuitBreaker;
import org.elasticsearch.common.breaker.CircuitBreakingException;
import org.elasticsearch.common.logging.LogConfigurator;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class ImagesTest {

    @BeforeAll
    static void logging() {
        // Elasticsearch's exceptions have loggers, which the server sets up when it starts.
        LogConfigurator.configureESLogging();
    }

    private static final long MOST = 89_478_485;

    private static byte[] encoded(BufferedImage image, String format) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        assertTrue(ImageIO.write(image, format, out));
        return out.toByteArray();
    }

    /** Red on the left, blue on the right. */
    private static BufferedImage halves(int width, int height, int type) {
        BufferedImage image = new BufferedImage(width, height, type);
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                image.setRGB(x, y, x < width / 2 ? 0xFFFF0000 : 0xFF0000FF);
            }
        }
        return image;
    }

    private static Picture open(byte[] data) {
        return Images.open(data, 0, MOST, bytes -> {});
    }

    private static int[] pixel(Picture picture, int x, int y) {
        int at = (y * picture.width() + x) * 3;
        return new int[] { picture.rgb()[at] & 0xFF, picture.rgb()[at + 1] & 0xFF, picture.rgb()[at + 2] & 0xFF };
    }

    @ParameterizedTest
    @ValueSource(strings = { "png", "jpeg", "bmp", "gif", "tiff" })
    void formatsAreToldByTheirFirstBytes(String format) throws IOException {
        Picture picture = open(encoded(halves(64, 32, BufferedImage.TYPE_INT_RGB), format));
        assertEquals(64, picture.width());
        assertEquals(32, picture.height());
        int[] left = pixel(picture, 4, 4), right = pixel(picture, 60, 28);
        assertTrue(left[0] > 245 && left[1] < 10 && left[2] < 10, Arrays.toString(left));
        assertTrue(right[2] > 245 && right[1] < 10 && right[0] < 10, Arrays.toString(right));
    }

    @Test
    void transparencyLiesOnWhite() throws IOException {
        BufferedImage image = new BufferedImage(2, 1, BufferedImage.TYPE_INT_ARGB);
        image.setRGB(0, 0, 0x00FF0000);
        image.setRGB(1, 0, 0x80000000);
        Picture picture = open(encoded(image, "png"));
        assertArrayEquals(new int[] { 255, 255, 255 }, pixel(picture, 0, 0));
        assertArrayEquals(new int[] { 127, 127, 127 }, pixel(picture, 1, 0));
    }

    @Test
    void sixteenBitGreysAreScaledAndNotClipped() throws IOException {
        BufferedImage image = new BufferedImage(1, 1, BufferedImage.TYPE_USHORT_GRAY);
        image.getRaster().setSample(0, 0, 0, 0x8080);
        assertArrayEquals(new int[] { 128, 128, 128 }, pixel(open(encoded(image, "png")), 0, 0));
    }

    @Test
    void pixelsAreCountedBeforeAnyIsDecoded() throws IOException {
        byte[] data = encoded(halves(100, 100, BufferedImage.TYPE_INT_RGB), "png");
        // A header that claims 2^31 - 1 pixels a side; its checksum is not looked at before.
        byte[] bomb = data.clone();
        ByteBuffer.wrap(bomb).putInt(16, Integer.MAX_VALUE).putInt(20, Integer.MAX_VALUE);
        for (byte[] each : List.of(bomb, data)) {
            ImageException error = assertThrows(ImageException.class, () -> Images.open(each, 0, 9_999, bytes -> {
                throw new AssertionError("memory was asked for");
            }));
            assertTrue(error.getMessage().contains("more than the 9999 allowed"), error.getMessage());
        }
    }

    @Test
    void memoryIsReservedBeforeDecodingAndARefusalIsPassedOn() throws IOException {
        byte[] data = encoded(halves(100, 100, BufferedImage.TYPE_INT_RGB), "png");
        CircuitBreakingException refused = assertThrows(CircuitBreakingException.class, () -> Images.open(data, 0, MOST, bytes -> {
            assertTrue(bytes >= 100 * 100 * 6);
            throw new CircuitBreakingException("full", CircuitBreaker.Durability.TRANSIENT);
        }));
        assertEquals(429, refused.status().getStatus());
    }

    @ParameterizedTest
    @ValueSource(strings = { "png", "jpeg", "bmp", "gif", "tiff" })
    void aDamagedFileIsAnImageExceptionOrAPicture(String format) throws IOException {
        byte[] whole = encoded(halves(40, 30, BufferedImage.TYPE_INT_RGB), format);
        Random random = new Random(11);
        for (int i = 0; i < 1_500; i++) {
            byte[] damaged = i % 3 == 0 ? Arrays.copyOf(whole, random.nextInt(whole.length)) : whole.clone();
            for (int n = 0; n < i % 3 * 4 && damaged.length > 0; n++) {
                damaged[random.nextInt(damaged.length)] = (byte) random.nextInt();
            }
            try {
                Picture picture = Images.open(damaged, 0, 1_000_000, bytes -> {});
                assertEquals(picture.width() * picture.height() * 3, picture.rgb().length);
            } catch (ImageException expected) {
                assertTrue(expected.getMessage().length() > 5);
            }
        }
    }

    @Test
    void damagedWebpIsAnImageExceptionOrAPicture() throws IOException {
        byte[] whole;
        try (var files = Files.list(Path.of(System.getProperty("crosslens.pictures")))) {
            whole = Files.readAllBytes(files.filter(file -> file.toString().endsWith(".webp")).sorted().findFirst().orElseThrow());
        }
        assertEquals(128, open(whole).width());
        Random random = new Random(13);
        for (int i = 0; i < 3_000; i++) {
            byte[] damaged = i % 3 == 0 ? Arrays.copyOf(whole, random.nextInt(whole.length)) : whole.clone();
            for (int n = 0; n < i % 3 * 4 && damaged.length > 0; n++) {
                damaged[random.nextInt(Math.min(damaged.length, i % 2 == 0 ? 64 : damaged.length))] = (byte) random.nextInt();
            }
            try {
                Images.open(damaged, 0, 1_000_000, bytes -> {});
            } catch (ImageException expected) {
                assertTrue(expected.getMessage().length() > 5);
            }
        }
    }

    @ParameterizedTest
    @EnumSource(Filter.class)
    void aPlainColourStaysPlainHoweverItIsResized(Filter filter) {
        byte[] rgb = new byte[37 * 23 * 3];
        Arrays.fill(rgb, (byte) 200);
        for (int[] size : new int[][] { { 10, 10 }, { 90, 7 }, { 37, 50 }, { 1, 1 } }) {
            Picture resized = Resampler.resize(new Picture(37, 23, rgb), size[0], size[1], filter);
            for (byte value : resized.rgb()) {
                assertEquals(200, value & 0xFF);
            }
        }
    }

    @ParameterizedTest
    @EnumSource(Filter.class)
    void aPartOfAResizedPictureIsThatPartOfAllOfIt(Filter filter) {
        Random random = new Random(17);
        for (int i = 0; i < 200; i++) {
            Picture picture = new Picture(1 + random.nextInt(60), 1 + random.nextInt(60), null);
            byte[] rgb = new byte[picture.width() * picture.height() * 3];
            random.nextBytes(rgb);
            picture = new Picture(picture.width(), picture.height(), rgb);
            int width = 1 + random.nextInt(90), height = 1 + random.nextInt(90);
            int columns = 1 + random.nextInt(width), rows = 1 + random.nextInt(height);
            int left = random.nextInt(width - columns + 1), top = random.nextInt(height - rows + 1);
            Picture whole = Resampler.resize(picture, width, height, filter);
            Picture part = Resampler.resize(picture, new ImageTransform.Part(width, height, left, top, columns, rows), filter);
            assertEquals(columns, part.width());
            for (int y = 0; y < rows; y++) {
                for (int x = 0; x < columns; x++) {
                    assertArrayEquals(pixel(whole, left + x, top + y), pixel(part, x, y));
                }
            }
        }
    }

    @Test
    void resizingHasPillowsNumbers() {
        // Image.frombytes("RGB", (5, 1), bytes(range(0, 225, 15))).resize((2, 1), Image.BICUBIC).tobytes(), and (3, 1)
        // BILINEAR.
        byte[] rgb = new byte[15];
        for (int i = 0; i < 15; i++) {
            rgb[i] = (byte) (i * 15);
        }
        Picture picture = new Picture(5, 1, rgb);
        assertArrayEquals(BICUBIC, unsigned(Resampler.resize(picture, 2, 1, Filter.BICUBIC)));
        assertArrayEquals(BILINEAR, unsigned(Resampler.resize(picture, 3, 1, Filter.BILINEAR)));
    }

    private static final int[] BICUBIC = { 39, 54, 69, 141, 156, 171 };
    private static final int[] BILINEAR = { 19, 34, 49, 90, 105, 120, 161, 176, 191 };

    private static int[] unsigned(Picture picture) {
        int[] values = new int[picture.rgb().length];
        Arrays.setAll(values, i -> picture.rgb()[i] & 0xFF);
        return values;
    }

    @Test
    void reducingTakesTheMeanOfBlocksAlsoAtTheEdge() {
        byte[] rgb = new byte[3 * 3];
        rgb[0] = 10;
        rgb[3] = 20;
        rgb[6] = 60;
        Picture reduced = new Picture(3, 1, rgb).reduced(2);
        assertEquals(2, reduced.width());
        assertArrayEquals(new int[] { 15, 0, 0, 60, 0, 0 }, unsigned(reduced));
    }
}
