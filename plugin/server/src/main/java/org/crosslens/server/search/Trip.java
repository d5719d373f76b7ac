package org.crosslens.server.search;

import java.util.List;
import org.elasticsearch.ElasticsearchStatusException;
import org.elasticsearch.ExceptionsHelper;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.search.MultiSearchRequest;
import org.elasticsearch.action.search.MultiSearchResponse;
import org.elasticsearch.action.search.SearchRequest;
import org.elasticsearch.action.search.SearchResponse;
import org.elasticsearch.action.search.ShardSearchFailure;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.search.SearchHit;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.search.rank.RankDoc;
import org.elasticsearch.search.sort.ShardDocSortField;

/** Several searches in one round trip, and reading their answers. */
record Trip(boolean allowPartial) {

    void ask(Client client, List<SearchSourceBuilder> searches, ActionListener<MultiSearchResponse.Item[]> listener) {
        MultiSearchRequest request = new MultiSearchRequest();
        for (SearchSourceBuilder search : searches) {
            SearchRequest each = new SearchRequest().source(search);
            // Documents are known by their shard's number in the request, so shards must not be left out or reordered.
            each.setPreFilterShardSize(Integer.MAX_VALUE);
            each.allowPartialSearchResults(allowPartial);
            request.add(each);
        }
        client.multiSearch(request, listener.delegateFailureAndWrap((next, answers) -> next.onResponse(answers.getResponses())));
    }

    /** The answer to the search of the leg {@code name}. Throws {@link ElasticsearchStatusException} where it failed. */
    SearchResponse answer(MultiSearchResponse.Item item, String name) {
        Exception failure = item.isFailure() ? item.getFailure() : failure(item.getResponse());
        if (failure != null) {
            throw new ElasticsearchStatusException(
                "[" + CrosslensRetrieverBuilder.NAME + "] the search of [" + name + "] failed: "
                    + ExceptionsHelper.unwrapCause(failure).getMessage(),
                ExceptionsHelper.status(failure),
                failure
            );
        }
        return item.getResponse();
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

    /** What the answer to a leg's search found, best first. */
    static RankDoc[] documents(SearchResponse response) {
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

    static RankDoc.RankKey key(RankDoc document) {
        return new RankDoc.RankKey(document.doc, document.shardIndex);
    }
}
