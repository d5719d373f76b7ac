package org.crosslens.server.encode.formats;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.Picture;

/**
 * GIF (source: GIF89a, CompuServe): the first frame on its canvas, which is white where the frame leaves it free. Java's own
 * decoder takes a file that is cut off for a whole one.
 */
final class Gif {

    private static final int HEADER = 13, EXTENSION = 0x21, IMAGE = 0x2C, TRAILER = 0x3B, CONTROL = 0xF9;

    /** The first frame: its place, its colours (ARGB; null for greys), and where its pixels' codes begin. */
    private record Frame(int left, int top, int width, int height, boolean interlaced, int[] colours, int codes) {}

    private Gif() {}

    /** Reads the blocks up to the first frame. */
    static Pending start(byte[] data, Runnable check) {
        if (data.length < HEADER) {
            throw new ImageException("the image can't be decoded: the GIF is cut off before its first frame");
        }
        Frame frame = frame(data, check);
        int width = Math.max(two(data, 6), frame.left + frame.width), height = Math.max(two(data, 8), frame.top + frame.height);
        if (frame.width == 0 || frame.height == 0) {
            throw new ImageException("the image can't be decoded: the GIF's first frame has no pixels");
        }
        long indices = (long) frame.width * frame.height;
        return new Pending(width, height, indices, 1, Orientation.NONE, () -> decoded(data, frame, width, height, check));
    }

    private static Frame frame(byte[] data, Runnable check) {
        int at = HEADER, clear = -1;
        int[] colours = null;
        if ((data[10] & 0x80) != 0) {
            int size = 2 << (data[10] & 7);
            colours = colours(data, at, size);
            at += 3 * size;
        }
        while (at + 10 < data.length) {
            int kind = data[at++] & 0xFF;
            if (kind == TRAILER) {
                break;
            } else if (kind == EXTENSION) {
                if ((data[at] & 0xFF) == CONTROL && data[at + 1] >= 4) {
                    clear = (data[at + 2] & 1) != 0 ? data[at + 5] & 0xFF : -1;
                }
                at = afterBlocks(data, at + 1, check);
            } else if (kind == IMAGE) {
                int flags = data[at + 8], size = 2 << (flags & 7);
                if ((flags & 0x80) != 0) {
                    colours = colours(data, at + 9, size);
                }
                int codes = at + 9 + ((flags & 0x80) != 0 ? 3 * size : 0);
                boolean interlaced = (flags & 0x40) != 0;
                int[] seen = withClear(colours, clear);
                return new Frame(two(data, at), two(data, at + 2), two(data, at + 4), two(data, at + 6), interlaced, seen, codes);
            }
        }
        throw new ImageException("the image can't be decoded: the GIF is cut off before its first frame, or has none");
    }

    private static int[] withClear(int[] colours, int clear) {
        if (clear < 0) {
            return colours;
        }
        int[] seen = colours == null ? new int[256] : Arrays.copyOf(colours, Math.max(colours.length, clear + 1));
        for (int i = 0; colours == null && i < 256; i++) {
            seen[i] = 0xFF000000 | i * 0x10101;
        }
        seen[clear] = 0;
        return seen;
    }

    private static int[] colours(byte[] data, int at, int size) {
        int[] colours = new int[Math.max(0, Math.min(size, (data.length - at) / 3))];
        for (int i = 0; i < colours.length; i++) {
            int from = at + 3 * i;
            colours[i] = 0xFF000000 | (data[from] & 0xFF) << 16 | (data[from + 1] & 0xFF) << 8 | data[from + 2] & 0xFF;
        }
        return colours;
    }

    private static int afterBlocks(byte[] data, int from, Runnable check) {
        int at = from;
        while (at < data.length && data[at] != 0) {
            at += 1 + (data[at] & 0xFF);
            check.run();
        }
        return at + 1;
    }

    private static Picture decoded(byte[] data, Frame frame, int width, int height, Runnable check) throws IOException {
        byte[] indices = new byte[frame.width * frame.height];
        int size = new GifCodes(data, frame.codes, check).decoded(indices);
        if (size < indices.length) {
            throw new IOException("its codes end after " + size + " of " + indices.length + " pixels");
        }
        byte[] rgb = new byte[width * height * 3];
        Arrays.fill(rgb, (byte) 255);
        int row = 0;
        for (int start : frame.interlaced ? new int[] { 0, 4, 2, 1 } : new int[] { 0 }) {
            int step = frame.interlaced ? start == 0 || start == 4 ? 8 : 2 * start : 1;
            for (int y = start; y < frame.height; y += step, row++) {
                int at = ((frame.top + y) * width + frame.left) * 3;
                for (int x = 0; x < frame.width; x++, at += 3) {
                    int index = indices[row * frame.width + x] & 0xFF;
                    int colour = frame.colours == null ? 0xFF000000 | index * 0x10101
                        : index < frame.colours.length ? frame.colours[index]
                        : 0xFF000000;
                    Flat.put(rgb, at, colour >> 16 & 0xFF, colour >> 8 & 0xFF, colour & 0xFF, colour >>> 24);
                }
            }
        }
        return new Picture(width, height, rgb);
    }

    private static int two(byte[] data, int at) {
        return ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN).getShort(at) & 0xFFFF;
    }
}
