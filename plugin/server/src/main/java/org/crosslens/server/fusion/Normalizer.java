package org.crosslens.server.fusion;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.function.DoubleUnaryOperator;
import java.util.stream.DoubleStream;

/**
 * The raw scores of one leg on a scale that other legs share. Formulas, ranges and sources are those of the Python
 * package's {@code crosslens.queries.normalize}, which says them in full. A leg's scores are by document; NaN is none.
 */
public enum Normalizer {
    /** No scale of a single leg, and no mean is taken of it: see {@link Evidence}. */
    EVIDENCE {
        @Override
        double[] apply(double[] raw, double floor) {
            throw new UnsupportedOperationException("evidence is not a scale of a single leg");
        }
    },
    /** (s - floor) / (max - floor), source: Bruch, Gai, Ingber (2023), doi 10.1145/3596512. */
    THEORETICAL_MIN_MAX {
        @Override
        double[] apply(double[] raw, double floor) {
            double highest = max(raw);
            return map(raw, s -> highest <= floor ? 0 : Math.max(s - floor, 0) / (highest - floor));
        }
    },
    /** (s - min) / (max - min), source: Lee (1997), doi 10.1145/258525.258587. */
    MIN_MAX {
        @Override
        double[] apply(double[] raw, double floor) {
            double lowest = present(raw).min().orElse(0), highest = max(raw);
            return map(raw, s -> highest == lowest ? 1 : (s - lowest) / (highest - lowest));
        }
    },
    /** (s - mean) / deviation of the window, source: Montague, Aslam (2001), doi 10.1145/502585.502657. */
    Z_SCORE {
        @Override
        double[] apply(double[] raw, double floor) {
            double mean = present(raw).average().orElse(0);
            double deviation = Math.sqrt(present(raw).map(s -> (s - mean) * (s - mean)).average().orElse(0));
            // Equal scores differ from their mean by rounding alone.
            boolean equal = deviation <= 1e-12 * Math.max(Math.abs(mean), 1e-300);
            return map(raw, s -> equal ? 0 : (s - mean) / deviation);
        }
    },
    /** s / sqrt(sum of s^2), negative ones as 0, source: OpenSearch's normalization processor. */
    L2 {
        @Override
        double[] apply(double[] raw, double floor) {
            double highest = Math.max(max(raw), 0);
            // Scaled first, so that squares of very small or large scores don't vanish or overflow.
            double norm = Math.sqrt(present(raw).map(s -> Math.pow(Math.max(s, 0) / highest, 2)).sum());
            return map(raw, s -> highest == 0 ? 0 : Math.max(s, 0) / highest / norm);
        }
    },
    /** 61 / (60 + rank) of what the leg found by itself, equal scores by the first of them, source: Cormack et al. (2009), doi 10.1145/1571941.1572114. */
    RANK {
        @Override
        double[] apply(double[] raw, double floor) {
            double[] sorted = present(raw).sorted().toArray();
            Map<Double, Integer> ranks = new HashMap<>();
            for (int i = sorted.length - 1; i >= 0; i--) {
                ranks.putIfAbsent(sorted[i], sorted.length - i);
            }
            return map(raw, s -> (RANK_CONSTANT + 1.0) / (RANK_CONSTANT + ranks.get(s)));
        }
    },
    /** (s - mean) / deviation over the whole corpus; {@link Fusion} puts several legs on one scale. */
    STANDARDISE {
        @Override
        double[] apply(double[] raw, double floor) {
            throw new UnsupportedOperationException("standardise needs the corpus's moments");
        }
    };

    /** Where a request names none. */
    public static final Normalizer DEFAULT = EVIDENCE;
    static final int RANK_CONSTANT = 60;

    abstract double[] apply(double[] raw, double floor);

    /** What a document gets from a leg that has no score for it: 0, or by z-score the least that the leg gives. */
    double missing(double[] normalized) {
        return this == Z_SCORE ? Math.min(0, present(normalized).min().orElse(0)) : 0;
    }

    /** The normalizer as requests write it, such as {@code min-max}. Throws {@link IllegalArgumentException}. */
    public static Normalizer parse(String name) {
        return Choice.of(Normalizer.class, "normalizer", name);
    }

    @Override
    public String toString() {
        return Choice.written(this);
    }

    static DoubleStream present(double[] scores) {
        return Arrays.stream(scores).filter(s -> Double.isNaN(s) == false);
    }

    static double max(double[] scores) {
        return present(scores).max().orElse(Double.NEGATIVE_INFINITY);
    }

    static double[] map(double[] scores, DoubleUnaryOperator function) {
        return Arrays.stream(scores).map(s -> Double.isNaN(s) ? s : function.applyAsDouble(s)).toArray();
    }
}
