package org.crosslens.server.hybrid;

import java.io.IOException;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.search.MultiSearchResponse;
import org.elasticsearch.action.search.SearchResponse;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.RestChannel;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.rest.action.RestActionListener;
import org.elasticsearch.rest.action.RestCancellableNodeClient;
import org.elasticsearch.rest.action.search.RestSearchAction;
import org.elasticsearch.xcontent.ToXContent;
import org.elasticsearch.xcontent.XContentBuilder;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xcontent.XContentParserConfiguration;

/**
 * {@code POST _crosslens/search}: what {@link Asked} reads, answered by the windows as arrays, with what is shown or with the
 * names of all that was found. {@code GET _crosslens/search} says that there is this request, and in which form. Both are
 * the Python package's; they may change with {@link #FORM}.
 */
public final class RestHybrid extends BaseRestHandler {

    /** Raised where a request or an answer of before would be misunderstood. */
    static final int FORM = 1;

    @Override
    public String getName() {
        return "crosslens_search";
    }

    @Override
    public List<Route> routes() {
        return List.of(
            new Route(RestRequest.Method.GET, "/_crosslens/search"),
            new Route(RestRequest.Method.POST, "/_crosslens/search")
        );
    }

    @Override
    protected Set<String> responseParams() {
        return Set.of(RestSearchAction.INCLUDE_NAMED_QUERIES_SCORE_PARAM, RestSearchAction.TYPED_KEYS_PARAM);
    }

    @Override
    protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) throws IOException {
        if (request.method() == RestRequest.Method.GET) {
            return channel -> channel.sendResponse(
                new RestResponse(RestStatus.OK, channel.newBuilder().startObject().field("form", FORM).endObject())
            );
        }
        Asked asked;
        try (XContentParser parser = request.contentParser()) {
            asked = Asked.parse(parser);
        }
        XContentParserConfiguration configuration = request.contentParserConfig();
        return channel -> new Run(asked, new RestCancellableNodeClient(client, request.getHttpChannel()), client, configuration).start(
            (first, found, chosen, later) -> channel.sendResponse(
                new RestResponse(RestStatus.OK, write(asked, first, found, chosen, later, channel.newBuilder(), request))
            ),
            failing(channel)
        );
    }

    /** Sends what failed; what is found is sent where it is read. */
    private static ActionListener<Void> failing(RestChannel channel) {
        return new RestActionListener<>(channel) {
            @Override
            protected void processResponse(Void ignored) {}
        };
    }

    private static XContentBuilder write(
        Asked asked,
        MultiSearchResponse first,
        Found found,
        List<Long> chosen,
        MultiSearchResponse later,
        XContentBuilder builder,
        ToXContent.Params params
    ) throws IOException {
        MultiSearchResponse.Item[] items = first.getResponses();
        builder.startObject().startArray("windows");
        for (int i = 0; i < asked.windows.size(); i++) {
            if (found == null) {
                write(items[i], builder, params);
            } else {
                write(asked, items[i].getResponse(), found.window(i), builder, params);
            }
        }
        builder.endArray().startArray("probes");
        for (int i = asked.windows.size(); found != null && i < items.length; i++) {
            write(items[i], builder, params);
        }
        builder.endArray();
        if (found != null) {
            builder.startArray(chosen == null ? "named" : "shown");
            for (MultiSearchResponse.Item item : later == null ? new MultiSearchResponse.Item[0] : later.getResponses()) {
                write(item, builder, params);
            }
            builder.endArray();
        }
        return builder.endObject();
    }

    /** As {@code _msearch} answers. */
    private static void write(MultiSearchResponse.Item item, XContentBuilder builder, ToXContent.Params params) throws IOException {
        for (Iterator<? extends ToXContent> parts = item.toXContentChunked(params); parts.hasNext();) {
            parts.next().toXContent(builder, params);
        }
    }

    private static void write(Asked asked, SearchResponse answer, Found.Window window, XContentBuilder builder, ToXContent.Params params)
        throws IOException {
        builder.startObject().field("took", answer.getTook().millis());
        builder.field("places", window.places()).startArray("scores");
        for (float score : window.scores()) {
            builder.value(score);
        }
        builder.endArray().startObject("lacks");
        for (Map.Entry<Integer, List<Integer>> each : window.lacks().entrySet()) {
            builder.field(asked.legs.get(each.getKey()).name(), each.getValue());
        }
        builder.endObject();
        if (answer.hasAggregations()) {
            answer.getAggregations().toXContent(builder, params);
        }
        builder.endObject();
    }
}
