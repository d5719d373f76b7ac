package org.crosslens.server.hybrid;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.search.ClosePointInTimeRequest;
import org.elasticsearch.action.search.MultiSearchRequest;
import org.elasticsearch.action.search.MultiSearchResponse;
import org.elasticsearch.action.search.OpenPointInTimeRequest;
import org.elasticsearch.action.search.SearchRequest;
import org.elasticsearch.action.search.SearchResponse;
import org.elasticsearch.action.search.TransportClosePointInTimeAction;
import org.elasticsearch.action.search.TransportOpenPointInTimeAction;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.common.bytes.BytesReference;
import org.elasticsearch.core.RefCounted;
import org.elasticsearch.core.TimeValue;
import org.elasticsearch.search.builder.PointInTimeBuilder;
import org.elasticsearch.search.builder.SearchSourceBuilder;
import org.elasticsearch.search.fetch.StoredFieldsContext;
import org.elasticsearch.search.sort.FieldSortBuilder;
import org.elasticsearch.search.sort.ScoreSortBuilder;
import org.elasticsearch.xcontent.XContentParserConfiguration;

/**
 * One client's search: the windows without documents' ids, which are costly to read where documents are long; then either
 * what is shown, or the names of all documents found, all in one point in time.
 */
final class Run {

    private static final TimeValue KEEP_ALIVE = TimeValue.timeValueMinutes(1);
    // How many documents a search names at most: less than it may return.
    private static final int PART = 5_000;

    /** Sends what is answered; what it is given is released afterwards. */
    interface Answering {

        /** {@code later} are the answers of what is shown or, where {@code chosen} is null, of names; null: none. */
        void answer(MultiSearchResponse first, Found found, List<Long> chosen, MultiSearchResponse later) throws IOException;
    }

    private final Asked asked;
    // The one ends with its request; the other closes what was opened, whatever became of that.
    private final Client client;
    private final Client closing;
    private final XContentParserConfiguration configuration;

    Run(Asked asked, Client client, Client closing, XContentParserConfiguration configuration) {
        this.asked = asked;
        this.client = client;
        this.closing = closing;
        this.configuration = configuration;
    }

    /** Hears of failures, and of the end. */
    void start(Answering answering, ActionListener<Void> listener) {
        if (asked.pit != null) {
            search(asked.pit, answering, listener);
            return;
        }
        OpenPointInTimeRequest open = new OpenPointInTimeRequest(asked.indices()).keepAlive(KEEP_ALIVE)
            .indicesOptions(SearchRequest.DEFAULT_INDICES_OPTIONS);
        client.execute(TransportOpenPointInTimeAction.TYPE, open, listener.delegateFailureAndWrap((next, opened) -> {
            BytesReference id = opened.getPointInTimeId();
            search(new PointInTimeBuilder(id).setKeepAlive(KEEP_ALIVE), answering, ActionListener.runAfter(next, () -> close(id)));
        }));
    }

    private void close(BytesReference id) {
        // Where that fails, it ends by itself.
        closing.execute(TransportClosePointInTimeAction.TYPE, new ClosePointInTimeRequest(id), ActionListener.noop());
    }

    private void search(PointInTimeBuilder pit, Answering answering, ActionListener<Void> listener) {
        List<SearchSourceBuilder> first = new ArrayList<>();
        asked.windows.forEach(window -> first.add(bare(window).skipInnerHits(true)));
        first.addAll(asked.probes);
        ask(pit, first, listener.delegateFailureAndWrap((next, answers) -> {
            List<SearchResponse> windows = new ArrayList<>();
            for (MultiSearchResponse.Item item : Arrays.copyOf(answers.getResponses(), asked.windows.size())) {
                if (item.isFailure() || item.getResponse().getFailedShards() > 0) {
                    answering.answer(answers, null, null, null);
                    next.onResponse(null);
                    return;
                }
                windows.add(item.getResponse());
            }
            Found found = new Found(asked, windows);
            List<Long> chosen = found.chosen(answers.getResponses());
            List<SearchSourceBuilder> later = chosen == null ? names(found.places()) : shown(chosen);
            if (later.isEmpty()) {
                answering.answer(answers, found, chosen, null);
                next.onResponse(null);
                return;
            }
            answers.mustIncRef();
            ActionListener<Void> released = ActionListener.runAfter(next, ((RefCounted) answers)::decRef);
            ask(pit, later, released.delegateFailureAndWrap((then, more) -> {
                answering.answer(answers, found, chosen, more);
                then.onResponse(null);
            }));
        }));
    }

    private List<SearchSourceBuilder> shown(List<Long> chosen) throws IOException {
        List<SearchSourceBuilder> searches = new ArrayList<>();
        if (chosen.isEmpty() == false) {
            for (BytesReference body : asked.shown.searches()) {
                searches.add(placed(Chosen.read(body, chosen, configuration)));
            }
        }
        return searches;
    }

    private static List<SearchSourceBuilder> names(List<Long> places) {
        List<SearchSourceBuilder> searches = new ArrayList<>();
        for (int start = 0; start < places.size(); start += PART) {
            List<Long> part = places.subList(start, Math.min(start + PART, places.size()));
            searches.add(
                placed(new SearchSourceBuilder().query(Chosen.query(part)).size(part.size()).fetchSource(false).trackTotalHits(false))
            );
        }
        return searches;
    }

    private static SearchSourceBuilder bare(SearchSourceBuilder source) {
        return placed(source).fetchSource(false).storedFields(new StoredFieldsContext(false));
    }

    /** With each hit's place at the end of what it is sorted by. */
    private static SearchSourceBuilder placed(SearchSourceBuilder source) {
        return source.sort(List.of(new ScoreSortBuilder(), new FieldSortBuilder(FieldSortBuilder.SHARD_DOC_FIELD_NAME)));
    }

    private void ask(PointInTimeBuilder pit, List<SearchSourceBuilder> searches, ActionListener<MultiSearchResponse> listener) {
        MultiSearchRequest request = new MultiSearchRequest();
        for (SearchSourceBuilder search : searches) {
            SearchRequest each = new SearchRequest().source(search.pointInTimeBuilder(pit));
            // Places have the shard's number in the request, so shards must not be left out or reordered.
            each.setPreFilterShardSize(Integer.MAX_VALUE);
            each.allowPartialSearchResults(true);
            request.add(each);
        }
        client.multiSearch(request, listener);
    }
}
