package org.crosslens.server.fusion;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Fusion by evidence: for each leg, how many documents would do as well as this one by chance; legs of one source are
 * pooled, sources combine by noisy-or. Equal to the Python package's {@code crosslens.queries.evidence}, which says the
 * formulas, their sources and the edge cases in full; both are held to {@code tests/golden/evidence.jsonl}.
 *
 * <p>All is by document; in arrays NaN is none. Chances are kept as their logarithm.
 */
public final class Evidence {

    /** Where the tail is held: the best few of a window are what is looked for, not what chance does. */
    static final int TAIL_RANK = 5;
    // No leg is surer than 1 - DOUBT / 2: some of the best matches are wrong as well.
    private static final double DOUBT = 0.01;
    // By so many documents a word that was misread as a misspelt one does as well as one that was typed.
    private static final double MISREAD = 0.02;
    // Weights that are as good as nothing beside the heaviest.
    private static final double LIGHTEST = 1e-9;
    // What exp still holds.
    private static final double MOST = 700;

    private Evidence() {}

    /**
     * A leg: the {@code source} that it reads (null: something that no other leg reads), its {@code weight} (NaN: not
     * given, so that the legs of a source share 1), the scores of what it {@code found} by itself of {@code depth}
     * documents asked for, their least possible value, the score {@code attainable} at most (NaN: not known), which
     * documents it {@code lacks} anything of to judge them by, and what the same query found with words {@code respelt}
     * (null: they weren't).
     */
    public record Leg(
        String source,
        double weight,
        double[] found,
        double floor,
        int depth,
        double attainable,
        boolean[] lacks,
        Respelt respelt
    ) {
        public Leg(String source, double weight, double[] found, double floor, int depth, double attainable, boolean[] lacks) {
            this(source, weight, found, floor, depth, attainable, lacks, null);
        }
    }

    /** Scores of words of another spelling by document (NaN: none), and the score attainable with them at most. */
    public record Respelt(double[] found, double attainable) {}

    /**
     * By document the totals; by leg and document: {@code normalized}, the chance to be right by this leg alone;
     * {@code weighted}, which sum to the total; {@code chance}, how many documents would do as well; {@code covered}, the
     * share of the query that a keyword match covers (NaN: it isn't known); and whether that is {@code respelt}.
     */
    public record Fused(
        double[] totals,
        double[][] normalized,
        double[][] weighted,
        double[][] chance,
        double[][] covered,
        boolean[][] respelt
    ) {}

    /** ln E by an exponential tail through the j-th and the last score of a leg's window. */
    static double[] byTail(double[] scores) {
        double[] window = Normalizer.present(scores).sorted().toArray();
        int n = window.length;
        if (n == 0) {
            return scores.clone();
        }
        int j = n > 2 ? Math.min(TAIL_RANK, Math.max(2, n / 4)) : 1;
        double high = window[n - j], low = window[0];
        if (n <= j || high - low <= 1e-12 * Math.max(Math.abs(high), Math.abs(low))) {
            return Normalizer.map(scores, score -> Math.log(n - below(window, score)));
        }
        double reach = Math.log((double) n / j), start = Math.log(j), b = (high - low) / reach;
        double spread = 0;
        for (double i = j; i < n; i++) {
            spread += 1 / (i * i);
        }
        double m = reach * reach / spread;
        return Normalizer.map(
            scores,
            score -> start - (score > high ? m * Math.log1p((score - high) / (m * b)) : (score - high) / b)
        );
    }

    /** How many of the sorted scores are less. */
    private static int below(double[] sorted, double score) {
        int place = Arrays.binarySearch(sorted, score);
        while (place > 0 && sorted[place - 1] == score) {
            place--;
        }
        return place;
    }

    /** ln E of keyword matches, by the share of the query that each covers. */
    static double[] byCoverage(double[] scores, double attainable) {
        double most = Math.max(attainable, Math.max(Normalizer.max(scores), 0));
        return Normalizer.map(scores, score -> {
            if (score > 0 == false) {
                return Double.POSITIVE_INFINITY;
            }
            return score < most ? 2 * Math.log(2 * (most - score) / score) : Double.NEGATIVE_INFINITY;
        });
    }

    /** The share of the query, from 0 to 1, that {@link #byCoverage} reads in a keyword score. */
    static double covered(double score, double best, double attainable) {
        double most = Math.max(attainable, best);
        return most > 0 ? Math.min(Math.max(score / most, 0), 1) : 0;
    }

    /** Fuses the legs, whose scores all are of the same documents; {@link Fusion#check} holds for their weights. */
    public static Fused fuse(List<Leg> legs) {
        int documents = legs.isEmpty() ? 0 : legs.get(0).found().length;
        Map<String, List<Integer>> sources = new LinkedHashMap<>();
        for (int i = 0; i < legs.size(); i++) {
            String source = legs.get(i).source();
            sources.computeIfAbsent(source != null ? "=" + source : "~" + i, name -> new ArrayList<>()).add(i);
        }
        double[] shares = shares(legs, sources.values());
        double[][] chances = legs.stream().map(Evidence::chances).toArray(double[][]::new);
        double[][] logs = new double[legs.size()][];
        for (int i = 0; i < logs.length; i++) {
            double unfound = unfound(legs.get(i));
            logs[i] = Normalizer.map(chances[i], chance -> bounded(chance, unfound));
        }
        List<List<Integer>> weighing = sources.values()
            .stream()
            .map(source -> source.stream().filter(i -> shares[i] > 0).toList())
            .filter(source -> source.isEmpty() == false)
            .toList();
        double scale = weighing.size() / Arrays.stream(shares).sum();
        double[][] gains = new double[legs.size()][documents];
        for (List<Integer> source : weighing) {
            double whole = scale * source.stream().mapToDouble(i -> shares[i]).sum();
            for (int d = 0; d < documents; d++) {
                pool(legs, source, shares, logs, whole, d, gains);
            }
        }
        double[] totals = new double[documents];
        double[][] weighted = new double[legs.size()][documents];
        for (int d = 0; d < documents; d++) {
            double evidence = 0;
            for (double[] gained : gains) {
                evidence += gained[d];
            }
            totals[d] = -Math.expm1(-evidence);
            for (int i = 0; i < gains.length; i++) {
                weighted[i][d] = evidence > 0 ? gains[i][d] * (totals[d] / evidence) : 0;
            }
        }
        return fused(legs, totals, weighted, chances, logs);
    }

    /** What the legs weigh; where nothing is said of one, it shares 1 with the others of its source. */
    private static double[] shares(List<Leg> legs, Collection<List<Integer>> sources) {
        double[] shares = legs.stream().mapToDouble(Leg::weight).toArray();
        sources.forEach(source -> source.forEach(i -> shares[i] = Double.isNaN(shares[i]) ? 1.0 / source.size() : shares[i]));
        double heaviest = Arrays.stream(shares).max().orElse(0);
        // By the heaviest, so that weights of any size are as good; what is as good as nothing is nothing.
        return Arrays.stream(shares).map(share -> share > LIGHTEST * heaviest ? share / heaviest : 0).toArray();
    }

    private static double[] chances(Leg leg) {
        // A keyword score of 0 is not a match, as a completed one may be; a cosine of any value is one.
        double[] found = leg.floor() < 0
            ? leg.found()
            : Arrays.stream(leg.found()).map(score -> score > 0 ? score : Double.NaN).toArray();
        double[] chances = Double.isNaN(leg.attainable()) ? byTail(found) : byCoverage(found, leg.attainable());
        if (leg.respelt() == null) {
            return chances;
        }
        double[] respelt = byCoverage(leg.respelt().found(), leg.respelt().attainable());
        for (int d = 0; d < chances.length; d++) {
            if (respelt[d] < MOST) {
                double chance = Math.log(Math.exp(respelt[d]) + MISREAD);
                chances[d] = Double.isNaN(chances[d]) ? chance : Math.min(chances[d], chance);
            }
        }
        return chances;
    }

    /** By document, the share of the query that it covers; NaN where that isn't known, or it has no score. */
    private static double[] covered(double[] found, double attainable) {
        double best = Normalizer.max(found);
        return Normalizer.map(found, score -> Double.isNaN(attainable) ? Double.NaN : covered(score, best, attainable));
    }

    /** Puts into {@code gains} what each leg of a source brings as evidence, -W ln(1 - p), of the document {@code d}. */
    private static void pool(
        List<Leg> legs,
        List<Integer> source,
        double[] shares,
        double[][] logs,
        double whole,
        int d,
        double[][] gains
    ) {
        if (source.stream().allMatch(i -> Double.isNaN(logs[i][d]))) {
            return;
        }
        double able = 0, sumOfLogs = 0, sumOfUnfound = 0, sumAlone = 0;
        for (int i : source) {
            boolean found = Double.isNaN(logs[i][d]) == false;
            if (found == false && legs.get(i).lacks()[d]) {
                continue;
            }
            double unfound = unfound(legs.get(i)), log = found ? logs[i][d] : unfound;
            able += shares[i];
            sumOfLogs += shares[i] * log;
            sumOfUnfound += shares[i] * unfound;
            gains[i][d] = shares[i] * sureness(log, unfound);
            sumAlone += gains[i][d];
        }
        double evidence = whole * sureness(sumOfLogs / able, sumOfUnfound / able);
        for (int i : source) {
            // What a leg found as badly as what it didn't find brings nothing.
            gains[i][d] = sumAlone > 0 ? evidence * gains[i][d] / sumAlone : 0;
        }
    }

    /** -ln(1 - p), less what it is for a document that wasn't found. */
    private static double sureness(double log, double unfound) {
        return Math.max(Math.log1p(Math.exp(-log)) - Math.log1p(Math.exp(-unfound)), 0);
    }

    /** ln E of what a leg looked for and didn't find. */
    private static double unfound(Leg leg) {
        return Math.log(Math.max(leg.depth(), 2));
    }

    /** ln of E as it counts: with a doubt, and never as bad as what wasn't found. */
    private static double bounded(double chance, double unfound) {
        double doubted = chance < MOST
            ? Math.log(Math.exp(chance) + 0.5 * DOUBT * (1 + 1 / (1 - Math.min(chance, 0))))
            : chance;
        return Math.min(doubted, unfound) - 0.5 * Math.log1p(Math.exp(-2 * Math.abs(doubted - unfound)));
    }

    private static Fused fused(List<Leg> legs, double[] totals, double[][] weighted, double[][] chances, double[][] logs) {
        double[][] normalized = new double[legs.size()][], chance = new double[legs.size()][], covered = new double[legs.size()][];
        boolean[][] respelt = new boolean[legs.size()][];
        for (int i = 0; i < legs.size(); i++) {
            Leg leg = legs.get(i);
            double unfound = unfound(leg);
            normalized[i] = Arrays.stream(logs[i])
                .map(log -> Double.isNaN(log) ? 0 : -Math.expm1(-sureness(log, unfound)))
                .toArray();
            chance[i] = Normalizer.map(chances[i], log -> Math.exp(Math.min(log, MOST)));
            covered[i] = new double[totals.length];
            respelt[i] = new boolean[totals.length];
            double[] typed = covered(leg.found(), leg.attainable());
            double[] otherwise = leg.respelt() == null ? null : covered(leg.respelt().found(), leg.respelt().attainable());
            for (int d = 0; d < totals.length; d++) {
                covered[i][d] = Double.isNaN(chances[i][d]) ? Double.NaN : typed[d];
                // Which of the two spellings decided: the one that covers more.
                if (otherwise != null && otherwise[d] > (Double.isNaN(covered[i][d]) ? 0 : covered[i][d])) {
                    covered[i][d] = otherwise[d];
                    respelt[i][d] = true;
                }
            }
        }
        return new Fused(totals, normalized, weighted, chance, covered, respelt);
    }
}
