package org.crosslens.server.encode.formats;

import org.crosslens.server.encode.formats.TiffLayout.Kind;

/** CIELAB under D50 to 8-bit sRGB (sources: CIE 15:2004; IEC 61966-2-1; Bradford adaptation). */
final class Lab {

    private static final float EDGE = 6f / 29;
    private static final double[] WHITE = { 0.96422, 1.0, 0.82521 };
    private static final double[][] TO_LINEAR = {
        { 3.1338561, -1.6168667, -0.4906146 },
        { -0.9787684, 1.9161415, 0.0334540 },
        { 0.0719453, -0.2289914, 1.4052427 }
    };

    private Lab() {}

    /** Puts the colour of L (0 to 100), a and b at {@code at} of {@code rgb}. */
    static void toRgb(float light, float a, float b, int[] rgb) {
        float y = (light + 16) / 116;
        float[] parts = { y + a / 500, y, y - b / 200 };
        double[] xyz = new double[3];
        for (int i = 0; i < 3; i++) {
            float part = parts[i];
            xyz[i] = (part > EDGE ? part * part * part : 3 * EDGE * EDGE * (part - 4f / 29)) * WHITE[i];
        }
        for (int i = 0; i < 3; i++) {
            double linear = TO_LINEAR[i][0] * xyz[0] + TO_LINEAR[i][1] * xyz[1] + TO_LINEAR[i][2] * xyz[2];
            linear = Math.max(0, Math.min(1, linear));
            rgb[i] = (int) Math.rint(255 * (linear <= 0.0031308 ? 12.92 * linear : 1.055 * Math.pow(linear, 1 / 2.4) - 0.055));
        }
    }

    /** The same of stored samples. Photometric 8 stores a and b signed, 9 (ICC) with an offset. */
    static void toRgb(double[] numbers, int at, TiffLayout layout, int[] rgb) {
        if (layout.kind() == Kind.FLOAT) {
            toRgb((float) numbers[at], (float) numbers[at + 1], (float) numbers[at + 2], rgb);
            return;
        }
        int bits = layout.bits(), mask = (1 << bits) - 1, step = 1 << bits - 8;
        boolean offset = layout.photometric() == TiffLayout.ICC_LAB;
        float full = offset && bits == 16 ? 65_280 : mask;
        float[] chroma = new float[2];
        for (int i = 0; i < 2; i++) {
            int raw = (int) numbers[at + 1 + i] & mask;
            chroma[i] = (float) (offset ? raw - 128 * step : raw << 32 - bits >> 32 - bits) / step;
        }
        toRgb(((int) numbers[at] & mask) * (100 / full), chroma[0], chroma[1], rgb);
    }
}
