package org.crosslens.server.search;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.apache.lucene.util.VectorUtil;
import org.crosslens.server.fusion.Evidence;
import org.crosslens.server.fusion.Fusion;
import org.crosslens.server.fusion.Fusion.Mean;
import org.crosslens.server.fusion.Fusion.Moments;
import org.crosslens.server.fusion.Normalizer;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ResolvedIndices;
import org.elasticsearch.action.search.SearchResponse;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.search.rank.RankDoc;
import org.elasticsearch.xcontent.XContentParserConfiguration;

/**
 * The steps of a hybrid search: each leg's window; the scores that a leg lacks of what others found; the corpus's
 * moments, where they are needed; the fusion. Two round trips with completion, one where nothing lacks.
 *
 * <p>By {@code evidence} the windows decide the ranking, with what {@link Witnesses} asks for along with them: one round
 * trip, and one more where quantised vectors found few documents. Only for an explanation are the scores completed then, of what is shown, which changes no total.
 */
final class HybridSearch {

    // From this many documents on, rounding changes totals no more than in a window of a hundred.
    private static final int FEW = 10;

    private final List<Leg> legs;
    private final Normalizer normalizer;
    private final Mean mean;
    private final boolean complete;
    private final int window;
    private final boolean explain;
    private final Trip trip;
    private final ResolvedIndices indices;
    // By leg, scores by document.
    private final List<Map<RankDoc.RankKey, Double>> scores = new ArrayList<>();
    // By leg, what it found by itself.
    private final List<Set<RankDoc.RankKey>> found = new ArrayList<>();
    private final Moments[] moments;
    // Null by other normalizers than evidence.
    private final Witnesses witnesses;
    // Knows which documents lack a leg's vector; null where a completion does.
    private final Witnesses lacking;

    HybridSearch(
        List<Leg> legs,
        Normalizer normalizer,
        Mean mean,
        boolean complete,
        int window,
        boolean explain,
        boolean spelling,
        boolean allowPartial,
        ResolvedIndices indices,
        XContentParserConfiguration configuration
    ) {
        this.legs = legs;
        this.normalizer = normalizer;
        this.mean = mean;
        this.complete = complete;
        this.window = window;
        this.explain = explain;
        this.trip = new Trip(allowPartial);
        this.indices = indices;
        this.moments = legs.stream().map(leg -> leg.child().moments()).toArray(Moments[]::new);
        boolean byEvidence = normalizer == Normalizer.EVIDENCE;
        Witnesses asked = byEvidence || complete == false
            ? new Witnesses(legs, window, explain || byEvidence == false, spelling, indices, configuration)
            : null;
        this.witnesses = byEvidence ? asked : null;
        this.lacking = asked;
    }

    /** Answers with at most a window of documents, best first. */
    void run(Client client, ActionListener<RankDoc[]> listener) {
        if (witnesses == null) {
            windows(client, listener.delegateFailureAndWrap((next, ignored) -> completedAndFused(client, next)));
            return;
        }
        witnesses.prepare(
            client,
            listener.delegateFailureAndWrap(
                (next, ignored) -> windows(client, next.delegateFailureAndWrap((then, found) -> byEvidence(client, then)))
            )
        );
    }

    private void windows(Client client, ActionListener<Void> listener) {
        List<SearchSourceBuilder> first = new ArrayList<>();
        for (int i = 0; i < legs.size(); i++) {
            first.add(lacking == null ? legs.get(i).source() : lacking.window(i));
        }
        if (witnesses != null) {
            first.addAll(witnesses.probes());
        }
        trip.ask(client, first, listener.delegateFailureAndWrap((next, answers) -> {
            for (int i = 0; i < legs.size(); i++) {
                SearchResponse answer = trip.answer(answers[i], legs.get(i).name());
                RankDoc[] found = Trip.documents(answer);
                legs.get(i).retriever().setRankDocs(found);
                Map<RankDoc.RankKey, Double> byKey = new LinkedHashMap<>();
                for (RankDoc document : found) {
                    byKey.put(Trip.key(document), (double) document.score);
                }
                scores.add(byKey);
                this.found.add(Set.copyOf(byKey.keySet()));
                if (lacking != null) {
                    lacking.hear(i, answer, found);
                }
            }
            if (witnesses == null) {
                next.onResponse(null);
                return;
            }
            witnesses.hear(answers, scores);
            witnesses.respell(client, trip, next.delegateFailureAndWrap((then, ignored) -> rescored(client, then)));
        }));
    }

    /**
     * Compares again with whole floats what a kNN leg found, where evidence is to judge by few documents: between three,
     * what is rounded off decides how steep the window's tail is.
     */
    private void rescored(Client client, ActionListener<Void> listener) {
        Completion rough = new Completion(legs, scores);
        for (int i = 0; i < legs.size(); i++) {
            Map<RankDoc.RankKey, Double> found = scores.get(i);
            if (legs.get(i).isExact() == false && found.size() > 1 && found.size() < FEW) {
                rough.add(i, found.keySet());
            }
        }
        rough.ask(client, trip, listener);
    }

    /** Whether documents may be among the results that no child finds by itself: words of another spelling do. */
    boolean foundRespelt() {
        return witnesses != null && witnesses.respelt().isEmpty() == false;
    }

    private void completedAndFused(Client client, ActionListener<RankDoc[]> listener) {
        if (complete == false) {
            lookedUp(client, 0, listener);
            return;
        }
        completed(client, keys(), listener.delegateFailureAndWrap((next, ignored) -> lookedUp(client, 0, next)));
    }

    private void byEvidence(Client client, ActionListener<RankDoc[]> listener) {
        List<RankDoc.RankKey> keys = keys();
        Evidence.Fused fused = witnesses.fuse(keys, raw(keys, false));
        int[] best = best(keys, fused.totals());
        if (explain == false) {
            listener.onResponse(documents(keys, best, fused.totals(), 0));
            return;
        }
        ActionListener<Void> shown = listener.delegateFailureAndWrap(
            (next, ignored) -> next.onResponse(explained(keys, best, fused))
        );
        if (complete) {
            completed(client, Arrays.stream(best).mapToObj(keys::get).toList(), shown);
        } else {
            shown.onResponse(null);
        }
    }

    /** Finds the scores that the legs lack of the documents {@code wanted}. */
    private void completed(Client client, List<RankDoc.RankKey> wanted, ActionListener<Void> listener) {
        Completion lacking = new Completion(legs, scores);
        for (int i = 0; i < legs.size(); i++) {
            Leg leg = legs.get(i);
            Map<RankDoc.RankKey, Double> known = scores.get(i);
            if (leg.kind() == Leg.Kind.FUSED || leg.isExhausted(known.size(), window)) {
                continue;
            }
            lacking.add(i, wanted.stream().filter(key -> leg.isExact() == false || known.containsKey(key) == false).toList());
        }
        lacking.ask(client, trip, listener);
    }

    /** Finds the moments of the leg {@code i} and those after it, then fuses. */
    private void lookedUp(Client client, int i, ActionListener<RankDoc[]> listener) {
        if (normalizer != Normalizer.STANDARDISE || i == legs.size()) {
            ActionListener.completeWith(listener, this::fused);
            return;
        }
        Leg leg = legs.get(i);
        if (leg.kind() != Leg.Kind.KNN || moments[i] != null) {
            lookedUp(client, i + 1, listener);
            return;
        }
        float[] query = VectorUtil.l2normalize(leg.knn().getQueryVector().asFloatVector().clone());
        CorpusMoments.find(client, indices, leg.knn().getField(), query, listener.delegateFailureAndWrap((next, found) -> {
            if (found.moments() == null) {
                String where = found.lacking().isEmpty() ? "" : " in [" + String.join(", ", found.lacking()) + "]";
                throw new IllegalArgumentException(
                    "[" + leg.name() + "] can't be standardised: no corpus statistics are kept of [" + leg.field().path() + "]" + where
                        + "; gather them with `crosslens calibrate`, give [moments], or choose another normalizer"
                );
            }
            moments[i] = found.moments();
            lookedUp(client, i + 1, next);
        }));
    }

    private RankDoc[] fused() {
        List<RankDoc.RankKey> keys = keys();
        double[][] values = raw(keys, complete);
        List<Fusion.Leg> raw = new ArrayList<>();
        for (int i = 0; i < legs.size(); i++) {
            Leg leg = legs.get(i);
            boolean[] among = new boolean[keys.size()], lacks = new boolean[keys.size()];
            for (int d = 0; d < among.length; d++) {
                among[d] = found.get(i).contains(keys.get(d));
                // A completion gives a score to every document with a vector, unless a least score was asked for.
                boolean completed = complete && leg.kind() == Leg.Kind.KNN && leg.source().minScore() == null;
                lacks[d] = Double.isNaN(values[i][d]) && (completed || lacking != null && lacking.lacks(i, keys.get(d)));
            }
            raw.add(new Fusion.Leg(values[i], leg.floor(), leg.child().weightOr(1), moments[i], among, lacks));
        }
        Fusion.Fused fused = Fusion.fuse(raw, normalizer, mean);
        int[] best = best(keys, fused.totals());
        // Lucene knows no negative scores, which z-score gives: then all are raised by as much, and keep their distances.
        double raised = best.length == 0 ? 0 : Math.max(-fused.totals()[best[best.length - 1]], 0);
        RankDoc[] documents = documents(keys, best, fused.totals(), raised);
        String how = mean + " mean of scores scaled by " + normalizer + (raised > 0 ? ", raised by " + raised : "");
        for (int place = 0; explain && place < best.length; place++) {
            int d = best[place];
            documents[place] = new CrosslensRankDoc(
                documents[place],
                how,
                names(),
                of(values, d),
                of(fused.normalized(), d),
                of(fused.weighted(), d),
                null
            );
        }
        return documents;
    }

    private RankDoc[] explained(List<RankDoc.RankKey> keys, int[] best, Evidence.Fused fused) {
        double[][] raw = raw(keys, complete);
        RankDoc[] documents = documents(keys, best, fused.totals(), 0);
        for (int place = 0; place < best.length; place++) {
            int d = best[place];
            documents[place] = new CrosslensRankDoc(
                documents[place],
                "noisy-or by " + normalizer,
                names(),
                of(raw, d),
                of(fused.normalized(), d),
                of(fused.weighted(), d),
                witnesses.said(fused, d, keys.get(d))
            );
        }
        return documents;
    }

    private String[] names() {
        return legs.stream().map(Leg::name).toArray(String[]::new);
    }

    private static double[] of(double[][] byLeg, int d) {
        return Arrays.stream(byLeg).mapToDouble(leg -> leg[d]).toArray();
    }

    /** By leg and document the raw scores; with {@code completed}, a query that has none of a document doesn't match it. */
    private double[][] raw(List<RankDoc.RankKey> keys, boolean completed) {
        double[][] raw = new double[legs.size()][keys.size()];
        for (int i = 0; i < raw.length; i++) {
            Leg leg = legs.get(i);
            for (int d = 0; d < keys.size(); d++) {
                Double score = scores.get(i).get(keys.get(d));
                boolean zero = score == null && completed && leg.kind() == Leg.Kind.QUERY;
                raw[i][d] = zero ? 0 : score == null ? Double.NaN : leg.raw(score);
            }
        }
        return raw;
    }

    /** The places in {@code keys} of the window's documents, best first. */
    private int[] best(List<RankDoc.RankKey> keys, double[] totals) {
        // Equal totals are ordered by shard and document, so that the same search always gives the same list.
        return IntStream.range(0, keys.size())
            .boxed()
            .sorted(
                Comparator.<Integer>comparingDouble(d -> -totals[d])
                    .thenComparingInt(d -> keys.get(d).shardIndex())
                    .thenComparingInt(d -> keys.get(d).doc())
            )
            .limit(window)
            .mapToInt(d -> d)
            .toArray();
    }

    private static RankDoc[] documents(List<RankDoc.RankKey> keys, int[] best, double[] totals, double raised) {
        RankDoc[] documents = new RankDoc[best.length];
        for (int place = 0; place < best.length; place++) {
            RankDoc.RankKey key = keys.get(best[place]);
            documents[place] = new RankDoc(key.doc(), (float) (totals[best[place]] + raised), key.shardIndex());
            documents[place].rank = place + 1;
        }
        return documents;
    }

    private List<RankDoc.RankKey> keys() {
        Map<RankDoc.RankKey, Boolean> keys = new LinkedHashMap<>();
        scores.forEach(leg -> leg.keySet().forEach(key -> keys.put(key, true)));
        if (witnesses != null) {
            witnesses.respelt().forEach(key -> keys.put(key, true));
        }
        return List.copyOf(keys.keySet());
    }
}
