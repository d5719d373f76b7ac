package org.crosslens.server.encode.formats;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.Picture;

/** BMP of every header and kind of pixels but embedded files (source: Microsoft's BITMAPV5HEADER; OS/2's older ones). */
final class Bmp {

    private static final int FILE_HEADER = 14, OLD = 12, WITH_MASKS = 52, WITH_OPACITY = 56;
    private static final int PLAIN = 0, RLE8 = 1, RLE4 = 2, MASKS = 3, MASKS_WITH_OPACITY = 6;
    private static final int[] RGB_16 = { 0x7C00, 0x3E0, 0x1F, 0 }, RGB_32 = { 0xFF0000, 0xFF00, 0xFF, 0 };

    private final byte[] data;
    private final ByteBuffer file;
    private final Runnable check;
    private final int header, width, height, bits, compression;
    private final boolean fromTop;
    private final int[] masks, palette;
    private final int start;

    private Bmp(byte[] data, Runnable check) {
        this.data = data;
        this.check = check;
        file = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        header = data.length < 26 ? 0 : file.getInt(FILE_HEADER);
        if (header != OLD && (header < 40 || header > 124 || data.length < FILE_HEADER + header)) {
            throw new ImageException(
                data.length < 54 ? "the image is truncated (no BMP header)" : "a BMP with a header of " + header + " bytes is not read"
            );
        }
        boolean old = header == OLD;
        width = old ? file.getShort(18) & 0xFFFF : file.getInt(18);
        int rows = old ? file.getShort(20) & 0xFFFF : file.getInt(22);
        height = Math.abs(rows);
        fromTop = rows < 0;
        bits = file.getShort(old ? 24 : 28) & 0xFFFF;
        compression = old ? PLAIN : file.getInt(30);
        if (width <= 0 || height <= 0) {
            throw new ImageException("the image can't be decoded: the BMP has no pixels");
        }
        masks = masks();
        int colours = masks == null ? colours(old) : 0, entry = old ? 3 : 4, at = FILE_HEADER + header;
        palette = masks == null ? palette(at, colours, entry) : null;
        long from = file.getInt(10) & 0xFFFFFFFFL;
        // Some writers forget the palette.
        start = (int) Math.min(from == 0 || from == at ? Math.max(from, at) + (long) colours * entry : from, data.length);
    }

    /** Reads the header and the palette. Throws {@link ImageException} where they make no sense. */
    static Pending start(byte[] data, Runnable check) {
        Bmp bmp = new Bmp(data, check);
        boolean runs = bmp.compression == RLE8 || bmp.compression == RLE4;
        long pixels = (long) bmp.width * bmp.height;
        if (runs == false && bmp.rowBytes() * bmp.height > data.length - bmp.start + 3L) {
            throw new ImageException("the image is truncated (BMP pixels lie beyond its end)");
        }
        return new Pending(bmp.width, bmp.height, runs ? pixels : 0, 1, Orientation.NONE, runs ? bmp::ofRuns : bmp::decoded);
    }

    /** Rows begin at multiples of four bytes. */
    private long rowBytes() {
        return ((long) width * bits + 31) / 32 * 4;
    }

    private int[] masks() {
        return switch (compression) {
            case PLAIN -> switch (bits) {
                case 1, 2, 4, 8 -> null;
                case 16 -> RGB_16;
                case 24, 32 -> RGB_32;
                default -> throw unknown();
            };
            case RLE8, RLE4 -> {
                if (bits != (compression == RLE8 ? 8 : 4)) {
                    throw unknown();
                }
                yield null;
            }
            case MASKS, MASKS_WITH_OPACITY -> {
                if (bits != 16 && bits != 32 || data.length < FILE_HEADER + WITH_OPACITY) {
                    throw unknown();
                }
                // The masks follow the oldest header, and are part of the later ones.
                boolean opacity = header >= WITH_OPACITY || compression == MASKS_WITH_OPACITY;
                int[] read = { file.getInt(54), file.getInt(58), file.getInt(62), opacity ? file.getInt(66) : 0 };
                if (read[0] == 0 || read[1] == 0 || read[2] == 0) {
                    throw unknown();
                }
                yield read;
            }
            default -> throw unknown();
        };
    }

    private ImageException unknown() {
        return new ImageException("a BMP of compression " + compression + " and " + bits + " bits a pixel is not read");
    }

    private int colours(boolean old) {
        int named = old ? 0 : file.getInt(46);
        if (named < 0 || named > 65_536) {
            throw new ImageException("a BMP with a palette of " + (named & 0xFFFFFFFFL) + " colours is not read");
        }
        return named == 0 ? 1 << bits : named;
    }

    private int[] palette(int at, int colours, int entry) {
        int[] palette = new int[Math.min(Math.min(colours, 256), Math.max(0, data.length - at) / entry)];
        for (int i = 0; i < palette.length; i++) {
            int from = at + i * entry;
            palette[i] = (data[from + 2] & 0xFF) << 16 | (data[from + 1] & 0xFF) << 8 | data[from] & 0xFF;
        }
        return palette;
    }

    private Picture decoded() {
        byte[] rgb = new byte[width * height * 3];
        int[] used = masks;
        if (masks != null && masks[3] != 0 && anySet(masks[3]) == false) {
            // A fully invisible picture is implausible: the bits must be unused.
            used = new int[] { masks[0], masks[1], masks[2], 0 };
        }
        for (int y = 0, at = 0; y < height; y++) {
            check.run();
            long row = row(y);
            for (int x = 0; x < width; x++, at += 3) {
                int number = number(row, x);
                if (used == null) {
                    int colour = number < palette.length ? palette[number] : 0;
                    Flat.put(rgb, at, colour >> 16 & 0xFF, colour >> 8 & 0xFF, colour & 0xFF, 255);
                } else {
                    int alpha = used[3] == 0 ? 255 : sample(number, used[3]);
                    Flat.put(rgb, at, sample(number, used[0]), sample(number, used[1]), sample(number, used[2]), alpha);
                }
            }
        }
        return new Picture(width, height, rgb);
    }

    private boolean anySet(int mask) {
        for (int y = 0; y < height; y++) {
            long row = row(y);
            for (int x = 0; x < width; x++) {
                if ((number(row, x) & mask) != 0) {
                    return true;
                }
            }
        }
        return false;
    }

    private long row(int y) {
        return start + rowBytes() * (fromTop ? y : height - 1 - y);
    }

    private int number(long row, int x) {
        int at = (int) (row + (long) x * bits / 8);
        // The last row's padding may be missing, but no pixel of it.
        return switch (bits) {
            case 8 -> data[at] & 0xFF;
            case 16 -> file.getShort(at) & 0xFFFF;
            case 24 -> data[at] & 0xFF | (data[at + 1] & 0xFF) << 8 | (data[at + 2] & 0xFF) << 16;
            case 32 -> file.getInt(at);
            default -> data[at] >> 8 - bits - x * bits % 8 & (1 << bits) - 1;
        };
    }

    /** The bits of {@code mask} scaled to 8 bits, with all set as 255. */
    private static int sample(int number, int mask) {
        long full = (mask & 0xFFFFFFFFL) >>> Integer.numberOfTrailingZeros(mask);
        long value = (number & mask & 0xFFFFFFFFL) >>> Integer.numberOfTrailingZeros(mask);
        return full == 255 ? (int) value : (int) ((value * 255 + full / 2) / full);
    }

    private Picture ofRuns() {
        byte[] indices = BmpRuns.decoded(data, start, width, height, compression == RLE4, check);
        byte[] rgb = new byte[width * height * 3];
        for (int y = 0, at = 0; y < height; y++) {
            int row = (fromTop ? y : height - 1 - y) * width;
            for (int x = 0; x < width; x++, at += 3) {
                int index = indices[row + x] & 0xFF, colour = index < palette.length ? palette[index] : 0;
                Flat.put(rgb, at, colour >> 16 & 0xFF, colour >> 8 & 0xFF, colour & 0xFF, 255);
            }
        }
        return new Picture(width, height, rgb);
    }
}
