package org.crosslens.server.encode;

import java.util.Arrays;

/** An upright, opaque picture: {@code rgb} has three bytes a pixel, row after row. */
public record Picture(int width, int height, byte[] rgb) {

    /** The picture whose pixels are the means of blocks of {@code factor} x {@code factor}. */
    Picture reduced(int factor) {
        if (factor == 1) {
            return this;
        }
        int columns = (width + factor - 1) / factor, rows = (height + factor - 1) / factor;
        byte[] out = new byte[columns * rows * 3];
        int[] sums = new int[columns * 3];
        for (int y = 0; y < rows; y++) {
            Arrays.fill(sums, 0);
            int last = Math.min((y + 1) * factor, height);
            for (int row = y * factor; row < last; row++) {
                int at = row * width * 3;
                for (int x = 0, left = factor, sum = 0; x < width; x++, at += 3) {
                    sums[sum] += rgb[at] & 0xFF;
                    sums[sum + 1] += rgb[at + 1] & 0xFF;
                    sums[sum + 2] += rgb[at + 2] & 0xFF;
                    if (--left == 0) {
                        left = factor;
                        sum += 3;
                    }
                }
            }
            for (int x = 0; x < columns; x++) {
                int pixels = (last - y * factor) * (Math.min((x + 1) * factor, width) - x * factor);
                for (int c = 0; c < 3; c++) {
                    out[(y * columns + x) * 3 + c] = (byte) ((sums[x * 3 + c] + pixels / 2) / pixels);
                }
            }
        }
        return new Picture(columns, rows, out);
    }
}
