package org.crosslens.server.search;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.crosslens.server.fusion.Fusion.Moments;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.search.SearchRequest;
import org.elasticsearch.action.support.IndicesOptions;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.common.cache.Cache;
import org.elasticsearch.common.cache.CacheBuilder;
import org.elasticsearch.index.query.QueryBuilders;
import org.elasticsearch.search.SearchHit;
import org.elasticsearch.search.builder.SearchSourceBuilder;

/**
 * Mean and covariance of a field's vectors, which the Python side gathers and keeps in the hidden index
 * {@code crosslens-moments}: what any query's cosine is over the whole corpus is q.m and sqrt(q' C q), exactly.
 */
final class CorpusMoments {

    private static final String INDEX = "crosslens-moments";
    private static final int MOST = 1_000;

    /** Of {@code count} vectors; {@code covariance} row after row. */
    private record Stored(long count, double[] mean, double[] covariance) {}

    private record Key(String id, long term, long number) {}

    // A covariance of 512 dims is 2 MB as doubles.
    private static final Cache<Key, Stored> CACHE = CacheBuilder.<Key, Stored>builder()
        .weigher((key, stored) -> 8L * stored.covariance.length)
        .setMaximumWeight(64L << 20)
        .build();

    private CorpusMoments() {}

    /**
     * Answers with the moments of the cosine between {@code query} (unit) and all vectors of {@code field} in the
     * indices, or with null where none are kept.
     */
    static void find(Client client, Collection<String> indices, VectorField field, float[] query, ActionListener<Moments> listener) {
        var filter = QueryBuilders.boolQuery()
            .filter(QueryBuilders.termsQuery("index", indices))
            .filter(QueryBuilders.termQuery("path", field.path()));
        if (field.fingerprint() != null) {
            filter.filter(QueryBuilders.termQuery("fingerprint", field.fingerprint()));
        }
        SearchSourceBuilder which = new SearchSourceBuilder().query(filter).size(MOST).fetchSource(false).seqNoAndPrimaryTerm(true);
        client.search(request(which), listener.delegateFailureAndWrap((next, answer) -> {
            Map<Key, Stored> found = new LinkedHashMap<>();
            List<String> missing = new ArrayList<>();
            for (SearchHit hit : answer.getHits().getHits()) {
                Key key = key(hit);
                Stored stored = CACHE.get(key);
                found.put(key, stored);
                if (stored == null) {
                    missing.add(hit.getId());
                }
            }
            if (missing.isEmpty()) {
                next.onResponse(together(found.values(), query));
                return;
            }
            SearchSourceBuilder whole = new SearchSourceBuilder().query(QueryBuilders.idsQuery().addIds(missing.toArray(String[]::new)))
                .size(missing.size())
                .seqNoAndPrimaryTerm(true);
            client.search(request(whole), next.delegateFailureAndWrap((last, documents) -> {
                for (SearchHit hit : documents.getHits().getHits()) {
                    Stored stored = stored(hit.getSourceAsMap());
                    CACHE.put(key(hit), stored);
                    // One that was written meanwhile takes the place of what the first search saw.
                    found.keySet().removeIf(known -> known.id.equals(hit.getId()));
                    found.put(key(hit), stored);
                }
                found.values().removeIf(stored -> stored == null);
                last.onResponse(together(found.values(), query));
            }));
        }));
    }

    private static SearchRequest request(SearchSourceBuilder source) {
        return new SearchRequest(INDEX).source(source).indicesOptions(IndicesOptions.LENIENT_EXPAND_OPEN_CLOSED_HIDDEN);
    }

    private static Key key(SearchHit hit) {
        return new Key(hit.getId(), hit.getPrimaryTerm(), hit.getSeqNo());
    }

    private static Stored stored(Map<String, Object> source) {
        return new Stored(((Number) source.get("count")).longValue(), floats(source.get("mean")), floats(source.get("covariance")));
    }

    private static double[] floats(Object base64) {
        FloatBuffer packed = ByteBuffer.wrap(Base64.getDecoder().decode((String) base64))
            .order(ByteOrder.LITTLE_ENDIAN)
            .asFloatBuffer();
        double[] values = new double[packed.remaining()];
        for (int i = 0; i < values.length; i++) {
            values[i] = packed.get(i);
        }
        return values;
    }

    /** Of several indices: the moments of a mixture, from each one's mean and variance. */
    private static Moments together(Collection<Stored> parts, float[] query) {
        double count = 0, mean = 0, square = 0;
        for (Stored part : parts) {
            int dims = query.length;
            if (part.mean.length != dims) {
                throw new IllegalArgumentException(
                    "the query vector has " + dims + " dims and the moments kept for its field " + part.mean.length
                        + "; gather them again with: crosslens calibrate"
                );
            }
            double m = 0, variance = 0;
            for (int i = 0; i < dims; i++) {
                m += query[i] * part.mean[i];
                double row = 0;
                for (int j = 0; j < dims; j++) {
                    row += part.covariance[i * dims + j] * query[j];
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
