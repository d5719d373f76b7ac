package org.crosslens.server.encode;

import java.util.Arrays;

/**
 * Resizing by convolution, with the arithmetic of Pillow's {@code Image.resize}: the filter's support grows with the
 * reduction, coefficients have 22 bits, and each of the two passes rounds to 8 bits. So pixels equal Pillow's.
 *
 * <p>Source of the method: Pillow's documentation, concepts, filters; the filters are the common ones (Keys 1981 with
 * a = -0.5 for bicubic, Lanczos with a = 3, Hamming, triangle, box).
 */
final class Resampler {

    private static final int CHANNELS = 3;
    private static final int PRECISION = 22;

    private Resampler() {}

    /** Filters with Pillow's numbers, which preprocessor_config.json uses. */
    enum Filter {
        NEAREST(0, 0) {
            @Override
            double weight(double x) {
                throw new UnsupportedOperationException("nearest has no weights");
            }
        },
        LANCZOS(1, 3) {
            @Override
            double weight(double x) {
                return x > -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
            }
        },
        BILINEAR(2, 1) {
            @Override
            double weight(double x) {
                return Math.max(1 - Math.abs(x), 0);
            }
        },
        BICUBIC(3, 2) {
            @Override
            double weight(double x) {
                double a = -0.5, t = Math.abs(x);
                if (t < 1) {
                    return ((a + 2) * t - (a + 3)) * t * t + 1;
                }
                return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
            }
        },
        BOX(4, 0.5) {
            @Override
            double weight(double x) {
                return x > -0.5 && x <= 0.5 ? 1 : 0;
            }
        },
        HAMMING(5, 1) {
            @Override
            double weight(double x) {
                double t = Math.abs(x);
                if (t == 0) {
                    return 1;
                }
                return t >= 1 ? 0 : Math.sin(t * Math.PI) / (t * Math.PI) * (0.54 + 0.46 * Math.cos(t * Math.PI));
            }
        };

        private final int code;
        private final double support;

        Filter(int code, double support) {
            this.code = code;
            this.support = support;
        }

        abstract double weight(double x);

        static Filter of(int code) {
            for (Filter filter : values()) {
                if (filter.code == code) {
                    return filter;
                }
            }
            throw new ModelException("preprocessor_config.json: resample " + code + " is not one that crosslens knows");
        }

        private static double sinc(double x) {
            return x == 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
        }
    }

    /** The picture at {@code width} x {@code height}. */
    static Picture resize(Picture picture, int width, int height, Filter filter) {
        if (width == picture.width() && height == picture.height()) {
            return picture;
        }
        if (filter == Filter.NEAREST) {
            return nearest(picture, width, height);
        }
        Picture across = width == picture.width() ? picture : horizontal(picture, width, height, filter);
        return height == picture.height() ? across : vertical(across, height, filter);
    }

    private static Picture horizontal(Picture picture, int width, int height, Filter filter) {
        Weights weights = Weights.of(picture.width(), width, filter);
        byte[] in = picture.rgb(), out = new byte[picture.height() * width * CHANNELS];
        int at = 0;
        for (int y = 0; y < picture.height(); y++) {
            int row = y * picture.width() * CHANNELS;
            for (int x = 0; x < width; x++) {
                int red = 1 << (PRECISION - 1), green = red, blue = red;
                int from = row + weights.first[x] * CHANNELS, k = x * weights.most;
                for (int n = weights.count[x]; n > 0; n--, from += CHANNELS, k++) {
                    int weight = weights.values[k];
                    red += (in[from] & 0xFF) * weight;
                    green += (in[from + 1] & 0xFF) * weight;
                    blue += (in[from + 2] & 0xFF) * weight;
                }
                out[at++] = clip(red);
                out[at++] = clip(green);
                out[at++] = clip(blue);
            }
        }
        return new Picture(width, picture.height(), out);
    }

    private static Picture vertical(Picture picture, int height, Filter filter) {
        Weights weights = Weights.of(picture.height(), height, filter);
        int stride = picture.width() * CHANNELS;
        byte[] in = picture.rgb(), out = new byte[height * stride];
        int[] sums = new int[stride];
        for (int y = 0; y < height; y++) {
            Arrays.fill(sums, 1 << (PRECISION - 1));
            for (int n = 0; n < weights.count[y]; n++) {
                int weight = weights.values[y * weights.most + n], from = (weights.first[y] + n) * stride;
                for (int i = 0; i < stride; i++) {
                    sums[i] += (in[from + i] & 0xFF) * weight;
                }
            }
            for (int i = 0; i < stride; i++) {
                out[y * stride + i] = clip(sums[i]);
            }
        }
        return new Picture(picture.width(), height, out);
    }

    private static Picture nearest(Picture picture, int width, int height) {
        byte[] in = picture.rgb(), out = new byte[width * height * CHANNELS];
        double scaleX = (double) picture.width() / width, scaleY = (double) picture.height() / height;
        for (int y = 0; y < height; y++) {
            int row = (int) ((y + 0.5) * scaleY) * picture.width();
            for (int x = 0; x < width; x++) {
                System.arraycopy(
                    in,
                    (row + (int) ((x + 0.5) * scaleX)) * CHANNELS,
                    out,
                    (y * width + x) * CHANNELS,
                    CHANNELS
                );
            }
        }
        return new Picture(width, height, out);
    }

    private static byte clip(int sum) {
        int value = sum >> PRECISION;
        return (byte) (value < 0 ? 0 : Math.min(value, 255));
    }

    /** For each of the new pixels: the first old one it reads, how many, and their weights, {@code most} apart. */
    private record Weights(int[] first, int[] count, int[] values, int most) {

        static Weights of(int from, int to, Filter filter) {
            double scale = (double) from / to, stretch = Math.max(scale, 1), support = filter.support * stretch;
            int most = (int) Math.ceil(support) * 2 + 1;
            Weights weights = new Weights(new int[to], new int[to], new int[to * most], most);
            double[] exact = new double[most];
            for (int i = 0; i < to; i++) {
                double centre = (i + 0.5) * scale;
                int first = Math.max((int) (centre - support + 0.5), 0);
                int count = Math.min((int) (centre + support + 0.5), from) - first;
                double sum = 0;
                for (int n = 0; n < count; n++) {
                    exact[n] = filter.weight((n + first - centre + 0.5) * (1 / stretch));
                    sum += exact[n];
                }
                for (int n = 0; n < count; n++) {
                    double scaled = (sum == 0 ? exact[n] : exact[n] / sum) * (1 << PRECISION);
                    weights.values[i * most + n] = (int) (scaled < 0 ? scaled - 0.5 : scaled + 0.5);
                }
                weights.first[i] = first;
                weights.count[i] = count;
            }
            return weights;
        }
    }
}
