package org.crosslens.server.search;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.lucene.util.VectorUtil;
import org.crosslens.server.fusion.Fusion;
import org.crosslens.server.fusion.Fusion.Mean;
import org.crosslens.server.fusion.Fusion.Moments;
import org.crosslens.server.fusion.Normaliser;
import org.elasticsearch.ElasticsearchStatusException;
import org.elasticsearch.ExceptionsHelper;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ResolvedIndices;
import org.elasticsearch.action.search.MultiSearchRequest;
import org.elasticsearch.action.search.MultiSearchResponse;
import org.elasticsearch.action.search.SearchRequest;
import org.elasticsearch.action.search.SearchResponse;
import org.elasticsearch.action.search.ShardSearchFailure;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.index.Index;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.search.SearchHit;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.search.rank.RankDoc;
import org.elasticsearch.search.sort.ShardDocSortField;

/**
 * The steps of a hybrid search: each leg's window; the scores that a leg lacks of what others found; the corpus's
 * moments, where they are needed; the fusion. Two round trips with completion, one where nothing lacks.
 */
final class HybridSearch {

    private final List<Leg> legs;
    private final Normaliser normaliser;
    private final Mean mean;
    private final boolean complete;
    private final int window;
    private final boolean explain;
    private final boolean allowPartial;
    private final ResolvedIndices indices;
    // By leg, scores by document.
    private final List<Map<RankDoc.RankKey, Double>> scores = new ArrayList<>();
    private final Moments[] moments;

    HybridSearch(
        List<Leg> legs,
        Normaliser normaliser,
        Mean mean,
        boolean complete,
        int window,
        boolean explain,
        boolean allowPartial,
        ResolvedIndices indices
    ) {
        this.legs = legs;
        this.normaliser = normaliser;
        this.mean = mean;
        this.complete = complete;
        this.window = window;
        this.explain = explain;
        this.allowPartial = allowPartial;
        this.indices = indices;
        this.moments = legs.stream().map(leg -> leg.child().moments()).toArray(Moments[]::new);
    }

    /** Answers with at most a window of documents, best first. */
    void run(Client client, ActionListener<RankDoc[]> listener) {
        List<SearchSourceBuilder> first = legs.stream().map(Leg::source).toList();
        search(client, first, legs, listener.delegateFailureAndWrap((next, answers) -> {
            for (int i = 0; i < answers.size(); i++) {
                RankDoc[] found = documents(answers.get(i));
                legs.get(i).retriever().setRankDocs(found);
                Map<RankDoc.RankKey, Double> byKey = new LinkedHashMap<>();
                for (RankDoc document : found) {
                    byKey.put(key(document), (double) document.score);
                }
                scores.add(byKey);
            }
            completed(client, next.delegateFailureAndWrap((then, ignored) -> lookedUp(client, 0, then)));
        }));
    }

    private void completed(Client client, ActionListener<Void> listener) {
        List<RankDoc.RankKey> all = keys();
        List<SearchSourceBuilder> searches = new ArrayList<>();
        List<Integer> owners = new ArrayList<>();
        for (int i = 0; i < legs.size() && complete; i++) {
            Leg leg = legs.get(i);
            Map<RankDoc.RankKey, Double> known = scores.get(i);
            if (leg.kind() == Leg.Kind.FUSED || leg.isExhausted(known.size(), window)) {
                continue;
            }
            List<RankDoc> lacking = all.stream()
                .filter(key -> leg.isExact() == false || known.containsKey(key) == false)
                .map(key -> new RankDoc(key.doc(), 0, key.shardIndex()))
                .toList();
            for (SearchSourceBuilder search : leg.completions(lacking)) {
                searches.add(search);
                owners.add(i);
            }
        }
        if (searches.isEmpty()) {
            listener.onResponse(null);
            return;
        }
        List<Leg> asked = owners.stream().map(legs::get).toList();
        search(client, searches, asked, listener.delegateFailureAndWrap((next, answers) -> {
            for (int i = 0; i < answers.size(); i++) {
                for (RankDoc document : documents(answers.get(i))) {
                    scores.get(owners.get(i)).put(key(document), (double) document.score);
                }
            }
            next.onResponse(null);
        }));
    }

    /** Finds the moments of the leg {@code i} and those after it, then fuses. */
    private void lookedUp(Client client, int i, ActionListener<RankDoc[]> listener) {
        if (normaliser != Normaliser.STANDARDISE || i == legs.size()) {
            ActionListener.completeWith(listener, this::fused);
            return;
        }
        Leg leg = legs.get(i);
        if (leg.kind() != Leg.Kind.KNN || moments[i] != null) {
            lookedUp(client, i + 1, listener);
            return;
        }
        List<String> names = indices == null ? List.of() : Arrays.stream(indices.getConcreteLocalIndices()).map(Index::getName).toList();
        float[] query = VectorUtil.l2normalize(leg.knn().getQueryVector().asFloatVector().clone());
        CorpusMoments.find(client, names, leg.field(), query, listener.delegateFailureAndWrap((next, found) -> {
            if (found == null) {
                throw new IllegalArgumentException(
                    "[" + leg.name() + "] can't be standardised: no moments are kept for [" + leg.field().path()
                        + "]; gather them with `crosslens calibrate`, give [moments], or choose another normaliser"
                );
            }
            moments[i] = found;
            lookedUp(client, i + 1, next);
        }));
    }

    private RankDoc[] fused() {
        List<RankDoc.RankKey> keys = keys();
        List<Fusion.Leg> raw = new ArrayList<>();
        for (int i = 0; i < legs.size(); i++) {
            Leg leg = legs.get(i);
            double[] values = new double[keys.size()];
            for (int d = 0; d < values.length; d++) {
                Double score = scores.get(i).get(keys.get(d));
                boolean zero = score == null && complete && leg.kind() == Leg.Kind.QUERY;
                values[d] = zero ? 0 : score == null ? Double.NaN : leg.raw(score);
            }
            raw.add(new Fusion.Leg(values, leg.floor(), leg.child().weight(), moments[i]));
        }
        Fusion.Fused fused = Fusion.fuse(raw, normaliser, mean);
        Integer[] order = new Integer[keys.size()];
        Arrays.setAll(order, d -> d);
        // Equal totals are ordered by shard and document, so that the same search always gives the same list.
        Arrays.sort(
            order,
            Comparator.<Integer>comparingDouble(d -> -fused.totals()[d])
                .thenComparingInt(d -> keys.get(d).shardIndex())
                .thenComparingInt(d -> keys.get(d).doc())
        );
        RankDoc[] best = new RankDoc[Math.min(order.length, window)];
        // Lucene knows no negative scores, which z-score gives: then all are raised by as much, and keep their distances.
        double raised = best.length == 0 ? 0 : Math.max(-fused.totals()[order[best.length - 1]], 0);
        for (int place = 0; place < best.length; place++) {
            int d = order[place];
            float score = (float) (fused.totals()[d] + raised);
            RankDoc document = new RankDoc(keys.get(d).doc(), score, keys.get(d).shardIndex());
            document.rank = place + 1;
            best[place] = explain ? explained(document, d, raw, fused, raised) : document;
        }
        return best;
    }

    private RankDoc explained(RankDoc document, int d, List<Fusion.Leg> raw, Fusion.Fused fused, double raised) {
        return new CrosslensRankDoc(
            document,
            mean + " mean of scores scaled by " + normaliser + (raised > 0 ? ", raised by " + raised : ""),
            legs.stream().map(Leg::name).toArray(String[]::new),
            raw.stream().mapToDouble(leg -> leg.raw()[d]).toArray(),
            Arrays.stream(fused.normalised()).mapToDouble(leg -> leg[d]).toArray(),
            Arrays.stream(fused.weighted()).mapToDouble(leg -> leg[d]).toArray()
        );
    }

    private List<RankDoc.RankKey> keys() {
        Map<RankDoc.RankKey, Boolean> keys = new LinkedHashMap<>();
        scores.forEach(leg -> leg.keySet().forEach(key -> keys.put(key, true)));
        return List.copyOf(keys.keySet());
    }

    private void search(Client client, List<SearchSourceBuilder> searches, List<Leg> of, ActionListener<List<SearchResponse>> listener) {
        MultiSearchRequest request = new MultiSearchRequest();
        for (SearchSourceBuilder search : searches) {
            SearchRequest each = new SearchRequest().source(search);
            // Documents are known by their shard's number in the request, so shards must not be left out or reordered.
            each.setPreFilterShardSize(Integer.MAX_VALUE);
            each.allowPartialSearchResults(allowPartial);
            request.add(each);
        }
        client.multiSearch(request, listener.delegateFailureAndWrap((next, answers) -> {
            List<SearchResponse> responses = new ArrayList<>();
            for (int i = 0; i < answers.getResponses().length; i++) {
                MultiSearchResponse.Item item = answers.getResponses()[i];
                Exception failure = item.isFailure() ? item.getFailure() : failure(item.getResponse());
                if (failure != null) {
                    throw new ElasticsearchStatusException(
                        "[" + CrosslensRetrieverBuilder.NAME + "] the search of [" + of.get(i).name() + "] failed: "
                            + ExceptionsHelper.unwrapCause(failure).getMessage(),
                        ExceptionsHelper.status(failure),
                        failure
                    );
                }
                responses.add(item.getResponse());
            }
            next.onResponse(responses);
        }));
    }

    private Exception failure(SearchResponse response) {
        if (allowPartial || response.getFailedShards() == 0) {
            return null;
        }
        ShardSearchFailure[] failures = response.getShardFailures();
        return failures.length > 0
            ? new ElasticsearchStatusException(failures[0].reason(), failures[0].status())
            : new ElasticsearchStatusException("a shard did not answer", RestStatus.SERVICE_UNAVAILABLE);
    }

    private static RankDoc[] documents(SearchResponse response) {
        SearchHit[] hits = response.getHits().getHits();
        RankDoc[] documents = new RankDoc[hits.length];
        for (int i = 0; i < hits.length; i++) {
            Object[] sorts = hits[i].getRawSortValues();
            long place = (long) sorts[sorts.length - 1];
            documents[i] = new RankDoc(
                ShardDocSortField.decodeDoc(place),
                hits[i].getScore(),
                ShardDocSortField.decodeShardRequestIndex(place)
            );
            documents[i].rank = i + 1;
        }
        return documents;
    }

    private static RankDoc.RankKey key(RankDoc document) {
        return new RankDoc.RankKey(document.doc, document.shardIndex);
    }
}
