package org.crosslens.server.encode.formats;

import org.crosslens.server.encode.ImageException;

/** A BMP's run-length encoding of 8-bit and 4-bit indices (source: Microsoft, "Bitmap Compression"). */
final class BmpRuns {

    private static final int END_OF_ROW = 0, END_OF_PICTURE = 1, MOVE = 2;

    private final byte[] data;
    private final int width;
    private final boolean four;
    private final byte[] indices;
    private int from;
    private int at;
    private int x;

    private BmpRuns(byte[] data, int start, int width, int height, boolean four) {
        this.data = data;
        this.width = width;
        this.four = four;
        from = start;
        indices = new byte[width * height];
    }

    /** Return the indices, row after row as stored; what no run covers is 0. Throws {@link ImageException} where runs are missing. */
    static byte[] decoded(byte[] data, int start, int width, int height, boolean four, Runnable check) {
        BmpRuns runs = new BmpRuns(data, start, width, height, four);
        int last = -1;
        while (runs.at < runs.indices.length && runs.step()) {
            if (runs.at / width != last) {
                check.run();
                last = runs.at / width;
            }
        }
        return runs.indices;
    }

    /** Reads one run; returns false after the last. */
    private boolean step() {
        int count = next(), value = next();
        if (count > 0) {
            // A run ends with its row.
            int fitting = Math.min(Math.max(0, Math.min(count, width - x)), indices.length - at);
            for (int i = 0; i < fitting; i++) {
                indices[at++] = (byte) (four ? i % 2 == 0 ? value >> 4 : value & 15 : value);
            }
            x += fitting;
            return true;
        }
        switch (value) {
            case END_OF_ROW -> {
                at = (at + width - 1) / width * width;
                x = 0;
            }
            case END_OF_PICTURE -> {
                return false;
            }
            case MOVE -> {
                at = (int) Math.min(indices.length, at + next() + (long) next() * width);
                x = at % width;
            }
            default -> literal(value);
        }
        return true;
    }

    private void literal(int count) {
        int bytes = four ? (count + 1) / 2 : count;
        if (from + bytes > data.length) {
            throw truncated();
        }
        int fitting = Math.min(count, indices.length - at);
        if (four) {
            for (int i = 0; i < fitting; i++) {
                indices[at + i] = (byte) (i % 2 == 0 ? data[from + i / 2] >> 4 & 15 : data[from + i / 2] & 15);
            }
        } else {
            System.arraycopy(data, from, indices, at, fitting);
        }
        at += fitting;
        x += count;
        // Literals are padded to a whole number of two bytes.
        from += bytes + (from + bytes & 1);
    }

    private int next() {
        if (from >= data.length) {
            throw truncated();
        }
        return data[from++] & 0xFF;
    }

    private static ImageException truncated() {
        return new ImageException("the image is truncated (a BMP's runs end before its pixels)");
    }
}
