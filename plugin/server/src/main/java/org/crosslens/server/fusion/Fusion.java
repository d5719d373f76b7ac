package org.crosslens.server.fusion;

import java.util.Arrays;
import java.util.List;

/**
 * Fusing the scores of several legs into one: each leg is normalised, weighted, and a mean is taken. Equal to the Python
 * package's {@code crosslens.queries.fusion}, which says more.
 */
public final class Fusion {

    private Fusion() {}

    /** How the normalised scores of a document become one; source: OpenSearch's combination techniques. */
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
     * A leg's raw scores by document (NaN: it has none), their least possible value, the leg's weight, and the moments
     * that {@code standardise} needs (null: it is scaled by its theoretical minimum and its largest score).
     */
    public record Leg(double[] raw, double floor, double weight, Moments moments) {}

    /** By document the totals; by leg and document the normalised scores and what each adds to the total. */
    public record Fused(double[] totals, double[][] normalised, double[][] weighted) {}

    /**
     * Fuses the legs, whose scores all are of the same documents, by any normaliser but {@link Normaliser#EVIDENCE}, which
     * has its own way to combine ({@link Evidence#fuse}).
     *
     * <p>Throws {@link IllegalArgumentException} for weights that are negative or all 0, and for a geometric or harmonic
     * mean of scores that may be negative.
     */
    public static Fused fuse(List<Leg> legs, Normaliser normaliser, Mean mean) {
        check(legs.stream().mapToDouble(Leg::weight).toArray(), normaliser, mean);
        double sum = legs.stream().mapToDouble(Leg::weight).sum();
        double[][] normalised = normalise(legs, normaliser), weighted = new double[legs.size()][];
        double[] shares = new double[legs.size()];
        for (int i = 0; i < shares.length; i++) {
            Leg leg = legs.get(i);
            shares[i] = leg.weight() / sum;
            if (Normaliser.max(leg.raw()) <= leg.floor()) {
                // Completed, a leg that found nothing has the floor's score everywhere; equal scores aren't matches.
                normalised[i] = Normaliser.map(normalised[i], s -> 0);
            }
            double absent = normaliser.missing(normalised[i]), share = shares[i];
            normalised[i] = Arrays.stream(normalised[i]).map(s -> Double.isNaN(s) ? absent : s).toArray();
            weighted[i] = Arrays.stream(normalised[i]).map(s -> s * share).toArray();
        }
        double[] totals = new double[legs.isEmpty() ? 0 : normalised[0].length];
        for (int d = 0; d < totals.length; d++) {
            totals[d] = total(normalised, weighted, shares, d, mean);
        }
        return new Fused(totals, normalised, weighted);
    }

    /** Throws {@link IllegalArgumentException} as {@link #fuse} does, and for a mean that {@code evidence} doesn't take. */
    public static void check(double[] weights, Normaliser normaliser, Mean mean) {
        if (normaliser == Normaliser.Z_SCORE && mean != Mean.ARITHMETIC) {
            throw new IllegalArgumentException(
                "a " + mean + " mean needs scores that aren't negative, and z-score gives such"
            );
        }
        if (normaliser == Normaliser.EVIDENCE && mean != Mean.ARITHMETIC) {
            throw new IllegalArgumentException(
                "a " + mean + " mean is of normalised scores, which evidence doesn't take; choose a normaliser"
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

    private static double[][] normalise(List<Leg> legs, Normaliser normaliser) {
        double[][] normalised = new double[legs.size()][];
        if (normaliser != Normaliser.STANDARDISE) {
            for (int i = 0; i < normalised.length; i++) {
                normalised[i] = normaliser.apply(legs.get(i).raw(), legs.get(i).floor());
            }
            return normalised;
        }
        double top = 0;
        for (int i = 0; i < normalised.length; i++) {
            Leg leg = legs.get(i);
            if (leg.moments() == null) {
                normalised[i] = Normaliser.THEORETICAL_MIN_MAX.apply(leg.raw(), leg.floor());
                continue;
            }
            double m = leg.moments().mean(), deviation = leg.moments().deviation();
            normalised[i] = Normaliser.map(leg.raw(), s -> deviation <= 0 ? 0 : (s - m) / deviation);
            top = Math.max(top, Normaliser.max(normalised[i]));
        }
        // The standardised legs share one scale: 0 for the corpus's mean and below, 1 for the largest of any of them.
        double largest = top;
        for (int i = 0; i < normalised.length; i++) {
            if (legs.get(i).moments() != null) {
                normalised[i] = Normaliser.map(normalised[i], z -> largest > 0 ? Math.max(z, 0) / largest : 0);
            }
        }
        return normalised;
    }

    private static double total(double[][] normalised, double[][] weighted, double[] shares, int d, Mean mean) {
        double sum = 0, counted = 0;
        for (int i = 0; i < shares.length; i++) {
            double value = normalised[i][d];
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
