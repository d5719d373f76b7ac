package org.crosslens.server.encode.formats;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import org.crosslens.server.encode.ImageException;

/**
 * The first directory of a TIFF or BigTIFF (sources: TIFF 6.0, section 2; the BigTIFF design of libtiff): the fields that its
 * pixels need. Values stay where they are in the file. An entry that points beyond the file, or has an unknown type, is
 * passed over.
 */
final class TiffTags {

    static final int WIDTH = 256, HEIGHT = 257, BITS = 258, COMPRESSION = 259, PHOTOMETRIC = 262, FILL_ORDER = 266, STRIP_OFFSETS = 273,
        ORIENTATION = 274, SAMPLES = 277, ROWS_PER_STRIP = 278, STRIP_BYTES = 279, PLANAR = 284, PREDICTOR = 317, COLOURS = 320,
        TILE_WIDTH = 322, TILE_HEIGHT = 323, TILE_OFFSETS = 324, TILE_BYTES = 325, INK_SET = 332, EXTRA = 338, SAMPLE_FORMAT = 339,
        JPEG_TABLES = 347, SUBSAMPLING = 530, XMP = 700;
    private static final int FAX_4 = 292, FAX_6 = 293;
    /** What the fax decoder needs. */
    private static final Set<Integer> OF_FAX = Set.of(
        WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, TILE_WIDTH,
        TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, FAX_4, FAX_6
    );
    private static final int BIG = 43, MOST_ENTRIES = 4096;
    private static final int[] TYPE_BYTES = { 0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 8 };

    private record Entry(int at, int type, int count, int from) {}

    private final byte[] data;
    private final ByteBuffer file;
    private final boolean big;
    private final Map<Integer, Entry> entries = new LinkedHashMap<>();

    /** Reads the directory. Throws {@link ImageException} where it is missing. */
    TiffTags(byte[] data) {
        this.data = data;
        file = ByteBuffer.wrap(data).order(data[0] == 'I' ? ByteOrder.LITTLE_ENDIAN : ByteOrder.BIG_ENDIAN);
        big = file.getShort(2) == BIG;
        long start = data.length < 16 ? 0 : big ? file.getLong(8) : file.getInt(4) & 0xFFFFFFFFL;
        if (start < 8 || start > data.length - 8) {
            throw new ImageException("the image can't be decoded: the TIFF is cut off before its directory, or has none");
        }
        long count = big ? file.getLong((int) start) : file.getShort((int) start) & 0xFFFF;
        int entry = big ? 20 : 12, first = (int) start + (big ? 8 : 2);
        for (int i = 0; i < Math.min(count < 0 ? MOST_ENTRIES : count, MOST_ENTRIES) && first + entry * (i + 1L) <= data.length; i++) {
            read(first + entry * i);
        }
    }

    private void read(int at) {
        int tag = file.getShort(at) & 0xFFFF, type = file.getShort(at + 2) & 0xFFFF;
        long count = big ? file.getLong(at + 4) : file.getInt(at + 4) & 0xFFFFFFFFL;
        int size = type < TYPE_BYTES.length ? TYPE_BYTES[type] : 0, value = at + (big ? 12 : 8);
        if (size == 0 || count <= 0 || count > data.length / size || entries.containsKey(tag)) {
            return;
        }
        boolean inline = count * size <= (big ? 8 : 4);
        long from = inline ? value : big ? file.getLong(value) : file.getInt(value) & 0xFFFFFFFFL;
        if (from >= 0 && from <= data.length - count * size) {
            entries.put(tag, new Entry(at, type, (int) count, (int) from));
        }
    }

    ByteOrder order() {
        return file.order();
    }

    boolean has(int tag) {
        return entries.containsKey(tag);
    }

    int count(int tag) {
        return has(tag) ? entries.get(tag).count : 0;
    }

    /** The place of a tag's values in the file. */
    int from(int tag) {
        return entries.get(tag).from;
    }

    /** The first value of {@code tag}, of at most 31 bits, or {@code missing}. */
    int one(int tag, int missing) {
        return (int) Math.min(value(tag, 0, missing), Integer.MAX_VALUE);
    }

    /** The value of {@code tag} at {@code index}, or {@code missing}: a whole number. */
    long value(int tag, int index, long missing) {
        if (index >= count(tag)) {
            return missing;
        }
        Entry entry = entries.get(tag);
        int at = entry.from + index * TYPE_BYTES[entry.type];
        return switch (entry.type) {
            case 1 -> data[at] & 0xFF;
            case 3 -> file.getShort(at) & 0xFFFF;
            case 4, 13 -> file.getInt(at) & 0xFFFFFFFFL;
            case 6 -> data[at];
            case 8 -> file.getShort(at);
            case 9 -> file.getInt(at);
            case 16, 17 -> file.getLong(at);
            default -> missing;
        };
    }

    /** Return the file with a directory of only what the fax decoder needs, which would allocate whatever the others claim. */
    ImageBytes ofFax(Runnable check) {
        if (big) {
            throw new ImageException("a BigTIFF of a fax is not read");
        }
        ByteBuffer directory = ByteBuffer.allocate(2 + 12 * OF_FAX.size() + 4).order(file.order());
        directory.putShort((short) entries.keySet().stream().filter(OF_FAX::contains).count());
        entries.keySet().stream().filter(OF_FAX::contains).sorted().forEach(tag -> directory.put(data, entries.get(tag).at, 12));
        ByteBuffer head = ByteBuffer.allocate(8).order(file.order()).put(data, 0, 4).putInt(data.length);
        return new ImageBytes(head.array(), data, directory.array(), check);
    }
}
