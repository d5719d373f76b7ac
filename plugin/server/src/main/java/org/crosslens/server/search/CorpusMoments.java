package org.crosslens.server.search;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.logging.log4j.LogManager;
import org.apache.logging.log4j.Logger;
import org.crosslens.server.fusion.Fusion.Moments;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionRunnable;
import org.elasticsearch.action.ResolvedIndices;
import org.elasticsearch.action.search.SearchRequest;
import org.elasticsearch.action.support.IndicesOptions;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.client.internal.OriginSettingClient;
import org.elasticsearch.cluster.metadata.IndexMetadata;
import org.elasticsearch.common.cache.Cache;
import org.elasticsearch.common.cache.CacheBuilder;
import org.elasticsearch.index.query.QueryBuilders;
import org.elasticsearch.ingest.IngestService;
import org.elasticsearch.search.SearchHit;
import org.elasticsearch.search.builder.SearchSourceBuilder;

/**
 * Mean and covariance of a field's vectors, which the Python side gathers and keeps in the hidden index
 * {@code crosslens-moments}: what any query's cosine is over the whole corpus is q.m and sqrt(q' C q), exactly.
 *
 * <p>Entries are read with the rights of the node and not of the user, who needs none on that index: of it the user learns
 * nothing but what concerns the indices that the search may read anyway. An entry counts only if it has the UUID of such
 * an index and the model of its field, so that a new index doesn't inherit that of an old one with its name. As in Python,
 * every index that has the field must have an entry.
 */
final class CorpusMoments {

    private static final Logger LOG = LogManager.getLogger(CorpusMoments.class);
    private static final String INDEX = "crosslens-moments";
    /** As many results as a search has at most. */
    private static final int MOST = 10_000;
    /** Entries are read in parts of about so many bytes: one of 512 dims has 1.4 MB. */
    private static final long PART_BYTES = 16L << 20;
    private static final int BYTES_A_NUMBER = 6;

    /** An entry as it was written once; {@code home} is the UUID of the index that it lies in, which may be made anew. */
    private record Key(String home, String id, long term, long number) {}

    private static final Cache<Key, StoredMoments> CACHE = CacheBuilder.<Key, StoredMoments>builder()
        .weigher((key, stored) -> (long) Float.BYTES * stored.covariance().length)
        .setMaximumWeight(64L << 20)
        .build();

    /** The moments, or null where {@code lacking} names the indices that have none. */
    record Found(Moments moments, List<String> lacking) {}

    private final Client client;
    private final float[] query;
    // By id: the index, and what its entry must say.
    private final Map<String, IndexMetadata> indices = new LinkedHashMap<>();
    private final Map<String, VectorField> fields = new LinkedHashMap<>();
    private final Map<String, StoredMoments> found = new LinkedHashMap<>();
    private final TreeSet<String> lacking = new TreeSet<>();

    private CorpusMoments(Client client, float[] query) {
        // Security knows Elasticsearch's own origins only; by this one its ingest processors read hidden indices.
        this.client = new OriginSettingClient(client, IngestService.INGEST_ORIGIN);
        this.query = query;
    }

    /**
     * Answers with the moments of the cosine between {@code query} (unit) and all vectors of {@code field} in the
     * {@code searched} indices.
     */
    static void find(Client client, ResolvedIndices searched, String field, float[] query, ActionListener<Found> listener) {
        new CorpusMoments(client, query).find(searched, field, listener);
    }

    private void find(ResolvedIndices searched, String field, ActionListener<Found> listener) {
        if (searched != null) {
            for (IndexMetadata index : searched.getConcreteLocalIndicesMetadata().values()) {
                VectorField here = VectorField.of(field, index);
                if (here != null) {
                    String id = index.getIndex().getName() + "/" + here.path();
                    indices.put(id, index);
                    fields.put(id, here);
                }
            }
            // What another cluster keeps of its indices isn't read from here.
            searched.getRemoteClusterIndices()
                .forEach((cluster, named) -> List.of(named.indices()).forEach(name -> lacking.add(cluster + ":" + name)));
        }
        if (indices.isEmpty() || indices.size() > MOST || lacking.isEmpty() == false) {
            indices.values().forEach(index -> lacking.add(index.getIndex().getName()));
            listener.onResponse(new Found(null, List.copyOf(lacking)));
            return;
        }
        SearchSourceBuilder which = named(List.copyOf(indices.keySet())).fetchSource(new String[] { "uuid", "path", "fingerprint" }, null);
        client.search(request(which), listener.delegateFailureAndWrap((next, answer) -> {
            List<String> unread = new ArrayList<>();
            for (SearchHit hit : answer.getHits().getHits()) {
                if (isOf(hit)) {
                    StoredMoments known = CACHE.get(key(hit));
                    if (known == null) {
                        unread.add(hit.getId());
                    } else {
                        found.put(hit.getId(), known);
                    }
                }
            }
            read(unread, 0, next);
        }));
    }

    /** Reads the entries from {@code start} on, a part at a time, then answers. */
    private void read(List<String> ids, int start, ActionListener<Found> listener) {
        if (start >= ids.size()) {
            // A sum over dims * dims numbers for each index is not for a thread that others' requests need.
            client.threadPool().generic().execute(ActionRunnable.supply(listener, this::together));
            return;
        }
        int size = (int) Math.max(1, PART_BYTES / Math.max(1, BYTES_A_NUMBER * (long) query.length * query.length));
        int end = Math.min(start + size, ids.size());
        client.search(request(named(ids.subList(start, end))), listener.delegateFailureAndWrap((next, answer) -> {
            SearchHit[] hits = answer.getHits().getHits();
            for (SearchHit hit : hits) {
                if (isOf(hit)) {
                    keep(hit);
                }
            }
            read(ids, end, next);
        }));
    }

    private void keep(SearchHit hit) {
        try {
            StoredMoments stored = StoredMoments.read(hit.getSourceAsMap(), query.length);
            CACHE.put(key(hit), stored);
            found.put(hit.getId(), stored);
        } catch (IllegalArgumentException e) {
            LOG.warn("the corpus statistics [{}] in {} are damaged ({})", hit.getId(), INDEX, e.getMessage());
            lacking.add(indices.get(hit.getId()).getIndex().getName() + " (damaged)");
        }
    }

    /** Whether the entry is of the index that was searched, not of one that had its name, and of its present vectors. */
    private boolean isOf(SearchHit hit) {
        Map<String, Object> source = hit.getSourceAsMap();
        IndexMetadata index = indices.get(hit.getId());
        VectorField field = fields.get(hit.getId());
        return source != null
            && index != null
            && index.getIndexUUID().equals(source.get("uuid"))
            && field.path().equals(source.get("path"))
            && field.fingerprint() != null
            && field.fingerprint().equals(source.get("fingerprint"));
    }

    private Found together() {
        indices.forEach((id, index) -> {
            String name = index.getIndex().getName();
            if (found.containsKey(id) == false && lacking.contains(name + " (damaged)") == false) {
                lacking.add(name);
            }
        });
        Moments moments = lacking.isEmpty() ? StoredMoments.together(found.values(), query) : null;
        if (moments == null && lacking.isEmpty()) {
            indices.values().forEach(index -> lacking.add(index.getIndex().getName()));
        }
        return new Found(moments, List.copyOf(lacking));
    }

    private static SearchSourceBuilder named(List<String> ids) {
        return new SearchSourceBuilder().query(QueryBuilders.idsQuery().addIds(ids.toArray(String[]::new)))
            .size(ids.size())
            .trackTotalHits(false)
            .seqNoAndPrimaryTerm(true);
    }

    private static SearchRequest request(SearchSourceBuilder source) {
        return new SearchRequest(INDEX).source(source)
            .allowPartialSearchResults(false)
            .indicesOptions(IndicesOptions.LENIENT_EXPAND_OPEN_CLOSED_HIDDEN);
    }

    private static Key key(SearchHit hit) {
        return new Key(hit.getShard().getShardId().getIndex().getUUID(), hit.getId(), hit.getPrimaryTerm(), hit.getSeqNo());
    }
}
