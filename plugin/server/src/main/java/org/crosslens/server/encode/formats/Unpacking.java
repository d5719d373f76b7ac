package org.crosslens.server.encode.formats;

import java.io.IOException;
import java.util.Set;
import java.util.zip.DataFormatException;
import java.util.zip.Inflater;
import org.crosslens.server.encode.ImageException;

/** The compressions of TIFF that know nothing of samples (sources: TIFF 6.0, sections 9 and 13; Adobe's Technical Notes). */
final class Unpacking {

    static final int NONE = 1, LZW = 5, DEFLATE = 8, PACK_BITS = 32773, OLD_DEFLATE = 32946;
    static final Set<Integer> KNOWN = Set.of(NONE, LZW, DEFLATE, PACK_BITS, OLD_DEFLATE);
    private static final int AT_ONCE = 1 << 20;
    private static final int CLEAR = 256, END = 257;

    private Unpacking() {}

    /** Fills {@code out} from the bytes of a strip or tile; throws {@link ImageException} where they are too few. */
    static void unpack(int compression, byte[] data, int from, int length, byte[] out, Runnable check) throws IOException {
        int size = switch (compression) {
            case NONE -> {
                System.arraycopy(data, from, out, 0, Math.min(length, out.length));
                yield Math.min(length, out.length);
            }
            case LZW -> lzw(data, from, length, out);
            case PACK_BITS -> packBits(data, from, length, out);
            default -> inflated(data, from, length, out, check);
        };
        if (size < out.length) {
            throw new ImageException("the image can't be decoded: a strip or tile of the TIFF is cut off");
        }
    }

    private static int inflated(byte[] data, int from, int length, byte[] out, Runnable check) throws IOException {
        Inflater inflater = new Inflater();
        try {
            inflater.setInput(data, from, length);
            int size = 0, more;
            while (size < out.length && (more = inflater.inflate(out, size, Math.min(AT_ONCE, out.length - size))) > 0) {
                size += more;
                check.run();
            }
            return size;
        } catch (DataFormatException e) {
            throw new IOException(e);
        } finally {
            inflater.end();
        }
    }

    private static int packBits(byte[] data, int from, int length, byte[] out) {
        int at = from, end = from + length, size = 0;
        while (at < end && size < out.length) {
            int count = data[at++];
            if (count >= 0) {
                int copied = Math.min(Math.min(count + 1, out.length - size), end - at);
                System.arraycopy(data, at, out, size, copied);
                at += count + 1;
                size += copied;
            } else if (count != -128 && at < end) {
                byte value = data[at++];
                for (int i = 0; i < 1 - count && size < out.length; i++) {
                    out[size++] = value;
                }
            }
        }
        return size;
    }

    /** Codes of 9 to 12 bits, the highest first, which widen one code early. */
    private static int lzw(byte[] data, int from, int length, byte[] out) throws IOException {
        if (length > 1 && data[from] == 0 && (data[from + 1] & 1) == 1) {
            throw new ImageException("a TIFF of the old kind of LZW compression is not read");
        }
        LzwTable table = new LzwTable(CLEAR, END + 1);
        int width = 9, previous = -1, size = 0, at = from, end = from + length, held = 0, bits = 0;
        while (size < out.length) {
            while (bits < width && at < end) {
                held = held << 8 | data[at++] & 0xFF;
                bits += 8;
            }
            if (bits < width) {
                break;
            }
            bits -= width;
            int code = held >>> bits & (1 << width) - 1;
            held &= (1 << bits) - 1;
            if (code == END) {
                break;
            }
            if (code == CLEAR) {
                table.clear();
                width = 9;
                previous = -1;
                continue;
            }
            if (code > table.next() || code >= LzwTable.MOST_CODES || previous < 0 && code > END) {
                throw new IOException("LZW code " + code + " is not in the table");
            }
            if (previous >= 0 && table.isFull() == false) {
                table.add(previous, code);
            } else if (code >= table.next()) {
                throw new IOException("LZW code " + code + " is not in the table");
            }
            size = table.write(code, out, size);
            previous = code;
            if (table.next() >= (1 << width) - 1 && width < 12) {
                width++;
            }
        }
        return size;
    }
}
