package org.crosslens.server.encode.formats;

import java.io.IOException;
import java.util.Arrays;
import org.crosslens.server.encode.formats.TiffLayout.Kind;

/** The sample values of black and white; an estimate where a file doesn't define them. As {@code samples.py} in Python. */
record Span(double black, double white) {

    /** About as many samples are looked at. */
    static final int TAKEN = 1 << 20;
    // Resampling overshoots: samples of 0 to 1 may reach a little further.
    private static final double OVERSHOOT = 1.05;

    /** The 8-bit sample; {@code narrow} as in {@link TiffSamples#narrow}. Values beyond the span are clipped, NaN is black. */
    int eight(double sample, boolean narrow) {
        double scale = 255.0 / Math.max(white - black, 1e-30);
        double value = narrow ? ((float) sample - (float) black) * (float) scale : (sample - black) * scale;
        return Double.isNaN(value) ? 0 : (int) Math.rint(Math.max(0, Math.min(255, value)));
    }

    /**
     * The span of a picture's colours. Unsigned samples of up to 16 bits fill their width. Wider ones and floats hold 0 to 1,
     * 0 to 255, 0 to 65,535 or their whole width, whichever holds nearly all of them, so that a single outlier doesn't turn
     * the picture black.
     */
    static Span of(TiffLayout layout, TiffSamples samples) throws IOException {
        int bits = layout.bits();
        if (isGiven(layout)) {
            return new Span(0, TiffSamples.unsigned(-1L >>> 64 - bits));
        }
        double[] taken = taken(layout, samples);
        if (taken.length == 0) {
            return new Span(0, 1);
        }
        int negative = 0;
        while (negative < taken.length && taken[negative] < 0) {
            negative++;
        }
        if ((double) negative / taken.length > 0.01) {
            return ofBothSigns(layout, taken);
        }
        if (layout.kind() == Kind.FLOAT) {
            return new Span(0, whiteOfFloats(taken));
        }
        if (bits <= 16) {
            return new Span(0, (1 << bits - 1) - 1);
        }
        double full = layout.kind() == Kind.SIGNED ? Math.pow(2, bits - 1) - 1 : Math.pow(2, bits) - 1;
        double[] possible = { 255, 65_535, (1 << 24) - 1, Integer.MAX_VALUE, 4294967295.0 };
        double most = quantile(taken, 0.99);
        for (double each : Arrays.copyOf(possible, bits > 32 ? 5 : 3)) {
            if (most <= each * OVERSHOOT) {
                return new Span(0, each);
            }
        }
        return new Span(0, full);
    }

    /** Whether the width alone says what white is. */
    static boolean isGiven(TiffLayout layout) {
        return layout.kind() == Kind.UNSIGNED && layout.bits() <= 16;
    }

    private static Span ofBothSigns(TiffLayout layout, double[] taken) {
        double low = low(taken), high = high(taken), full = Math.pow(2, layout.bits() - 1);
        if (layout.kind() == Kind.FLOAT) {
            return Math.max(-low, high) <= OVERSHOOT ? new Span(-1, 1) : new Span(low, high);
        }
        return Math.max(-low, high) > full / 2 ? new Span(-full, full - 1) : new Span(low, high);
    }

    /** The least sample, leaving out a few far outliers, such as a survey's no-data mark. */
    private static double low(double[] taken) {
        double little = quantile(taken, 0.001);
        return little - taken[0] > 16 * width(taken) ? little : Math.min(taken[0], 0);
    }

    /** The largest sample, likewise. */
    private static double high(double[] taken) {
        double much = quantile(taken, 0.999), most = taken[taken.length - 1];
        return most - much > 16 * width(taken) ? much : most;
    }

    private static double width(double[] taken) {
        return Math.max(quantile(taken, 0.999) - quantile(taken, 0.001), 1e-30);
    }

    private static double whiteOfFloats(double[] taken) {
        double high = high(taken);
        long fractions = Arrays.stream(taken).filter(value -> value < 1 && value != Math.floor(value)).count();
        boolean mostlyFractions = quantile(taken, 0.5) <= OVERSHOOT && (double) fractions / taken.length > 0.01;
        if (high <= OVERSHOOT || mostlyFractions) {
            return 1;
        }
        double most = quantile(taken, 0.99);
        // Floats from 8-bit and 16-bit pictures; anything else is shown from black to its own white.
        for (double white : new double[] { 255, 65_535 }) {
            if (white / 8 < most && most <= white * OVERSHOOT) {
                return white;
            }
        }
        return high;
    }

    /** A part of the colours' samples, sorted, only finite ones other than zero. */
    private static double[] taken(TiffLayout layout, TiffSamples samples) throws IOException {
        int colours = layout.colourSamples(), used = layout.used().length, width = layout.width();
        long all = (long) width * layout.height() * colours;
        int step = (int) Math.max(1, all / TAKEN);
        double[] taken = new double[(int) Math.min(all, 2L * TAKEN + layout.height())];
        int[] size = { 0 };
        samples.each((top, rows, numbers) -> {
            long count = (long) rows * width * colours;
            for (long i = 0; i < count; i += step) {
                double value = numbers[(int) (i / colours) * used + (int) (i % colours)];
                if (Double.isFinite(value) && value != 0) {
                    taken[size[0]++] = value;
                }
            }
        });
        double[] sorted = Arrays.copyOf(taken, size[0]);
        Arrays.sort(sorted);
        return sorted;
    }

    /** As NumPy's, with linear interpolation between neighbours. */
    private static double quantile(double[] sorted, double share) {
        double place = share * (sorted.length - 1);
        int below = (int) place;
        double low = sorted[below], high = sorted[Math.min(below + 1, sorted.length - 1)], part = place - below;
        return part < 0.5 ? low + (high - low) * part : high - (high - low) * (1 - part);
    }
}
