package org.crosslens.server.search;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Base64;
import java.util.Collection;
import java.util.Map;
import org.crosslens.server.fusion.Fusion.Moments;

/** Mean [dims] and population covariance [dims * dims], row after row, of {@code count} unit vectors, as they are stored. */
record StoredMoments(long count, float[] mean, float[] covariance) {

    /**
     * Reads an entry's {@code source}, for vectors of {@code dims}.
     *
     * <p>Throws {@link IllegalArgumentException} that says what is wrong with an entry that can't be one.
     */
    static StoredMoments read(Map<String, Object> source, int dims) {
        if (source.get("count") instanceof Number == false || ((Number) source.get("count")).longValue() < 0) {
            throw new IllegalArgumentException("count " + source.get("count"));
        }
        long count = ((Number) source.get("count")).longValue();
        return new StoredMoments(count, floats(source, "mean", dims), floats(source, "covariance", (long) dims * dims));
    }

    private static float[] floats(Map<String, Object> source, String key, long length) {
        // Compared before it is decoded: four characters for three bytes.
        if (source.get(key) instanceof String text == false || ((String) source.get(key)).length() != (4 * length + 2) / 3 * 4) {
            throw new IllegalArgumentException(key + " doesn't have " + length + " numbers");
        }
        byte[] bytes = Base64.getDecoder().decode((String) source.get(key));
        if (bytes.length != 4 * length) {
            throw new IllegalArgumentException(key + " doesn't have " + length + " numbers");
        }
        float[] values = new float[(int) length];
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
        for (float value : values) {
            if (Float.isFinite(value) == false) {
                throw new IllegalArgumentException(key + " has " + value);
            }
        }
        return values;
    }

    /**
     * The moments of the cosine between {@code query} (unit, [dims]) and all vectors that {@code parts} describe: those of a
     * mixture, from each part's mean and variance; null where there are no vectors.
     */
    static Moments together(Collection<StoredMoments> parts, float[] query) {
        double count = 0, mean = 0, square = 0;
        for (StoredMoments part : parts) {
            int dims = query.length;
            double m = 0, variance = 0;
            for (int i = 0; i < dims; i++) {
                m += query[i] * (double) part.mean[i];
                double row = 0;
                for (int j = 0; j < dims; j++) {
                    row += (double) part.covariance[i * dims + j] * query[j];
                }
                variance += query[i] * row;
            }
            count += part.count;
            mean += part.count * m;
            square += part.count * (Math.max(variance, 0) + m * m);
        }
        if (count == 0) {
            return null;
        }
        mean /= count;
        return new Moments(mean, Math.sqrt(Math.max(square / count - mean * mean, 0)));
    }
}
