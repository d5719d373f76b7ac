package org.crosslens.server.encode.formats;

import java.io.IOException;
import java.util.Arrays;
import org.crosslens.server.encode.Picture;
import org.crosslens.server.encode.formats.TiffLayout.Kind;

/** From a TIFF's samples to an RGB picture, with a first pass over them where their span or meaning is in doubt. */
final class TiffPicture {

    private final TiffLayout layout;
    private final TiffSamples samples;
    private final Span scale;
    /** 8-bit samples by stored ones, where the width alone says what they mean; else null. */
    private final byte[] eights;
    private final int[] palette;
    private final boolean opaque;
    private final int[] colours = new int[3];

    private TiffPicture(TiffTags tags, TiffLayout given, TiffSamples as) throws IOException {
        boolean unsigned = given.kind() == Kind.SIGNED && isUnsignedAfterAll(given, as);
        layout = unsigned ? given.as(Kind.UNSIGNED) : given;
        samples = unsigned ? as.as(Kind.UNSIGNED) : as;
        palette = palette(tags, layout);
        eights = palette == null && Span.isGiven(layout) ? eights(layout) : null;
        scale = palette != null || layout.isLab() ? new Span(0, 1) : Span.of(layout, samples);
        // A fully invisible picture is implausible: a sample that is zero everywhere isn't the opacity.
        opaque = layout.opacity() < 0 || layout.extra().length == 0 && isAnyOpaque() == false;
    }

    /** Return an upper bound of the memory that {@link #of} takes, in bytes, besides the file itself and the picture. */
    static long memory(TiffLayout layout, TiffSamples samples) {
        long looked = Math.min((long) layout.width() * layout.height() * layout.colourSamples(), 2L * Span.TAKEN + layout.height());
        return samples.memory() + (Span.isGiven(layout) ? 0 : 16 * looked);
    }

    static Picture of(TiffTags tags, TiffLayout layout, TiffSamples samples) throws IOException {
        return new TiffPicture(tags, layout, samples).assembled();
    }

    private Picture assembled() throws IOException {
        byte[] rgb = new byte[layout.width() * layout.height() * 3];
        int used = layout.used().length, width = layout.width();
        boolean narrow = samples.narrow();
        samples.each((top, rows, numbers) -> {
            Span opacity = opaque ? null : opacity(numbers, rows * width * used, used);
            boolean premultiplied = opaque == false && layout.premultiplied();
            for (int i = 0, at = top * width * 3; i < rows * width; i++, at += 3) {
                colours(numbers, i * used, narrow);
                if (opaque) {
                    rgb[at] = (byte) colours[0];
                    rgb[at + 1] = (byte) colours[1];
                    rgb[at + 2] = (byte) colours[2];
                    continue;
                }
                int alpha = opacity.eight(numbers[i * used + used - 1], narrow);
                for (int c = 0; c < 3; c++) {
                    rgb[at + c] = premultiplied && alpha < 255
                        ? (byte) Math.min(255, (colours[c] * 255 + 255 * (255 - alpha) + 127) / 255)
                        : Flat.over(colours[c], alpha);
                }
            }
        });
        return new Picture(width, layout.height(), rgb);
    }

    /** Sets {@code colours} to the pixel whose samples begin at {@code at}. */
    private void colours(double[] numbers, int at, boolean narrow) {
        if (palette != null) {
            int colour = palette[(int) numbers[at]];
            colours[0] = colour >> 16;
            colours[1] = colour >> 8 & 0xFF;
            colours[2] = colour & 0xFF;
            return;
        }
        if (layout.isLab()) {
            Lab.toRgb(numbers, at, layout, colours);
            return;
        }
        int count = layout.colourSamples(), photometric = layout.photometric();
        int black = photometric == TiffLayout.INKS ? eight(numbers[at + 3], narrow) : 0;
        for (int c = 0; c < 3; c++) {
            int eight = eight(numbers[count == 1 ? at : at + c], narrow);
            colours[c] = switch (photometric) {
                case TiffLayout.WHITE_IS_ZERO -> 255 - eight;
                case TiffLayout.INKS -> Flat.left(eight, black);
                default -> eight;
            };
        }
        if (photometric == TiffLayout.YCC) {
            Ycc.toRgb(colours);
        }
    }

    private int eight(double sample, boolean narrow) {
        return eights != null ? eights[(int) sample] & 0xFF : scale.eight(sample, narrow);
    }

    private static byte[] eights(TiffLayout layout) {
        int bits = layout.bits();
        byte[] eights = new byte[1 << bits];
        Span full = new Span(0, eights.length - 1);
        for (int i = 0; i < eights.length; i++) {
            // As for 16-bit colours in PNG, the lower bits are dropped.
            eights[i] = (byte) (layout.colourSamples() > 1 && bits > 8 ? i >> bits - 8 : full.eight(i, true));
        }
        return eights;
    }

    private Span opacity(double[] numbers, int count, int used) {
        if (layout.kind() != Kind.FLOAT) {
            return new Span(0, Math.pow(2, layout.bits() - (layout.kind() == Kind.SIGNED ? 1 : 0)) - 1);
        }
        double most = 0;
        for (int i = used - 1; i < count; i += used) {
            most = numbers[i] > most ? numbers[i] : most;
        }
        return new Span(0, most <= 1 ? 1 : 255);
    }

    private boolean isAnyOpaque() throws IOException {
        int used = layout.used().length;
        boolean[] any = { false };
        samples.each((top, rows, numbers) -> {
            for (int i = used - 1; i < rows * layout.width() * used && any[0] == false; i += used) {
                any[0] = numbers[i] != 0;
            }
        });
        return any[0];
    }

    /** Whether samples marked as signed make a smoother picture unsigned, as some writers store them. */
    private static boolean isUnsignedAfterAll(TiffLayout layout, TiffSamples samples) throws IOException {
        int used = layout.used().length, width = layout.width();
        double full = Math.pow(2, layout.bits());
        double[] sums = { 0, 0 };
        samples.each((top, rows, numbers) -> {
            for (int row = 0; row < rows; row++) {
                for (int i = (row * width + 1) * used; i < (row + 1) * width * used; i++) {
                    double one = numbers[i - used], other = numbers[i];
                    sums[0] += Math.abs(other - one);
                    sums[1] += Math.abs((other < 0 ? other + full : other) - (one < 0 ? one + full : one));
                }
            }
        });
        return sums[1] * 1.5 < sums[0];
    }

    /** Return RGB by index, from 16 bits a sample unless all are so small that 8 were meant; null where there is none. */
    private static int[] palette(TiffTags tags, TiffLayout layout) {
        if (layout.photometric() != TiffLayout.PALETTE) {
            return null;
        }
        int size = 1 << layout.bits();
        int[] values = new int[3 * size];
        Arrays.setAll(values, i -> (int) tags.value(TiffTags.COLOURS, i, 0));
        int shift = Arrays.stream(values).max().orElse(0) < 256 ? 0 : 8;
        int[] palette = new int[size];
        Arrays.setAll(palette, i -> values[i] >> shift << 16 | values[size + i] >> shift << 8 | values[2 * size + i] >> shift);
        return palette;
    }
}
