package org.crosslens.server.encode;

import java.util.Arrays;
import org.crosslens.server.encode.ImageTransform.Part;

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
        return resize(picture, Part.whole(width, height), filter);
    }

    /**
     * A part of the picture resized. Rows are resized across one after the other, and added at once to all rows of the
     * result that they count for, so that nothing is kept between the two passes.
     */
    static Picture resize(Picture picture, Part part, Filter filter) {
        boolean across = part.width() != picture.width(), down = part.height() != picture.height();
        if (across == false && down == false || filter == Filter.NEAREST) {
            return nearest(picture, part);
        }
        Weights columns = across ? Weights.of(picture.width(), part.width(), part.left(), part.columns(), filter) : null;
        Weights rows = down
            ? Weights.of(picture.height(), part.height(), part.top(), part.rows(), filter)
            : Weights.none(part.top(), part.rows());
        int stride = part.columns() * CHANNELS, last = part.rows() - 1;
        byte[] row = new byte[stride], out = new byte[part.rows() * stride];
        int[][] sums = new int[part.rows()][];
        for (int y = rows.first[0], from = 0, end = rows.first[last] + rows.count[last]; y < end; y++) {
            while (y >= rows.first[from] + rows.count[from]) {
                from++;
            }
            if (across) {
                horizontal(picture.rgb(), y * picture.width() * CHANNELS, columns, row);
            } else {
                System.arraycopy(picture.rgb(), (y * picture.width() + (int) part.left()) * CHANNELS, row, 0, stride);
            }
            for (int to = from; to <= last && rows.first[to] <= y; to++) {
                if (down == false) {
                    System.arraycopy(row, 0, out, to * stride, stride);
                    continue;
                }
                int n = y - rows.first[to], weight = rows.values[to * rows.most + n];
                if (n >= rows.count[to]) {
                    continue;
                }
                int[] sum = sums[to];
                if (sum == null) {
                    sum = sums[to] = new int[stride];
                    Arrays.fill(sum, 1 << (PRECISION - 1));
                }
                for (int i = 0; i < stride; i++) {
                    sum[i] += (row[i] & 0xFF) * weight;
                }
                if (n == rows.count[to] - 1) {
                    for (int i = 0; i < stride; i++) {
                        out[to * stride + i] = clip(sum[i]);
                    }
                    sums[to] = null;
                }
            }
        }
        return new Picture(part.columns(), part.rows(), out);
    }

    /** The bytes that resizing takes at most: the result, rows in the making, and the weights. */
    static long working(int width, int height, Part part, Filter filter) {
        long result = 5L * CHANNELS * part.columns() * part.rows();
        return result + Weights.bytes(width, part.width(), part.columns(), filter) + Weights.bytes(height, part.height(), part.rows(), filter);
    }

    /** One row resized across. */
    private static void horizontal(byte[] in, int start, Weights weights, byte[] row) {
        for (int x = 0, at = 0; x < weights.first.length; x++) {
            int red = 1 << (PRECISION - 1), green = red, blue = red;
            int from = start + weights.first[x] * CHANNELS, k = x * weights.most;
            for (int n = weights.count[x]; n > 0; n--, from += CHANNELS, k++) {
                int weight = weights.values[k];
                red += (in[from] & 0xFF) * weight;
                green += (in[from + 1] & 0xFF) * weight;
                blue += (in[from + 2] & 0xFF) * weight;
            }
            row[at++] = clip(red);
            row[at++] = clip(green);
            row[at++] = clip(blue);
        }
    }

    private static Picture nearest(Picture picture, Part part) {
        if (part.equals(Part.whole(picture.width(), picture.height()))) {
            return picture;
        }
        byte[] in = picture.rgb(), out = new byte[part.columns() * part.rows() * CHANNELS];
        double scaleX = (double) picture.width() / part.width(), scaleY = (double) picture.height() / part.height();
        for (int y = 0, at = 0; y < part.rows(); y++) {
            int row = (int) ((y + part.top() + 0.5) * scaleY) * picture.width();
            for (int x = 0; x < part.columns(); x++, at += CHANNELS) {
                System.arraycopy(in, (row + (int) ((x + part.left() + 0.5) * scaleX)) * CHANNELS, out, at, CHANNELS);
            }
        }
        return new Picture(part.columns(), part.rows(), out);
    }

    private static byte clip(int sum) {
        int value = sum >> PRECISION;
        return (byte) (value < 0 ? 0 : Math.min(value, 255));
    }

    /** For each of the new pixels: the first old one it reads, how many, and their weights, {@code most} apart. */
    private record Weights(int[] first, int[] count, int[] values, int most) {

        /** For {@code parts} new pixels from {@code start} on, where {@code from} old ones become {@code to} in all. */
        static Weights of(int from, long to, long start, int parts, Filter filter) {
            double scale = (double) from / to, stretch = Math.max(scale, 1), support = filter.support * stretch;
            int most = most(from, to, filter);
            Weights weights = new Weights(new int[parts], new int[parts], new int[Math.multiplyExact(parts, most)], most);
            double[] exact = new double[most];
            for (int i = 0; i < parts; i++) {
                double centre = (i + start + 0.5) * scale;
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

        /** Where nothing is resized: each pixel is its own. */
        static Weights none(long start, int parts) {
            Weights weights = new Weights(new int[parts], new int[parts], new int[parts], 1);
            Arrays.setAll(weights.first, i -> (int) start + i);
            Arrays.fill(weights.count, 1);
            return weights;
        }

        private static int most(int from, long to, Filter filter) {
            double support = filter.support * Math.max((double) from / to, 1);
            return (int) Math.min(Math.ceil(support) * 2 + 1, from);
        }

        static long bytes(int from, long to, int parts, Filter filter) {
            return (2L + most(from, to, filter)) * parts * Integer.BYTES + (long) most(from, to, filter) * Double.BYTES;
        }
    }
}
