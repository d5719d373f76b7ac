package org.crosslens.server.ingest;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The numbers by which labels are given, as {@code docs/format.md} has the rule: of a document's vectors made unit, the
 * greatest {@code (t . x - centre) / spread} is a label's score, and the label is found where that reaches its threshold.
 * As the Python package's {@code crosslens.ingest.contract.label_set}. Immutable.
 */
final class LabelSet {

    /** Labels above labels, as deep as Python lets them lie. */
    private static final int DEEPEST = 32;

    private final boolean isBoolean;
    private final int dims;
    private final String[] labels;
    // By label those above it, nearest first.
    private final List<List<String>> above = new ArrayList<>();
    // Row after row.
    private final float[] vectors;
    private final double[] centre;
    private final double[] spread;
    private final double[] thresholds;

    private LabelSet(boolean isBoolean, List<Part> parts) {
        this.isBoolean = isBoolean;
        int count = parts.stream().mapToInt(part -> part.labels.size()).sum();
        this.dims = parts.get(0).vectors.length / parts.get(0).labels.size();
        this.labels = new String[count];
        this.vectors = new float[count * dims];
        this.centre = new double[count];
        this.spread = new double[count];
        this.thresholds = new double[count];
        Map<String, String> parents = new HashMap<>();
        int at = 0;
        for (Part part : parts) {
            int size = part.labels.size();
            if (part.vectors.length != size * dims) {
                throw new IllegalArgumentException("its parts have vectors of different lengths");
            }
            for (int i = 0; i < size; i++) {
                labels[at + i] = part.labels.get(i);
                parents.put(part.labels.get(i), part.parents.get(i));
            }
            System.arraycopy(part.vectors, 0, vectors, at * dims, size * dims);
            System.arraycopy(part.centre, 0, centre, at, size);
            System.arraycopy(part.spread, 0, spread, at, size);
            System.arraycopy(part.thresholds, 0, thresholds, at, size);
            at += size;
        }
        for (String label : labels) {
            List<String> chain = new ArrayList<>();
            for (String parent = parents.get(label); parent != null && chain.size() < DEEPEST; parent = parents.get(parent)) {
                chain.add(parent);
            }
            above.add(List.copyOf(chain));
        }
    }

    /** As many labels of a set as lie in one stored document. */
    record Part(List<String> labels, List<String> parents, float[] vectors, double[] centre, double[] spread, double[] thresholds) {

        /** Throws {@link IllegalArgumentException} that says what is wrong with a document that can't be one. */
        static Part read(Map<String, Object> source) {
            List<String> labels = strings(source, "labels"), parents = strings(source, "parents");
            int count = labels.size();
            if (count == 0 || labels.contains(null) || parents.size() != count) {
                throw new IllegalArgumentException("it has " + count + " labels, and parents of " + parents.size());
            }
            ByteBuffer vectors = numbers(source, "vectors");
            int dims = vectors.remaining() / Float.BYTES / count;
            if (dims == 0 || vectors.remaining() != dims * count * Float.BYTES) {
                throw new IllegalArgumentException("vectors aren't those of " + count + " labels");
            }
            float[] rows = new float[dims * count];
            vectors.asFloatBuffer().get(rows);
            return new Part(
                labels,
                parents,
                rows,
                doubles(source, "centre", count),
                doubles(source, "spread", count),
                doubles(source, "thresholds", count)
            );
        }

        /** How much memory they take in a set, in bytes. */
        long bytes() {
            long names = labels.stream().mapToLong(label -> 2L * Character.BYTES * label.length() + 200).sum();
            return names + (long) Float.BYTES * vectors.length + 3L * Double.BYTES * centre.length;
        }

        private static List<String> strings(Map<String, Object> source, String key) {
            List<String> strings = new ArrayList<>();
            for (Object each : source.get(key) instanceof List<?> list ? list : List.of()) {
                strings.add(each == null ? null : each.toString());
            }
            return strings;
        }

        private static double[] doubles(Map<String, Object> source, String key, int count) {
            ByteBuffer bytes = numbers(source, key);
            if (bytes.remaining() != count * Double.BYTES) {
                throw new IllegalArgumentException(key + " doesn't have " + count + " numbers");
            }
            double[] values = new double[count];
            bytes.asDoubleBuffer().get(values);
            return values;
        }

        private static ByteBuffer numbers(Map<String, Object> source, String key) {
            if (source.get(key) instanceof String == false) {
                throw new IllegalArgumentException("it has no " + key);
            }
            return ByteBuffer.wrap(Base64.getDecoder().decode((String) source.get(key))).order(ByteOrder.LITTLE_ENDIAN);
        }
    }

    /** The set that was stored in {@code parts}. Throws {@link IllegalArgumentException} where they can't be one. */
    static LabelSet of(boolean isBoolean, List<Part> parts) {
        return new LabelSet(isBoolean, parts);
    }

    /** Whether its only label is written as true or false. */
    boolean isBoolean() {
        return isBoolean;
    }

    /** How long vectors are. */
    int dims() {
        return dims;
    }

    /** How many products {@link #found} makes sums of, for {@code count} vectors. */
    long products(int count) {
        return (long) vectors.length * count;
    }

    /** What a document of these vectors [count, dims] is given, by name with scores: labels in their order, true or false. */
    Map<String, Double> found(float[][] document) {
        double[] scores = best(document);
        Map<String, Double> found = new LinkedHashMap<>();
        if (isBoolean) {
            found.put(scores[0] >= thresholds[0] ? "true" : "false", scores[0]);
            return found;
        }
        for (int i = 0; i < labels.length; i++) {
            if (scores[i] >= thresholds[i]) {
                found.merge(labels[i], scores[i], Math::max);
                for (String each : above.get(i)) {
                    found.merge(each, scores[i], Math::max);
                }
            }
        }
        return found;
    }

    /** Each label's greatest score of any of the vectors. */
    private double[] best(float[][] document) {
        double[] best = new double[labels.length];
        Arrays.fill(best, Double.NEGATIVE_INFINITY);
        double[] unit = new double[dims];
        for (float[] vector : document) {
            double square = 0;
            for (float each : vector) {
                square += (double) each * each;
            }
            double length = Math.sqrt(square);
            for (int j = 0; j < dims; j++) {
                unit[j] = vector[j] / length;
            }
            for (int i = 0; i < labels.length; i++) {
                best[i] = Math.max(best[i], (product(unit, i * dims) - centre[i]) / spread[i]);
            }
        }
        return best;
    }

    /** The sum of products with the row that begins at {@code start}; in four, which processors add up at the same time. */
    private double product(double[] unit, int start) {
        double a = 0, b = 0, c = 0, d = 0;
        int j = 0;
        for (; j + 3 < dims; j += 4) {
            a += unit[j] * vectors[start + j];
            b += unit[j + 1] * vectors[start + j + 1];
            c += unit[j + 2] * vectors[start + j + 2];
            d += unit[j + 3] * vectors[start + j + 3];
        }
        for (; j < dims; j++) {
            a += unit[j] * vectors[start + j];
        }
        return a + b + c + d;
    }
}
