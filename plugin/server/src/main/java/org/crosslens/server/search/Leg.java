package org.crosslens.server.search;

import java.util.ArrayList;
import java.util.List;
import org.crosslens.server.search.CrosslensRetrieverBuilder.Child;
import org.elasticsearch.action.ResolvedIndices;
import org.elasticsearch.index.query.BoolQueryBuilder;
import org.elasticsearch.index.query.QueryBuilder;
import org.elasticsearch.index.query.RankDocsQueryBuilder;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.search.fetch.StoredFieldsContext;
import org.elasticsearch.search.rank.RankDoc;
import org.elasticsearch.search.retriever.RankDocsRetrieverBuilder;
import org.elasticsearch.search.retriever.RetrieverBuilder;
import org.elasticsearch.search.sort.FieldSortBuilder;
import org.elasticsearch.search.sort.ScoreSortBuilder;
import org.elasticsearch.search.vectors.KnnSearchBuilder;
import org.elasticsearch.search.vectors.RescoreVectorBuilder;

/** One ranked list of a hybrid search: a child retriever, its search, and how its {@code _score} reads. */
record Leg(String name, RetrieverBuilder retriever, SearchSourceBuilder source, Child child, Kind kind, VectorField field) {

    /** Elasticsearch's own limit of num_candidates. */
    private static final int MOST_CANDIDATES = 10_000;
    // How many documents a completion names at a time: less than a search returns at most, and fewer where several
    // vectors a document fill the candidates sooner.
    private static final int PART = 5_000;
    private static final int NESTED_PART = 250;

    enum Kind {
        /** A query, whose score every document has: 0 where it doesn't match. */
        QUERY,
        /** A kNN search, whose score every document with a vector has. */
        KNN,
        /** Anything else, such as another fusion: only what it found has a score. */
        FUSED
    }

    static Leg of(int i, RetrieverBuilder retriever, SearchSourceBuilder source, Child child, ResolvedIndices indices) {
        String name = child.name() != null ? child.name() : retriever.retrieverName() != null ? retriever.retrieverName() : "retriever " + i;
        if (source.sorts() != null && source.sorts().get(0) instanceof ScoreSortBuilder == false) {
            throw new IllegalArgumentException("[" + name + "] sorts by something else than its score, which is what is fused");
        }
        List<KnnSearchBuilder> knn = source.knnSearch();
        boolean fused = retriever.isCompound() || retriever instanceof RankDocsRetrieverBuilder;
        if (fused == false && knn.size() == 1 && source.query() == null) {
            return new Leg(name, retriever, source, child, Kind.KNN, VectorField.of(knn.get(0).getField(), indices));
        }
        if (fused == false && knn.isEmpty() && source.query() instanceof RankDocsQueryBuilder == false) {
            return new Leg(name, retriever, source, child, Kind.QUERY, null);
        }
        return new Leg(name, retriever, source, child, Kind.FUSED, null);
    }

    double raw(double score) {
        return kind == Kind.KNN ? field.raw(score) : score;
    }

    double floor() {
        return kind == Kind.KNN ? field.floor() : 0;
    }

    KnnSearchBuilder knn() {
        return source.knnSearch().get(0);
    }

    /** Whether the scores of what it found are right already: a quantised field is compared roughly unless rescored. */
    boolean isExact() {
        return kind != Kind.KNN || field.quantised() == false || knn().getRescoreVectorBuilder() != null;
    }

    /** Whether what it didn't find among {@code found} documents of a window of {@code window} doesn't match at all. */
    boolean isExhausted(int found, int window) {
        return kind == Kind.QUERY && found < window && source.terminateAfter() == 0 && source.searchAfter() == null;
    }

    /**
     * Searches for the scores of exactly the documents named, whether the leg found them or not.
     *
     * <p>BM25 scores are those of the whole search, since a query among {@code should} scores as it does alone, and what
     * decides them (document frequencies, lengths) doesn't depend on a filter. With as many candidates as documents a
     * filtered kNN search compares all of them. The leg's own filters hold.
     */
    List<SearchSourceBuilder> completions(List<RankDoc> documents) {
        List<SearchSourceBuilder> searches = new ArrayList<>();
        int size = kind == Kind.KNN && field.nested() ? NESTED_PART : PART;
        for (int start = 0; start < documents.size(); start += size) {
            RankDoc[] part = documents.subList(start, Math.min(start + size, documents.size())).toArray(RankDoc[]::new);
            QueryBuilder named = new RankDocsQueryBuilder(part, null, true);
            SearchSourceBuilder search = new SearchSourceBuilder().pointInTimeBuilder(source.pointInTimeBuilder())
                .trackTotalHits(false)
                .storedFields(new StoredFieldsContext(false))
                .sort(List.of(new ScoreSortBuilder(), new FieldSortBuilder(FieldSortBuilder.SHARD_DOC_FIELD_NAME)))
                .size(part.length);
            search.skipInnerHits(true);
            if (source.minScore() != null) {
                search.minScore(source.minScore());
            }
            if (kind == Kind.QUERY) {
                BoolQueryBuilder query = new BoolQueryBuilder().filter(named);
                searches.add(search.query(source.query() == null ? query : query.should(source.query())));
                continue;
            }
            List<QueryBuilder> filters = new ArrayList<>(knn().getFilterQueries());
            filters.add(named);
            KnnSearchBuilder completion = new KnnSearchBuilder.Builder().field(knn().getField())
                .queryVector(knn().getQueryVector())
                .k(part.length)
                .numCandidates(field.nested() ? MOST_CANDIDATES : part.length)
                .rescoreVectorBuilder(field.quantised() ? new RescoreVectorBuilder(1.0f) : null)
                .build(part.length)
                .addFilterQueries(filters)
                .boost(knn().boost());
            searches.add(search.knnSearch(List.of(completion)));
        }
        return searches;
    }
}
