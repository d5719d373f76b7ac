package org.crosslens.server.encode;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The memory that decoding a file takes, read from its headers before any decoder sees it: wide samples, tiles,
 * coefficients, embedded pictures. {@code tiff} and {@code frame} are null for other formats.
 */
record Claims(Container container, Tiff tiff, JpegFrame frame) {

    private static final int BMP_RGB = 0, BMP_MASKS = 3;
    /** libwebp's own pixels, their copy in Java, and libwebp's row and alpha buffers. */
    private static final int WEBP_BYTES_A_PIXEL = 13;

    /** Reads the headers. Throws {@link ImageException} where they make no sense for a picture. */
    static Claims of(Container container) {
        byte[] data = container.data();
        return switch (container.format()) {
            case TIFF -> new Claims(container, new Tiff(data), null);
            case JPEG -> new Claims(container, null, JpegFrame.of(data, 0, data.length));
            case BMP -> {
                checkBmp(data);
                yield new Claims(container, null, null);
            }
            default -> new Claims(container, null, null);
        };
    }

    /** Return the file as the decoder should read it; each read runs {@code check}. */
    ImageBytes stream(Runnable check) {
        return tiff != null ? tiff.stream(check) : new ImageBytes(new byte[0], container.data(), new byte[0], check);
    }

    /** Return an upper bound of the decoder's memory, in bytes, for {@code width} x {@code height} pixels. */
    long decoding(int width, int height) {
        long pixels = (long) width * height;
        return switch (container.format()) {
            case TIFF -> tiff.decoding();
            case JPEG -> pixels * Math.max(frame.components(), 1) + frame.coefficients() + container.data().length;
            case PNG -> pixels * pngBytesAPixel();
            case BMP -> 4 * pixels;
            case GIF -> pixels;
            case WEBP -> WEBP_BYTES_A_PIXEL * pixels;
        };
    }

    private int pngBytesAPixel() {
        int depth = container.data()[24], bytes = depth > 8 ? 2 : 1;
        // One more channel where a colour marks transparency.
        return switch (container.data()[25]) {
            case 0 -> 2 * bytes;
            case 3 -> 1;
            default -> 4 * bytes;
        };
    }

    /** Java's decoder accepts an embedded JPEG or PNG of any size as the pixels; Pillow accepts neither. */
    private static void checkBmp(byte[] data) {
        ByteBuffer header = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        boolean old = data.length >= 26 && header.getInt(14) == 12;
        if (data.length < 34 && old == false) {
            throw new ImageException("the image is truncated (no BMP header)");
        }
        int compression = old ? BMP_RGB : header.getInt(30);
        if (compression < BMP_RGB || compression > BMP_MASKS) {
            throw new ImageException("a BMP of compression " + compression + " is not read");
        }
        if ((header.getInt(10) & 0xFFFFFFFFL) > data.length) {
            throw new ImageException("the image is truncated (BMP pixels lie beyond its end)");
        }
    }
}
