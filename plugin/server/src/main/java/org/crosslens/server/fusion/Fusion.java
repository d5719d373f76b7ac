package org.crosslens.server.fusion;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Fusing the scores of several legs into one: each leg is normalized, weighted, and a mean is taken. Equal to the Python
 * package's {@code crosslens.queries.fusion}, which says more.
 */
public final class Fusion {

    private Fusion() {}

    /** How the normalized scores of a document become one; source: OpenSearch's combination techniques. */
    public enum Mean {
        ARITHMETIC,
        GEOMETRIC,
        HARMONIC;

        /** The mean as requests write it. Throws {@link IllegalArgumentException}. */
        public static Mean parse(String name) {
            return Choice.of(Mean.class, "mean", name);
        }

        @Override
        public String toString() {
            return Choice.written(this);
        }
    }

    /** Mean and standard deviation of a query's score over the whole corpus. */
    public record Moments(double mean, double deviation) {}

    /**
     * A leg's raw scores by document (NaN: it has none), their least possible value, the leg's weight, the moments that
     * {@code standardise} needs (null: it is scaled by its theoretical minimum and its largest score), which documents it
     * {@code found} by itself, and which it {@code lacks} anything of to judge them by.
     */
    public record Leg(double[] raw, double floor, double weight, Moments moments, boolean[] found, boolean[] lacks) {

        /** Whether the leg can't judge the document {@code d}, which is then not held against it. */
        boolean isLacking(int d) {
            return lacks[d] && Double.isNaN(raw[d]);
        }
    }

    /** By document the totals; by leg and document the normalized scores and what each adds to the total. */
    public record Fused(double[] totals, double[][] normalized, double[][] weighted) {}

    /**
     * Fuses the legs, whose scores all are of the same documents, by any normalizer but {@link Normalizer#EVIDENCE}, which
     * has its own way to combine ({@link Evidence#fuse}).
     *
     * <p>Throws {@link IllegalArgumentException} for weights that are negative or all 0, and for a geometric or harmonic
     * mean of scores that may be negative.
     */
    public static Fused fuse(List<Leg> legs, Normalizer normalizer, Mean mean) {
        check(legs.stream().mapToDouble(Leg::weight).toArray(), normalizer, mean);
        double sum = legs.stream().mapToDouble(Leg::weight).sum();
        double[][] normalized = normalize(legs, normalizer), weighted = new double[legs.size()][];
        double[] shares = new double[legs.size()];
        boolean[] active = new boolean[legs.size()];
        for (int i = 0; i < shares.length; i++) {
            Leg leg = legs.get(i);
            shares[i] = leg.weight() / sum;
            active[i] = Normalizer.max(leg.raw()) > leg.floor();
            if (active[i] == false) {
                // Completed, a leg that found nothing has the floor's score everywhere; equal scores aren't matches.
                normalized[i] = Normalizer.map(normalized[i], s -> 0);
            }
            double absent = normalizer.missing(normalized[i]);
            normalized[i] = Arrays.stream(normalized[i]).map(s -> Double.isNaN(s) ? absent : s).toArray();
            weighted[i] = new double[normalized[i].length];
        }
        double[] totals = new double[legs.isEmpty() ? 0 : normalized[0].length];
        for (int d = 0; d < totals.length; d++) {
            double[] able = able(legs, shares, active, d);
            for (int i = 0; i < shares.length; i++) {
                if (legs.get(i).isLacking(d)) {
                    normalized[i][d] = 0;
                }
                weighted[i][d] = normalized[i][d] * able[i];
            }
            totals[d] = total(normalized, weighted, able, d, mean);
        }
        return new Fused(totals, normalized, weighted);
    }

    /** Throws {@link IllegalArgumentException} as {@link #fuse} does, and for a mean that {@code evidence} doesn't take. */
    public static void check(double[] weights, Normalizer normalizer, Mean mean) {
        if (normalizer == Normalizer.Z_SCORE && mean != Mean.ARITHMETIC) {
            throw new IllegalArgumentException(
                "a " + mean + " mean needs scores that aren't negative, and z-score gives such"
            );
        }
        if (normalizer == Normalizer.EVIDENCE && mean != Mean.ARITHMETIC) {
            throw new IllegalArgumentException(
                "a " + mean + " mean is of normalized scores, which evidence doesn't take; choose a normalizer"
            );
        }
        double sum = 0;
        for (double weight : weights) {
            if (weight >= 0 == false || Double.isInfinite(weight)) {
                throw new IllegalArgumentException("a weight must be 0 or more, not " + weight);
            }
            sum += weight;
        }
        if (weights.length > 0 && sum == 0) {
            throw new IllegalArgumentException("at least one weight must be more than 0");
        }
    }

    /**
     * What each leg weighs for the document {@code d}: the weight of those that can't judge it goes to those that can, of
     * the {@code active} ones, in proportion to theirs.
     */
    private static double[] able(List<Leg> legs, double[] shares, boolean[] active, int d) {
        double whole = 0, all = 0;
        double[] able = new double[shares.length];
        for (int i = 0; i < able.length; i++) {
            able[i] = legs.get(i).isLacking(d) ? 0 : shares[i];
            whole += active[i] ? able[i] : 0;
            all += active[i] ? shares[i] : 0;
        }
        if (IntStream.range(0, able.length).noneMatch(i -> legs.get(i).isLacking(d))) {
            return shares;
        }
        double raised = whole > 0 ? all / whole : 0;
        return Arrays.stream(able).map(share -> share * raised).toArray();
    }

    private static double[][] normalize(List<Leg> legs, Normalizer normalizer) {
        double[][] normalized = new double[legs.size()][];
        if (normalizer != Normalizer.STANDARDISE) {
            for (int i = 0; i < normalized.length; i++) {
                Leg leg = legs.get(i);
                normalized[i] = normalizer.apply(normalizer == Normalizer.RANK ? matched(leg) : leg.raw(), leg.floor());
            }
            return normalized;
        }
        double top = 0;
        for (int i = 0; i < normalized.length; i++) {
            Leg leg = legs.get(i);
            if (leg.moments() == null) {
                normalized[i] = Normalizer.THEORETICAL_MIN_MAX.apply(leg.raw(), leg.floor());
                continue;
            }
            double m = leg.moments().mean(), deviation = leg.moments().deviation();
            normalized[i] = Normalizer.map(leg.raw(), s -> deviation <= 0 ? 0 : (s - m) / deviation);
            top = Math.max(top, Normalizer.max(normalized[i]));
        }
        // The standardised legs share one scale: 0 for the corpus's mean and below, 1 for the largest of any of them.
        double largest = top;
        for (int i = 0; i < normalized.length; i++) {
            if (legs.get(i).moments() != null) {
                normalized[i] = Normalizer.map(normalized[i], z -> largest > 0 ? Math.max(z, 0) / largest : 0);
            }
        }
        return normalized;
    }

    /** The scores of what a leg found by itself: completed ones have no rank in it. */
    private static double[] matched(Leg leg) {
        double[] matched = leg.raw().clone();
        for (int d = 0; d < matched.length; d++) {
            matched[d] = leg.found()[d] && matched[d] > leg.floor() ? matched[d] : Double.NaN;
        }
        return matched;
    }

    private static double total(double[][] normalized, double[][] weighted, double[] shares, int d, Mean mean) {
        double sum = 0, counted = 0;
        for (int i = 0; i < shares.length; i++) {
            double value = normalized[i][d];
            if (mean == Mean.ARITHMETIC) {
                sum += weighted[i][d];
            } else if (value > 0 && shares[i] > 0) {
                counted += shares[i];
                sum += mean == Mean.GEOMETRIC ? shares[i] * Math.log(value) : shares[i] / value;
            }
        }
        if (mean == Mean.ARITHMETIC) {
            return sum;
        }
        if (counted == 0) {
            return 0;
        }
        return mean == Mean.GEOMETRIC ? Math.exp(sum / counted) : counted / sum;
    }
}
