package org.crosslens.server.encode.formats;

import java.io.IOException;
import org.crosslens.server.encode.ImageException;

/** A GIF frame's codes: LZW of growing width, the lowest bits first, in blocks of up to 255 bytes. */
final class GifCodes {

    private static final int MOST_BITS = 12;

    private final byte[] data;
    private final Runnable check;
    private final int root;
    private int at;
    private int left;
    private int held;
    private int bits;

    GifCodes(byte[] data, int at, Runnable check) {
        this.data = data;
        this.check = check;
        root = at < data.length ? data[at] & 0xFF : 0;
        if (root < 1 || root >= MOST_BITS) {
            throw new ImageException("the image can't be decoded: the GIF's codes have a width of " + root + " bits");
        }
        this.at = at + 1;
    }

    /** Fills {@code out}, and returns how many indices there were. */
    int decoded(byte[] out) throws IOException {
        int clear = 1 << root, end = clear + 1, width = root + 1, previous = -1, size = 0;
        LzwTable table = new LzwTable(clear, end + 1);
        while (size < out.length) {
            int code = code(width);
            if (code < 0 || code == end) {
                break;
            }
            if (code == clear) {
                table.clear();
                width = root + 1;
                previous = -1;
                continue;
            }
            if (code > table.next() || code == table.next() && (previous < 0 || table.isFull())) {
                throw new IOException("code " + code + " is not in the table");
            }
            if (previous >= 0 && table.isFull() == false) {
                table.add(previous, code);
                if (table.next() == 1 << width && width < MOST_BITS) {
                    width++;
                }
            }
            size = table.write(code, out, size);
            previous = code;
        }
        return size;
    }

    /** The next code, or -1 at the end. */
    private int code(int width) {
        while (bits < width) {
            if (left == 0) {
                check.run();
                left = at < data.length ? data[at++] & 0xFF : 0;
            }
            if (left == 0 || at >= data.length) {
                return -1;
            }
            held |= (data[at++] & 0xFF) << bits;
            bits += 8;
            left--;
        }
        int code = held & (1 << width) - 1;
        held >>>= width;
        bits -= width;
        return code;
    }
}
