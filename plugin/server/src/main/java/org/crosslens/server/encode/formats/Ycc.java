package org.crosslens.server.encode.formats;

import org.crosslens.server.encode.Picture;

/** Luminance and chrominance to red, green and blue, with libjpeg's arithmetic (source: JFIF 1.02, and jdcolor.c). */
final class Ycc {

    private static final int BITS = 16, HALF = 1 << BITS - 1;
    private static final int[] RED = new int[256], BLUE = new int[256], GREEN_OF_CB = new int[256], GREEN_OF_CR = new int[256];

    static {
        for (int i = 0; i < 256; i++) {
            int x = i - 128;
            RED[i] = fixed(1.402) * x + HALF >> BITS;
            BLUE[i] = fixed(1.772) * x + HALF >> BITS;
            GREEN_OF_CR[i] = -fixed(0.71414) * x;
            GREEN_OF_CB[i] = -fixed(0.34414) * x + HALF;
        }
    }

    private Ycc() {}

    /** The same picture, whose components were Y, Cb and Cr. */
    static Picture toRgb(Picture picture) {
        byte[] components = picture.rgb();
        for (int at = 0; at < components.length; at += 3) {
            toRgb(components, at);
        }
        return picture;
    }

    /** Turns the three components at {@code at} into colours, in place. */
    static void toRgb(byte[] components, int at) {
        int y = components[at] & 0xFF, cb = components[at + 1] & 0xFF, cr = components[at + 2] & 0xFF;
        components[at] = limit(y + RED[cr]);
        components[at + 1] = limit(y + (GREEN_OF_CB[cb] + GREEN_OF_CR[cr] >> BITS));
        components[at + 2] = limit(y + BLUE[cb]);
    }

    /** The same of whole numbers. */
    static void toRgb(int[] colours) {
        byte[] components = { (byte) colours[0], (byte) colours[1], (byte) colours[2] };
        toRgb(components, 0);
        for (int i = 0; i < 3; i++) {
            colours[i] = components[i] & 0xFF;
        }
    }

    private static int fixed(double factor) {
        return (int) (factor * (1 << BITS) + 0.5);
    }

    private static byte limit(int value) {
        return (byte) (value < 0 ? 0 : Math.min(value, 255));
    }
}
