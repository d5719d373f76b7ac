package org.crosslens.server.encode.formats;

/** The strings that LZW codes stand for, as GIF and TIFF both build them: that of a code before, with one more byte. */
final class LzwTable {

    /** Codes have 12 bits at most. */
    static final int MOST_CODES = 4096;

    private final int[] before = new int[MOST_CODES], lengths = new int[MOST_CODES];
    private final byte[] last = new byte[MOST_CODES], first = new byte[MOST_CODES];
    private final int start;
    private int next;

    /** With {@code roots} strings of one byte, and {@code start}, the first code of a longer one. */
    LzwTable(int roots, int start) {
        for (int i = 0; i < roots; i++) {
            last[i] = first[i] = (byte) i;
            lengths[i] = 1;
        }
        this.start = start;
        clear();
    }

    /** Forgets all longer strings. */
    void clear() {
        next = start;
    }

    /** The code that the next string gets. */
    int next() {
        return next;
    }

    boolean isFull() {
        return next == MOST_CODES;
    }

    /** Adds the string of {@code previous} with the first byte of {@code code}'s, which may be the one that is added. */
    void add(int previous, int code) {
        before[next] = previous;
        first[next] = first[previous];
        last[next] = first[code == next ? previous : code];
        lengths[next] = lengths[previous] + 1;
        next++;
    }

    /** Writes what of {@code code}'s string fits {@code out} from {@code size} on; returns how much is written in all. */
    int write(int code, byte[] out, int size) {
        int end = Math.min(size + lengths[code], out.length);
        for (int at = size + lengths[code] - 1, each = code; at >= size; at--, each = before[each]) {
            if (at < end) {
                out[at] = last[each];
            }
        }
        return end;
    }
}
