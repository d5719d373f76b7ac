package org.crosslens.server.encode.formats;

import java.awt.image.Raster;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.Picture;

/** PNG (source: PNG third edition): only the chunks that its pixels need, whatever else is in the file. */
final class Png {

    private static final int MARK = 8, HEADER_END = 33;
    private static final int GREY = 0, RGB = 2, PALETTE = 3;

    /** What the chunks say: the palette with its opacity (ARGB) or null, and the transparent colour or null. */
    private record Chunks(int depth, int colour, int[] palette, int[] clear, int orientation) {}

    private Png() {}

    /** Reads the header and the chunks' own. What stands before the pixels must be whole: decoders allocate what a chunk claims. */
    static Pending start(byte[] data, Runnable check) {
        if (data.length < HEADER_END || Bytes.starts(data, MARK + 4, "IHDR") == false) {
            throw new ImageException("the image can't be decoded: the PNG is cut off before its header, or has none");
        }
        int width = ByteBuffer.wrap(data).getInt(16), height = ByteBuffer.wrap(data).getInt(20);
        if (width <= 0 || height <= 0) {
            throw new ImageException("the image can't be decoded: the PNG has no pixels");
        }
        Chunks chunks = chunks(data, check);
        int bytes = chunks.depth > 8 ? 2 : 1, samples = chunks.colour == GREY ? 2 : chunks.colour == PALETTE ? 1 : 4;
        long decoding = (long) width * height * samples * bytes + 2L * data.length;
        return new Pending(width, height, decoding, 1, chunks.orientation, () -> {
            Raster raster = Decoders.use(Format.PNG, new ImageBytes(slim(data), check), reader -> reader.read(0).getRaster());
            return picture(raster, chunks);
        });
    }

    /** The file without the chunks that a decoder needn't understand, as their names' first letter shows. */
    private static byte[] slim(byte[] data) {
        ByteArrayOutputStream kept = new ByteArrayOutputStream(data.length);
        kept.write(data, 0, MARK);
        for (int at = MARK; at + 8 <= data.length;) {
            int whole = (int) Math.min(12 + (ByteBuffer.wrap(data, at, 4).getInt() & 0xFFFFFFFFL), data.length - at);
            if (Character.isUpperCase(data[at + 4])) {
                kept.write(data, at, whole);
            }
            at = Bytes.starts(data, at + 4, "IEND") ? data.length : at + whole;
        }
        return kept.toByteArray();
    }

    private static Chunks chunks(byte[] data, Runnable check) {
        PngTexts texts = new PngTexts();
        int depth = data[24] & 0xFF, colour = data[25] & 0xFF, orientation = Orientation.NONE, at = MARK;
        byte[] colours = null, clear = null;
        boolean pixels = false;
        while (at + 8 <= data.length) {
            check.run();
            long length = ByteBuffer.wrap(data, at, 4).getInt() & 0xFFFFFFFFL;
            int content = at + 8, available = (int) Math.min(length, data.length - content);
            pixels |= Bytes.starts(data, at + 4, "IDAT");
            if (at + 12 + length > data.length && pixels == false) {
                throw new ImageException("the image is truncated (a PNG chunk lies beyond its end)");
            }
            if (Bytes.starts(data, at + 4, "IEND")) {
                break;
            } else if (Bytes.starts(data, at + 4, "PLTE")) {
                colours = Arrays.copyOfRange(data, content, content + available);
            } else if (Bytes.starts(data, at + 4, "tRNS")) {
                clear = Arrays.copyOfRange(data, content, content + available);
            } else if (Bytes.starts(data, at + 4, "eXIf") && orientation == Orientation.NONE) {
                orientation = Orientation.ofExif(data, content, available);
            } else if (orientation == Orientation.NONE) {
                orientation = texts.orientation(data, at + 4, available);
            }
            at = (int) Math.min(at + 12 + length, data.length);
        }
        int[] palette = colour == PALETTE && colours != null ? palette(colours, clear) : null;
        return new Chunks(depth, colour, palette, clear(colour, depth, clear), orientation);
    }

    private static int[] palette(byte[] colours, byte[] opacity) {
        int[] palette = new int[Math.min(colours.length / 3, 256)];
        for (int i = 0; i < palette.length; i++) {
            int alpha = opacity != null && i < opacity.length ? opacity[i] & 0xFF : 255;
            int red = colours[3 * i] & 0xFF, green = colours[3 * i + 1] & 0xFF, blue = colours[3 * i + 2] & 0xFF;
            palette[i] = alpha << 24 | red << 16 | green << 8 | blue;
        }
        return palette;
    }

    private static int[] clear(int colour, int depth, byte[] content) {
        int samples = colour == GREY ? 1 : colour == RGB ? 3 : 0;
        if (samples == 0 || content == null || content.length < 2 * samples) {
            return null;
        }
        int[] clear = new int[samples];
        for (int i = 0; i < samples; i++) {
            int value = ByteBuffer.wrap(content).getShort(2 * i) & 0xFFFF;
            clear[i] = depth < 8 ? value & (1 << depth) - 1 : value;
        }
        return clear;
    }

    private static Picture picture(Raster raster, Chunks chunks) {
        int width = raster.getWidth(), height = raster.getHeight(), bands = raster.getNumBands();
        byte[] rgb = new byte[width * height * 3];
        if (chunks.colour == PALETTE) {
            Flat.indexed(raster, chunks.palette, rgb);
        } else if (chunks.clear != null || chunks.depth != 8 || Flat.interleaved(raster, rgb) == false) {
            int[] row = new int[width * bands], eight = eight(chunks.depth, bands == 1);
            for (int y = 0, at = 0; y < height; y++) {
                raster.getPixels(0, y, width, 1, row);
                for (int x = 0; x < row.length; x += bands, at += 3) {
                    int green = bands < 3 ? x : x + 1, blue = bands < 3 ? x : x + 2;
                    int alpha = bands % 2 == 0 ? eight[row[x + bands - 1]] : isClear(row, x, chunks.clear) ? 0 : 255;
                    Flat.put(rgb, at, eight[row[x]], eight[row[green]], eight[row[blue]], alpha);
                }
            }
        }
        return new Picture(width, height, rgb);
    }

    private static boolean isClear(int[] row, int x, int[] clear) {
        if (clear == null) {
            return false;
        }
        for (int i = 0; i < clear.length; i++) {
            if (row[x + i] != clear[i]) {
                return false;
            }
        }
        return true;
    }

    /** 8-bit samples by wider or narrower ones: one of 16 bits alone is scaled, several lose their lower byte, as in Pillow. */
    private static int[] eight(int depth, boolean alone) {
        int most = (1 << depth) - 1;
        int[] eight = new int[most + 1];
        for (int i = 0; i <= most; i++) {
            eight[i] = depth <= 8 ? i * 255 / most : alone ? (int) Math.rint(i * 255.0 / most) : i >> 8;
        }
        return eight;
    }
}
