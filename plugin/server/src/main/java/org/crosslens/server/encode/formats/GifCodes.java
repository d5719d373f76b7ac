package org.crosslens.server.encode.formats;

import java.io.IOException;
import org.crosslens.server.encode.ImageException;

/** A GIF frame's codes: LZW of growing width, the lowest bits first, in blocks of up to 255 bytes. */
final class GifCodes {

    private static final int MOST_CODES = 4096, MOST_BITS = 12;

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
        int[] before = new int[MOST_CODES], lengths = new int[MOST_CODES];
        byte[] last = new byte[MOST_CODES], first = new byte[MOST_CODES];
        int clear = 1 << root, end = clear + 1, next = end + 1, width = root + 1, previous = -1, size = 0;
        for (int i = 0; i < clear; i++) {
            last[i] = first[i] = (byte) i;
            lengths[i] = 1;
        }
        while (size < out.length) {
            int code = code(width);
            if (code < 0 || code == end) {
                break;
            }
            if (code == clear) {
                next = end + 1;
                width = root + 1;
                previous = -1;
                continue;
            }
            if (code > next || code == next && (previous < 0 || next == MOST_CODES)) {
                throw new IOException("code " + code + " is not in the table");
            }
            if (previous >= 0 && next < MOST_CODES) {
                before[next] = previous;
                first[next] = first[previous];
                last[next] = first[code == next ? previous : code];
                lengths[next] = lengths[previous] + 1;
                next++;
                if (next == 1 << width && width < MOST_BITS) {
                    width++;
                }
            }
            int stop = Math.min(size + lengths[code], out.length);
            for (int i = size + lengths[code] - 1, each = code; i >= size; i--, each = before[each]) {
                if (i < stop) {
                    out[i] = last[each];
                }
            }
            size = stop;
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
