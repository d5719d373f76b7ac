package org.crosslens.server.search;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.crosslens.server.fusion.Evidence;
import org.crosslens.server.fusion.Saying;
import org.crosslens.server.fusion.Sources;
import org.crosslens.server.words.Probes;
import org.crosslens.server.words.Queries;
import org.crosslens.server.words.TextFields;
import org.crosslens.server.words.Words;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ResolvedIndices;
import org.elasticsearch.action.search.MultiSearchResponse;
import org.elasticsearch.action.search.SearchResponse;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.index.query.BoolQueryBuilder;
import org.elasticsearch.index.query.QueryBuilder;
import org.elasticsearch.index.query.QueryBuilders;
import org.elasticsearch.search.SearchHit;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.search.fetch.StoredFieldsContext;
import org.elasticsearch.search.rank.RankDoc;
import org.elasticsearch.xcontent.XContentParserConfiguration;

/**
 * What a fusion by evidence needs besides the legs' windows, and asks for along with them: what the queries could get at
 * most, and which documents lack a vector; and which legs read the same.
 */
final class Witnesses {

    private static final String HAS = "crosslens has ";

    private final List<Leg> legs;
    private final int window;
    private final boolean explain;
    private final boolean spelling;
    private final XContentParserConfiguration configuration;
    private final TextFields fields;
    // By leg; the query's JSON is null for one that has none.
    private final List<Map<String, Object>> queries;
    private final String[] sources;
    // By leg, whether its query searches only captions.
    private final boolean[] spoken;
    private final List<Set<RankDoc.RankKey>> lacks = new ArrayList<>();
    private final double[] attainable;
    // By leg that has some.
    private final List<Asked> asked = new ArrayList<>();

    // By leg whose words were asked for in another spelling, scores by document.
    private final Map<Integer, Map<RankDoc.RankKey, Double>> respelt = new HashMap<>();
    private final Map<Integer, Double> attainableRespelt = new HashMap<>();

    private record Asked(int leg, Probes probes, List<QueryBuilder> searches) {}

    /** A leg in another spelling, and the words' best scores as they were typed. */
    private record Again(int leg, Probes.Respelt respelt, double[] typed) {}

    // To be asked again, since they have words that nobody wrote.
    private final List<Again> again = new ArrayList<>();

    Witnesses(List<Leg> legs, int window, boolean explain, boolean spelling, ResolvedIndices indices, XContentParserConfiguration configuration) {
        this.legs = legs;
        this.window = window;
        this.explain = explain;
        this.spelling = spelling;
        this.configuration = configuration;
        this.fields = TextFields.of(indices);
        this.queries = new ArrayList<>();
        this.attainable = new double[legs.size()];
        Arrays.fill(attainable, Double.NaN);
        List<Set<Sources.Read>> reads = new ArrayList<>();
        for (Leg leg : legs) {
            boolean queried = leg.kind() == Leg.Kind.QUERY && leg.source().query() != null;
            Map<String, Object> query = queried ? Queries.json(leg.source().query()) : null;
            queries.add(query);
            reads.add(queried ? fields.reads(Queries.fields(query)) : leg.kind() == Leg.Kind.KNN ? leg.field().reads() : Set.of());
            lacks.add(new HashSet<>());
        }
        this.spoken = new boolean[legs.size()];
        for (int i = 0; i < spoken.length; i++) {
            Set<Sources.Read> its = reads.get(i);
            spoken[i] = its.isEmpty() == false && its.stream().allMatch(each -> each.modality().equals(Sources.CAPTIONS));
        }
        List<String> chosen = legs.stream().map(leg -> leg.child().source()).toList();
        this.sources = Sources.assign(legs.stream().map(Leg::name).toList(), reads, chosen);
    }

    /** Finds the words of the queries, which must be known before {@link #probes}. */
    void prepare(Client client, ActionListener<Void> listener) {
        Words.probes(client, fields, queries, listener.delegateFailureAndWrap((next, found) -> {
            for (int i = 0; i < found.size(); i++) {
                Probes probes = found.get(i);
                List<QueryBuilder> searches = probes == null ? null : Queries.of(probes, legs.get(i).source().query(), configuration);
                if (searches != null) {
                    asked.add(new Asked(i, probes, searches));
                }
            }
            next.onResponse(null);
        }));
    }

    /** The search for the window of the leg {@code i}, which also shows what of the documents that it finds other legs lack. */
    SearchSourceBuilder window(int i) {
        SearchSourceBuilder source = legs.get(i).source();
        BoolQueryBuilder has = QueryBuilders.boolQuery().should(QueryBuilders.matchAllQuery());
        for (int other : siblings(i)) {
            Leg leg = legs.get(other);
            has.should(QueryBuilders.boolQuery().must(leg.field().hasValue(leg.knn().getField())).queryName(HAS + other));
        }
        if (has.should().size() == 1) {
            return source;
        }
        // It filters nothing: what of it a document meets comes back with the hit.
        QueryBuilder own = source.postFilter();
        return source.shallowCopy().postFilter(own == null ? has : QueryBuilders.boolQuery().filter(own).filter(has));
    }

    /** The vector legs of the same source: a document that lacks their vector isn't judged by them. All, if asked for. */
    private List<Integer> siblings(int i) {
        List<Integer> siblings = new ArrayList<>();
        for (int other = 0; other < legs.size(); other++) {
            boolean concerned = explain || sources[other].equals(sources[i]);
            if (other != i && legs.get(other).kind() == Leg.Kind.KNN && concerned) {
                siblings.add(other);
            }
        }
        return siblings;
    }

    /** Searches for one hit each, that show what the queries could get at most. */
    List<SearchSourceBuilder> probes() {
        List<SearchSourceBuilder> probes = new ArrayList<>();
        for (Asked each : asked) {
            for (QueryBuilder query : each.searches) {
                probes.add(forAScore(each.leg, query));
            }
        }
        return probes;
    }

    private SearchSourceBuilder forAScore(int leg, QueryBuilder query) {
        return new SearchSourceBuilder().pointInTimeBuilder(legs.get(leg).source().pointInTimeBuilder())
            .query(query)
            .size(1)
            .trackTotalHits(false)
            .fetchSource(false)
            .storedFields(new StoredFieldsContext(false));
    }

    /** Whether it was heard that a document has no vector for the leg {@code i}. */
    boolean lacks(int i, RankDoc.RankKey key) {
        return lacks.get(i).contains(key);
    }

    /** Hears the answer to the search for the window of the leg {@code i}. */
    void hear(int i, SearchResponse answer, RankDoc[] documents) {
        SearchHit[] hits = answer.getHits().getHits();
        for (int other : siblings(i)) {
            for (int d = 0; d < hits.length; d++) {
                if (List.of(hits[d].getMatchedQueries()).contains(HAS + other) == false) {
                    lacks.get(other).add(Trip.key(documents[d]));
                }
            }
        }
    }

    /**
     * Hears the answers to {@link #probes}, which stand in {@code answers} after those of the windows; what the legs
     * {@code found} are scores by document.
     */
    void hear(MultiSearchResponse.Item[] answers, List<Map<RankDoc.RankKey, Double>> found) {
        int at = legs.size();
        for (Asked each : asked) {
            double[] best = new double[each.searches.size()];
            boolean failed = false;
            for (int i = 0; i < best.length; i++) {
                MultiSearchResponse.Item item = answers[at++];
                // A word that can't be looked for alone leaves it unknown what the query could get.
                if (isFailed(item)) {
                    failed = true;
                    continue;
                }
                SearchHit[] hits = item.getResponse().getHits().getHits();
                best[i] = hits.length == 0 ? Double.NaN : hits[0].getScore();
            }
            double most = found.get(each.leg).values().stream().mapToDouble(score -> score).max().orElse(0);
            attainable[each.leg] = failed ? Double.NaN : each.probes.attainable(best, most);
            Probes.Respelt otherwise = failed || spelling == false ? null : each.probes.respelt(queries.get(each.leg), best);
            if (otherwise != null) {
                again.add(new Again(each.leg, otherwise, best));
            }
        }
    }

    /** Asks again, in another spelling, where a query has words that nobody wrote; answers when that is heard. */
    void respell(Client client, Trip trip, ActionListener<Void> listener) {
        if (again.isEmpty()) {
            listener.onResponse(null);
            return;
        }
        List<SearchSourceBuilder> searches = new ArrayList<>();
        for (Again each : again) {
            List<QueryBuilder> asking = Queries.of(each.respelt, configuration);
            searches.add(window(each.leg).shallowCopy().query(asking.get(0)));
            asking.subList(1, asking.size()).forEach(query -> searches.add(forAScore(each.leg, query)));
        }
        trip.ask(client, searches, listener.delegateFailureAndWrap((next, answers) -> {
            int at = 0;
            for (Again each : again) {
                int words = each.respelt.places().size();
                List<MultiSearchResponse.Item> said = List.of(answers).subList(at, at + 1 + words);
                at += 1 + words;
                // A spelling that can't be looked for leaves the query as it was typed.
                if (said.stream().anyMatch(Witnesses::isFailed)) {
                    continue;
                }
                SearchResponse answer = said.get(0).getResponse();
                double[] otherwise = new double[words];
                for (int i = 0; i < words; i++) {
                    SearchHit[] hits = said.get(1 + i).getResponse().getHits().getHits();
                    otherwise[i] = hits.length == 0 ? Double.NaN : hits[0].getScore();
                }
                double most = each.respelt.attainable(each.typed, otherwise);
                if (Double.isNaN(most) == false) {
                    RankDoc[] documents = Trip.documents(answer);
                    Map<RankDoc.RankKey, Double> found = new LinkedHashMap<>();
                    for (RankDoc document : documents) {
                        found.put(Trip.key(document), (double) document.score);
                    }
                    respelt.put(each.leg, found);
                    attainableRespelt.put(each.leg, most);
                    hear(each.leg, answer, documents);
                }
            }
            next.onResponse(null);
        }));
    }

    private static boolean isFailed(MultiSearchResponse.Item item) {
        return item.isFailure() || item.getResponse().getFailedShards() > 0;
    }

    /** Documents that only another spelling found, among others. */
    Set<RankDoc.RankKey> respelt() {
        Set<RankDoc.RankKey> keys = new LinkedHashSet<>();
        respelt.values().forEach(found -> keys.addAll(found.keySet()));
        return keys;
    }

    private Evidence.Respelt respelt(int leg, List<RankDoc.RankKey> keys) {
        Map<RankDoc.RankKey, Double> found = respelt.get(leg);
        if (found == null) {
            return null;
        }
        double[] scores = keys.stream().mapToDouble(key -> found.getOrDefault(key, Double.NaN)).toArray();
        return new Evidence.Respelt(scores, attainableRespelt.get(leg));
    }

    /** Fuses what the legs found by themselves, by leg and document. */
    Evidence.Fused fuse(List<RankDoc.RankKey> keys, double[][] found) {
        List<Evidence.Leg> heard = new ArrayList<>();
        for (int i = 0; i < legs.size(); i++) {
            Leg leg = legs.get(i);
            boolean[] lacking = new boolean[keys.size()];
            for (int d = 0; d < lacking.length; d++) {
                lacking[d] = lacks.get(i).contains(keys.get(d));
            }
            Double weight = leg.child().weight();
            heard.add(
                new Evidence.Leg(
                    sources[i],
                    weight == null ? Double.NaN : weight,
                    found[i],
                    leg.floor(),
                    window,
                    attainable[i],
                    lacking,
                    respelt(i, keys)
                )
            );
        }
        return Evidence.fuse(heard);
    }

    /** In words, how each leg judges the document {@code d}, which is known as {@code key}. */
    String[] said(Evidence.Fused fused, int d, RankDoc.RankKey key) {
        String[] said = new String[legs.size()];
        for (int i = 0; i < said.length; i++) {
            double chance = fused.chance()[i][d];
            said[i] = switch (legs.get(i).kind()) {
                case QUERY -> spoken[i]
                    ? Saying.ofCaptions(chance, fused.covered()[i][d], fused.respelt()[i][d])
                    : Saying.ofWords(chance, fused.covered()[i][d], fused.respelt()[i][d]);
                case KNN -> Saying.ofVectors(legs.get(i).field().noun(), chance, lacks.get(i).contains(key), window);
                case FUSED -> Saying.ofRanking(chance, window);
            };
        }
        return said;
    }
}
