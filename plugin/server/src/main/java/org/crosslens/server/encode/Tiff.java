package org.crosslens.server.encode;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * A TIFF's first directory (source: TIFF 6.0, section 2), read before the decoder sees it, since the decoder allocates
 * whatever tiles, samples and values the file claims. The decoder gets a directory of only the fields that shape pixels.
 */
final class Tiff {

    private static final int WIDTH = 256, HEIGHT = 257, BITS = 258, COMPRESSION = 259, PHOTOMETRIC = 262, STRIP_OFFSETS = 273,
        SAMPLES = 277, ROWS_PER_STRIP = 278, STRIP_BYTES = 279, TILE_WIDTH = 322, TILE_HEIGHT = 323, TILE_OFFSETS = 324,
        TILE_BYTES = 325, SAMPLE_FORMAT = 339, JPEG_TABLES = 347;
    /** The fields above, and: fill order, planes, fax options, predictor, palette, ranges, extra samples, YCbCr. */
    private static final Set<Integer> KEPT = Set.of(
        WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, TILE_WIDTH,
        TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, SAMPLE_FORMAT, JPEG_TABLES, 254, 266, 284, 280, 281, 292, 293, 317, 318, 319,
        320, 338, 340, 341, 529, 530, 531, 532
    );
    private static final int[] TYPE_BYTES = { 0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4 };
    private static final int OLD_JPEG = 6, JPEG = 7, SHORT = 3, LONG = 4;
    /** Tiles of a small picture may cover up to a multiple of this many pixels. */
    private static final long SMALL = 1 << 22;
    private static final double MOST_PIXELS = 1L << 40;

    private final byte[] data;
    private final ByteBuffer file;
    private final Map<Integer, Integer> entries = new LinkedHashMap<>();
    private final long decoding;

    /**
     * Reads the directory. Throws {@link ImageException} where it is damaged, or where tiles, samples or an embedded JPEG
     * need far more than the picture's pixels justify.
     */
    Tiff(byte[] data) {
        this.data = data;
        file = ByteBuffer.wrap(data).order(data[0] == 'I' ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN);
        long start = data.length < 8 ? 0 : file.getInt(4) & 0xFFFFFFFFL;
        if (start < 8 || start + 2 > data.length) {
            throw new ImageException("the image is truncated (no TIFF directory)");
        }
        int count = file.getShort((int) start) & 0xFFFF;
        long bytes = 0;
        for (int i = 0; i < count && start + 14 + 12L * i <= data.length; i++) {
            int at = (int) start + 2 + 12 * i, tag = file.getShort(at) & 0xFFFF;
            if (KEPT.contains(tag) == false || entries.containsKey(tag)) {
                continue;
            }
            long size = size(at);
            bytes += size;
            if (size > 4 && (file.getInt(at + 8) & 0xFFFFFFFFL) + size > data.length || bytes > data.length + 4L * KEPT.size()) {
                throw new ImageException("the image is truncated (TIFF field " + tag + " lies beyond its end)");
            }
            entries.put(tag, at);
        }
        decoding = checked();
    }

    /** Return an upper bound of the memory that decoding takes, in bytes, without the file itself. */
    long decoding() {
        return decoding;
    }

    /** Return the size of an entry's values in bytes; larger than any file where the type is unknown. */
    private long size(int at) {
        int type = file.getShort(at + 2) & 0xFFFF;
        long count = file.getInt(at + 4) & 0xFFFFFFFFL;
        return type == 0 || type >= TYPE_BYTES.length ? Long.MAX_VALUE / 2 : count * TYPE_BYTES[type];
    }

    private int count(int tag) {
        return entries.containsKey(tag) ? file.getInt(entries.get(tag) + 4) : 0;
    }

    private long value(int tag, int index, long missing) {
        if (index >= count(tag)) {
            return missing;
        }
        int at = entries.get(tag), type = file.getShort(at + 2) & 0xFFFF;
        int from = size(at) > 4 ? file.getInt(at + 8) : at + 8;
        return switch (type) {
            case SHORT -> file.getShort(from + 2 * index) & 0xFFFFL;
            case LONG -> file.getInt(from + 4 * index) & 0xFFFFFFFFL;
            default -> TYPE_BYTES[type] == 1 ? file.get(from + index) & 0xFFL : missing;
        };
    }

    private long checked() {
        long width = value(WIDTH, 0, 0), height = value(HEIGHT, 0, 0), samples = value(SAMPLES, 0, 1), most = 0, least = 64;
        if (samples > 4) {
            throw new ImageException("an image of " + samples + " bands is not read");
        }
        for (int i = 0; i < Math.max(1, Math.min(count(BITS), 4)); i++) {
            long bits = value(BITS, i, 1);
            most = Math.max(most, bits);
            least = Math.min(least, bits);
        }
        // Where depths differ, the decoder builds a table with an entry for every value of the deepest.
        if (most > 16 && (most != 32 && most != 64 || least != most)) {
            throw new ImageException("a TIFF of " + most + " bits a sample is not read");
        }
        if ((double) width * height > MOST_PIXELS) {
            throw new ImageException(width + " x " + height + " pixels are more than any image has");
        }
        boolean tiled = entries.containsKey(TILE_WIDTH) || entries.containsKey(TILE_HEIGHT);
        long across = tiled ? value(TILE_WIDTH, 0, width) : width;
        long down = tiled ? value(TILE_HEIGHT, 0, height) : Math.min(value(ROWS_PER_STRIP, 0, height), height);
        if (across <= 0 || down <= 0 || width <= 0 || height <= 0) {
            throw new ImageException("a TIFF of tiles without pixels");
        }
        long tiles = ceil(width, across) * ceil(height, down), pixels = Math.max(width * height, SMALL);
        if (across > 4 * pixels || down > 4 * pixels || across * down > 4 * pixels || tiles > 4 * pixels / (across * down)) {
            throw new ImageException("tiles of " + across + " x " + down + " pixels, of which most lie outside the picture");
        }
        segments(across, down);
        boolean colours = value(PHOTOMETRIC, 0, 0) == 2 || value(PHOTOMETRIC, 0, 0) == 6;
        long sample = most <= 8 ? 1 : most <= 16 ? 2 : most / 8, pixel = sample * Math.max(samples, colours ? 3 : 1);
        // Raw and unpacked samples of one tile; greys from wide samples are computed in double precision.
        return width * height * (pixel + (most > 16 ? 8 : 0)) + 3 * across * down * pixel;
    }

    private static long ceil(long of, long by) {
        return (of + by - 1) / by;
    }

    /** Check that segments don't reuse the same bytes over and over, and that no embedded JPEG exceeds its tile. */
    private void segments(long across, long down) {
        int offsets = entries.containsKey(TILE_OFFSETS) ? TILE_OFFSETS : STRIP_OFFSETS;
        int lengths = offsets == TILE_OFFSETS ? TILE_BYTES : STRIP_BYTES;
        long compression = value(COMPRESSION, 0, 1), read = 0;
        if (compression == OLD_JPEG) {
            throw new ImageException("a TIFF with JPEG of the old style, which is not read in the cluster");
        }
        boolean tables = entries.containsKey(JPEG_TABLES);
        if (compression == JPEG && tables) {
            int at = entries.get(JPEG_TABLES), from = size(at) > 4 ? file.getInt(at + 8) : at + 8;
            JpegFrame frame = JpegFrame.of(data, from, from + (int) size(at));
            if (frame.components() > 0 || frame.scans() > 0) {
                throw new ImageException("a TIFF whose JPEG tables hold a picture");
            }
        }
        for (int i = 0; i < count(offsets); i++) {
            long from = value(offsets, i, 0), length = Math.min(value(lengths, i, data.length), Math.max(data.length - from, 0));
            if (compression == JPEG && from < data.length) {
                // Without tables of its own the decoder reads on to the end of the image, whatever the length says.
                JpegFrame frame = JpegFrame.of(data, (int) from, tables ? (int) (from + length) : data.length);
                length = Math.max(length, frame.end() - from);
                if (frame.width() > across + 32 || frame.height() > down + 32) {
                    throw new ImageException("a TIFF with a JPEG larger than its tile");
                }
            }
            read += length;
            if (read > 4L * data.length + SMALL) {
                throw new ImageException("a TIFF whose tiles name the same bytes again and again");
            }
        }
    }

    /** Return the file with its directory reduced to the fields that shape pixels. */
    ImageBytes stream(Runnable check) {
        ByteBuffer directory = ByteBuffer.allocate(2 + 12 * entries.size() + 4).order(file.order());
        directory.putShort((short) entries.size());
        entries.values().forEach(at -> directory.put(data, at, 12));
        ByteBuffer head = ByteBuffer.allocate(8).order(file.order()).put(data, 0, 4).putInt(data.length);
        return new ImageBytes(head.array(), data, directory.array(), check);
    }
}
