package org.crosslens.server.encode.formats;

import java.io.IOException;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Set;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.formats.TiffLayout.Kind;

/** A TIFF's samples of any width, sign and arrangement as numbers, in bands of rows (TIFF 6.0; Technical Note 3, predictors). */
final class TiffSamples {

    /** A band: {@code numbers} [rows, width, {@link TiffLayout#used}], from row {@code top} on. The array is used again. */
    @FunctionalInterface
    interface Use {
        void of(int top, int rows, double[] numbers);
    }

    // LZW and deflate (twice), which may follow a predictor.
    private static final Set<Integer> PREDICTED = Set.of(Unpacking.LZW, Unpacking.DEFLATE, Unpacking.OLD_DEFLATE);
    private static final int BAND_SAMPLES = 1 << 18;
    private static final long MOST_GROUP = 1 << 30;
    private static final int DIFFERENCES = 2, FLOAT_DIFFERENCES = 3;

    private final TiffLayout layout;
    private final TiffStrips strips;
    private final int[] used;
    private final int inRow, partBytes, predictor, bandRows;
    private final boolean little;

    /** Throws {@link ImageException} for samples that aren't read. */
    TiffSamples(TiffStrips strips, TiffLayout layout) {
        this.layout = layout;
        this.strips = strips;
        used = layout.used();
        little = layout.order() == ByteOrder.LITTLE_ENDIAN;
        inRow = layout.planar() ? 1 : layout.samples();
        long bytes = ((long) strips.across * inRow * layout.bits() + 7) / 8;
        if (bytes * strips.parts * strips.down > MOST_GROUP) {
            throw new ImageException("a TIFF with strips or tiles of more than " + (MOST_GROUP >> 20) + " MB is not read");
        }
        partBytes = (int) bytes;
        predictor = PREDICTED.contains(layout.compression()) ? layout.predictor() : 1;
        bandRows = Math.max(1, BAND_SAMPLES / layout.width() / layout.samples());
        boolean whole = Set.of(8, 16, 32, 64).contains(layout.bits());
        if (predictor < 1 || predictor > FLOAT_DIFFERENCES || predictor == DIFFERENCES && whole == false) {
            throw new ImageException("a TIFF with predictor " + layout.predictor() + " and " + layout.bits() + "-bit samples is not read");
        }
        if (predictor == FLOAT_DIFFERENCES && layout.kind() != Kind.FLOAT) {
            throw new ImageException("a TIFF with a predictor for floats, but without floats, is not read");
        }
        if (layout.bits() > 32 && layout.bits() != 64) {
            throw new ImageException("a TIFF of " + layout.bits() + "-bit samples is not read");
        }
    }

    /** Return an upper bound of the memory that {@link #each} takes, in bytes, besides the file itself. */
    long memory() {
        long group = (long) strips.groupRows(partBytes) * partBytes * strips.parts, piece = (long) strips.down * partBytes;
        return group * (layout.planar() ? used.length : 1) + piece + 8L * bandRows * layout.width() * used.length + partBytes;
    }

    /** The same samples, taken as another kind. */
    TiffSamples as(Kind kind) {
        return new TiffSamples(strips, layout.as(kind));
    }

    /** Whether 8-bit samples are computed in single precision, as NumPy does for those of up to two bytes. */
    boolean narrow() {
        return layout.bits() <= 16 && (layout.kind() != Kind.SIGNED || layout.bits() % 8 == 0);
    }

    /** Hands all bands to {@code use}, from the top down. */
    void each(Use use) throws IOException {
        int groupRows = strips.groupRows(partBytes), width = layout.width(), stride = partBytes * strips.parts;
        double[] numbers = new double[bandRows * width * used.length];
        for (int top = 0; top < layout.height(); top += groupRows) {
            int rows = Math.min(groupRows, layout.height() - top);
            byte[][] groups = new byte[layout.planar() ? used.length : 1][];
            for (int plane = 0; plane < groups.length; plane++) {
                groups[plane] = strips.group(top, rows, partBytes, layout.planar() ? used[plane] : 0);
            }
            for (int band = 0; band < rows; band += bandRows) {
                strips.check();
                int inBand = Math.min(bandRows, rows - band);
                for (int row = 0; row < inBand; row++) {
                    for (int plane = 0; plane < groups.length; plane++) {
                        row(groups[plane], (band + row) * stride, numbers, row * width * used.length, plane);
                    }
                }
                use.of(top + band, inBand, numbers);
            }
        }
    }

    private void row(byte[] group, int at, double[] numbers, int to, int plane) {
        long[] sums = new long[inRow];
        for (int part = 0; part < strips.parts; part++) {
            byte[] bytes = group;
            int from = at + part * partBytes;
            if (predictor == FLOAT_DIFFERENCES) {
                bytes = withoutFloatDifferences(group, from);
                from = 0;
            }
            // The predictor within a tile ends where the next one begins.
            Arrays.fill(sums, 0);
            int columns = Math.min(strips.across, layout.width() - part * strips.across);
            for (int x = 0; x < columns; x++) {
                int pixel = to + (part * strips.across + x) * used.length;
                if (predictor == DIFFERENCES) {
                    for (int i = 0; i < inRow; i++) {
                        sums[i] += raw(bytes, from, x * inRow + i);
                    }
                }
                for (int i = layout.planar() ? plane : 0; i < (layout.planar() ? plane + 1 : used.length); i++) {
                    int sample = layout.planar() ? 0 : used[i];
                    numbers[pixel + i] = number(predictor == DIFFERENCES ? sums[sample] : raw(bytes, from, x * inRow + sample));
                }
            }
        }
    }

    /** Undo predictor 3: bytes are differences, grouped by significance with the highest of all samples first. */
    private byte[] withoutFloatDifferences(byte[] group, int from) {
        byte[] summed = new byte[partBytes], bytes = new byte[partBytes];
        int size = layout.bits() / 8, count = partBytes / size;
        for (int i = 0; i < partBytes; i++) {
            summed[i] = (byte) (group[from + i] + (i < inRow ? 0 : summed[i - inRow]));
        }
        for (int i = 0; i < count; i++) {
            for (int place = 0; place < size; place++) {
                bytes[i * size + (little ? size - 1 - place : place)] = summed[place * count + i];
            }
        }
        return bytes;
    }

    /** The bits of the sample at {@code index} of a row. */
    private long raw(byte[] bytes, int row, int index) {
        int bits = layout.bits();
        if (bits == 8) {
            return bytes[row + index] & 0xFF;
        }
        if (bits % 8 == 0) {
            int size = bits / 8, at = row + index * size;
            long value = 0;
            for (int i = 0; i < size; i++) {
                int place = little ? size - 1 - i : i;
                value = value << 8 | bytes[at + place] & 0xFF;
            }
            return value;
        }
        // With odd widths, bits are packed with the highest first, whatever the byte order.
        long value = 0, first = (long) index * bits;
        for (long bit = first; bit < first + bits;) {
            int inByte = (int) (bit & 7), taken = (int) Math.min(8 - inByte, first + bits - bit);
            value = value << taken | (bytes[row + (int) (bit >> 3)] & 0xFF) >> 8 - inByte - taken & (1 << taken) - 1;
            bit += taken;
        }
        return value;
    }

    private double number(long raw) {
        int bits = layout.bits(), unused = 64 - bits;
        return switch (layout.kind()) {
            case FLOAT -> bits == 64 ? Double.longBitsToDouble(raw) : bits == 32 ? Float.intBitsToFloat((int) raw) : half((int) raw);
            case SIGNED -> raw << unused >> unused;
            case UNSIGNED -> unsigned(raw << unused >>> unused);
        };
    }

    static double unsigned(long value) {
        return value >= 0 ? value : (value >>> 1 | value & 1) * 2.0;
    }

    /** IEEE 754's binary16. */
    static double half(int bits) {
        int exponent = bits >> 10 & 31, fraction = bits & 1023;
        double size = exponent == 31 ? (fraction == 0 ? Double.POSITIVE_INFINITY : Double.NaN)
            : exponent == 0 ? Math.scalb((double) fraction, -24)
            : Math.scalb((double) (1024 + fraction), exponent - 25);
        return (bits & 0x8000) == 0 ? size : -size;
    }
}
