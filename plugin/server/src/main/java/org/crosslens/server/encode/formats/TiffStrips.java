package org.crosslens.server.encode.formats;

import java.io.IOException;
import org.crosslens.server.encode.ImageException;

/** A TIFF's strips and tiles: where they lie, and their bytes as whole rows, in groups of some. */
final class TiffStrips {

    /** Bytes that a group of several strips or rows of tiles may have. */
    private static final int GROUP_BYTES = 16 << 20;
    /** Tiles of a small picture may cover up to a multiple of this many pixels. */
    private static final long SMALL = 1 << 22;
    private static final byte[] REVERSED = new byte[256];

    static {
        for (int i = 0; i < 256; i++) {
            REVERSED[i] = (byte) (Integer.reverse(i) >>> 24);
        }
    }

    private final byte[] data;
    private final TiffTags tags;
    private final Runnable check;
    private final int height, compression;
    private final boolean reversed, tiled;
    /** The size of a strip or tile in pixels, and how many stand side by side. */
    final int across, down, parts;

    /**
     * Reads where strips and tiles lie. Throws {@link ImageException} where tiles cover far more than the picture, some are
     * missing, or they name the same bytes again and again.
     */
    TiffStrips(byte[] data, TiffTags tags, TiffLayout layout, Runnable check) {
        this.data = data;
        this.tags = tags;
        this.check = check;
        height = layout.height();
        compression = layout.compression();
        reversed = tags.one(TiffTags.FILL_ORDER, 1) == 2;
        tiled = tags.has(TiffTags.TILE_OFFSETS);
        int rows = tags.one(TiffTags.ROWS_PER_STRIP, height);
        across = tiled ? tags.one(TiffTags.TILE_WIDTH, 0) : layout.width();
        down = tiled ? tags.one(TiffTags.TILE_HEIGHT, 0) : Math.min(rows == 0 ? height : rows, height);
        if (across < 1 || down < 1) {
            throw new ImageException("the image can't be decoded: the TIFF's strips or tiles have no size");
        }
        parts = ceil(layout.width(), across);
        long tiles = (long) parts * ceil(height, down), pixels = Math.max((long) layout.width() * height, SMALL);
        if (across > 4 * pixels || down > 4 * pixels || (long) across * down > 4 * pixels || tiles > 4 * pixels / ((long) across * down)) {
            throw new ImageException("tiles of " + across + " x " + down + " pixels, of which most lie outside the picture");
        }
        long wanted = tiles * (layout.planar() ? layout.samples() : 1);
        int offsets = tags.count(tiled ? TiffTags.TILE_OFFSETS : TiffTags.STRIP_OFFSETS);
        if (offsets < wanted) {
            throw new ImageException("the image can't be decoded: the TIFF has " + offsets + " of " + wanted + " strips or tiles");
        }
        long read = 0;
        for (int i = 0; i < wanted; i++) {
            read += length(i);
            if (read > 4L * data.length + SMALL) {
                throw new ImageException("a TIFF whose tiles name the same bytes again and again");
            }
        }
    }

    static int ceil(int of, int by) {
        return (int) (((long) of + by - 1) / by);
    }

    /** Throws where decoding may not go on. */
    void check() {
        check.run();
    }

    /** Return how many strips, or rows of tiles, a plane has. */
    int units() {
        return ceil(height, down);
    }

    int offset(int piece) {
        long at = tags.value(tiled ? TiffTags.TILE_OFFSETS : TiffTags.STRIP_OFFSETS, piece, 0);
        return (int) Math.max(0, Math.min(at, data.length));
    }

    int length(int piece) {
        int offsets = tiled ? TiffTags.TILE_OFFSETS : TiffTags.STRIP_OFFSETS, lengths = tiled ? TiffTags.TILE_BYTES : TiffTags.STRIP_BYTES;
        long length = tags.count(lengths) == tags.count(offsets) ? tags.value(lengths, piece, 0) : data.length;
        return (int) Math.max(0, Math.min(length, data.length - offset(piece)));
    }

    /** Throws {@link ImageException} where a strip or tile is cut off, for decoders that don't mind. */
    void requireWhole() {
        for (int piece = 0; piece < parts * units(); piece++) {
            long length = tags.value(tiled ? TiffTags.TILE_BYTES : TiffTags.STRIP_BYTES, piece, 1);
            if (length(piece) == 0 || length > data.length - offset(piece)) {
                throw new ImageException("the image can't be decoded: a strip or tile of the TIFF is cut off");
            }
        }
    }

    /** Return the rows of a group. */
    int groupRows(int partBytes) {
        long unit = (long) down * partBytes * parts;
        return (int) Math.min(Math.max(1, GROUP_BYTES / Math.max(1, unit)) * down, (long) units() * down);
    }

    /** Return the bytes of the group that begins with row {@code top}, {@code partBytes} for each row of a strip or tile. */
    byte[] group(int top, int rows, int partBytes, int plane) throws IOException {
        int stride = partBytes * parts;
        byte[] group = new byte[Math.multiplyExact(rows, stride)];
        for (int unit = top / down; unit * down < top + rows; unit++) {
            // The last strip has only the remaining rows; a tile always has all of its rows.
            int inGroup = Math.min(down, top + rows - unit * down);
            byte[] plain = new byte[Math.multiplyExact(tiled ? down : inGroup, partBytes)];
            for (int part = 0; part < parts; part++) {
                check.run();
                unpack((plane * units() + unit) * parts + part, plain);
                for (int row = 0; row < inGroup; row++) {
                    System.arraycopy(plain, row * partBytes, group, (unit * down - top + row) * stride + part * partBytes, partBytes);
                }
            }
        }
        return group;
    }

    private void unpack(int piece, byte[] plain) throws IOException {
        int from = offset(piece), length = length(piece);
        byte[] packed = data;
        if (reversed) {
            packed = new byte[length];
            for (int i = 0; i < length; i++) {
                packed[i] = REVERSED[data[from + i] & 0xFF];
            }
            from = 0;
        }
        Unpacking.unpack(compression, packed, from, length, plain, check);
    }
}
