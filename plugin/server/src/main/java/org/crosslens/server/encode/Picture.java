package org.crosslens.server.encode;

import java.util.Arrays;

/** An upright, opaque picture: {@code rgb} has three bytes a pixel, row after row. */
public record Picture(int width, int height, byte[] rgb) {

    /** The picture whose pixels are the means of blocks of {@code factor} x {@code factor}; a power of two. */
    public Picture reduced(int factor) {
        if (factor == 1) {
            return this;
        }
        int columns = (width + factor - 1) / factor, rows = (height + factor - 1) / factor, stride = width * 3;
        byte[] out = new byte[columns * rows * 3];
        int[] sums = new int[stride];
        for (int y = 0; y < rows; y++) {
            // Rows first, in a loop that the compiler makes vector instructions of.
            int top = y * factor, bottom = Math.min(top + factor, height);
            Arrays.fill(sums, 0);
            for (int row = top; row < bottom; row++) {
                int from = row * stride;
                for (int i = 0; i < stride; i++) {
                    sums[i] += rgb[from + i] & 0xFF;
                }
            }
            // Whole blocks have a power of two of pixels: shifting is much faster than dividing.
            int whole = bottom - top == factor ? width / factor : 0, shift = 2 * Integer.numberOfTrailingZeros(factor);
            int half = 1 << shift - 1, at = y * columns * 3;
            for (int x = 0, i = 0; x < whole; x++, at += 3) {
                int red = half, green = half, blue = half;
                for (int end = i + factor * 3; i < end; i += 3) {
                    red += sums[i];
                    green += sums[i + 1];
                    blue += sums[i + 2];
                }
                out[at] = (byte) (red >> shift);
                out[at + 1] = (byte) (green >> shift);
                out[at + 2] = (byte) (blue >> shift);
            }
            for (int x = whole; x < columns; x++) {
                int left = x * factor, right = Math.min(left + factor, width), pixels = (bottom - top) * (right - left);
                for (int c = 0; c < 3; c++, at++) {
                    int sum = pixels / 2;
                    for (int column = left; column < right; column++) {
                        sum += sums[column * 3 + c];
                    }
                    out[at] = (byte) (sum / pixels);
                }
            }
        }
        return new Picture(columns, rows, out);
    }
}
