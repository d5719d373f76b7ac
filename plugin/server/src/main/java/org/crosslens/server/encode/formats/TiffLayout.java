package org.crosslens.server.encode.formats;

import java.nio.ByteOrder;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.crosslens.server.encode.ImageException;

/** How a TIFF's pixels are stored, and what they mean. {@code planar}: each sample has a plane of its own. */
record TiffLayout(
    int width,
    int height,
    int bits,
    Kind kind,
    int photometric,
    int samples,
    boolean planar,
    int compression,
    int predictor,
    int[] extra,
    ByteOrder order
) {

    enum Kind {
        UNSIGNED,
        SIGNED,
        FLOAT
    }

    static final int WHITE_IS_ZERO = 0, BLACK_IS_ZERO = 1, RGB = 2, PALETTE = 3, INKS = 5, YCC = 6, LAB = 8, ICC_LAB = 9;
    private static final Map<Integer, String> PHOTOMETRICS = Map.ofEntries(
        Map.entry(WHITE_IS_ZERO, "white is zero"), Map.entry(BLACK_IS_ZERO, "black is zero"), Map.entry(RGB, "RGB"),
        Map.entry(PALETTE, "palette"), Map.entry(4, "transparency mask"), Map.entry(INKS, "separated inks"), Map.entry(YCC, "YCbCr"),
        Map.entry(LAB, "CIELAB"), Map.entry(ICC_LAB, "ICC LAB"), Map.entry(10, "ITU LAB"), Map.entry(32803, "colour filter array"),
        Map.entry(34892, "linear raw"), Map.entry(32844, "LogL"), Map.entry(32845, "LogLuv")
    );
    private static final Set<Integer> READ = Set.of(0, 1, 2, 3, 5, 6, 8, 9);
    private static final int ASSOCIATED = 1, UNASSOCIATED = 2, COREL = 999, MOST_SAMPLES = 64;
    private static final double MOST_PIXELS = 1L << 40;

    /** The layout that the directory describes. Throws {@link ImageException} where it is none that is read. */
    static TiffLayout of(TiffTags tags) {
        int samples = tags.one(TiffTags.SAMPLES, 1), format = tags.one(TiffTags.SAMPLE_FORMAT, 1), bits = tags.one(TiffTags.BITS, 1);
        int width = tags.one(TiffTags.WIDTH, 0), height = tags.one(TiffTags.HEIGHT, 0);
        if (width < 1 || height < 1) {
            throw new ImageException("the image can't be decoded: the TIFF's directory gives no size");
        }
        if ((double) width * height > MOST_PIXELS) {
            throw new ImageException(width + " x " + height + " pixels are more than any image has");
        }
        if (samples < 1 || samples > MOST_SAMPLES) {
            throw new ImageException("a TIFF of " + samples + " samples a pixel is not read");
        }
        for (int i = 0; i < Math.min(tags.count(TiffTags.BITS), samples); i++) {
            if (tags.value(TiffTags.BITS, i, 1) != bits || bits < 1 || bits > 64) {
                throw new ImageException("a TIFF whose samples have " + bits + ", " + tags.value(TiffTags.BITS, i, 1) + " bits is not read");
            }
        }
        for (int i = 0; i < tags.count(TiffTags.SAMPLE_FORMAT); i++) {
            if (tags.value(TiffTags.SAMPLE_FORMAT, i, 1) != format || format < 1 || format > 4) {
                throw new ImageException("a TIFF of complex numbers, or of several sample formats, is not read");
            }
        }
        int[] extra = new int[Math.min(tags.count(TiffTags.EXTRA), MOST_SAMPLES)];
        for (int i = 0; i < extra.length; i++) {
            extra[i] = (int) tags.value(TiffTags.EXTRA, i, 0);
        }
        TiffLayout layout = new TiffLayout(
            width,
            height,
            bits,
            format == 2 ? Kind.SIGNED : format == 3 ? Kind.FLOAT : Kind.UNSIGNED,
            // Where the file doesn't say, as libtiff.
            tags.one(TiffTags.PHOTOMETRIC, samples >= 3 ? RGB : BLACK_IS_ZERO),
            samples,
            tags.one(TiffTags.PLANAR, 1) == 2 && samples > 1,
            tags.one(TiffTags.COMPRESSION, 1),
            tags.one(TiffTags.PREDICTOR, 1),
            extra,
            tags.order()
        );
        layout.check(tags);
        return layout;
    }

    private void check(TiffTags tags) {
        if (READ.contains(photometric) == false) {
            throw new ImageException("a TIFF of " + words() + " is not read");
        }
        if (kind == Kind.FLOAT && bits != 16 && bits != 32 && bits != 64) {
            throw new ImageException("a TIFF of " + bits + "-bit floats is not read");
        }
        if (samples < colourSamples()) {
            throw new ImageException("a TIFF of " + words() + ", but with " + samples + " samples a pixel, is not read");
        }
        if (photometric == INKS && tags.one(TiffTags.INK_SET, 1) != 1) {
            throw new ImageException("a TIFF of inks other than cyan, magenta, yellow and black is not read");
        }
        if (photometric == PALETTE && (bits > 16 || tags.count(TiffTags.COLOURS) < 3 << bits)) {
            throw new ImageException("the image can't be decoded: the TIFF's palette is missing or too short");
        }
        if (isLab() && kind != Kind.FLOAT && bits != 8 && bits != 16) {
            throw new ImageException("a TIFF of CIELAB with " + bits + "-bit samples is not read");
        }
        boolean subsampled = tags.value(TiffTags.SUBSAMPLING, 0, 2) != 1 || tags.value(TiffTags.SUBSAMPLING, 1, 2) != 1;
        if (photometric == YCC && subsampled && samples == 3 && compression != TiffJpeg.COMPRESSION) {
            throw new ImageException("a TIFF of subsampled YCbCr is read only under JPEG compression");
        }
    }

    TiffLayout as(Kind other) {
        return new TiffLayout(width, height, bits, other, photometric, samples, planar, compression, predictor, extra, order);
    }

    boolean isLab() {
        return photometric == LAB || photometric == ICC_LAB;
    }

    /** Return how many of a pixel's samples hold its colour. */
    int colourSamples() {
        return switch (photometric) {
            case RGB, YCC, LAB, ICC_LAB -> 3;
            case INKS -> 4;
            default -> 1;
        };
    }

    /**
     * Return the index of the opacity sample, or -1. Extra samples of unspecified meaning don't count. A fourth sample that the
     * file doesn't mention does, as for most other readers.
     */
    int opacity() {
        if (photometric == RGB && samples == 4 && extra.length == 0) {
            return 3;
        }
        for (int i = 0; i < Math.min(extra.length, samples - colourSamples()); i++) {
            if (extra[i] == ASSOCIATED || extra[i] == UNASSOCIATED || extra[i] == COREL) {
                return colourSamples() + i;
            }
        }
        return -1;
    }

    /** Return whether colours are multiplied by the opacity. */
    boolean premultiplied() {
        int at = opacity() - colourSamples();
        return at >= 0 && at < extra.length && extra[at] == ASSOCIATED;
    }

    /** Return the samples that make up the picture: the colour's, and the opacity. */
    int[] used() {
        int[] used = new int[colourSamples() + (opacity() < 0 ? 0 : 1)];
        for (int i = 0; i < used.length; i++) {
            used[i] = i < colourSamples() ? i : opacity();
        }
        return used;
    }

    String words() {
        String meaning = PHOTOMETRICS.getOrDefault(photometric, "photometric interpretation " + photometric);
        return meaning + " with " + bits + "-bit " + kind.name().toLowerCase(Locale.ROOT) + " samples";
    }
}
