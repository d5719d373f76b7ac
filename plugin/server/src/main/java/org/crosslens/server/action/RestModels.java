package org.crosslens.server.action;

import java.io.IOException;
import java.util.List;
import org.crosslens.server.share.Body;
import org.crosslens.server.share.Sharing;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.common.bytes.ReleasableBytesReference;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.RestChannel;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.rest.action.RestBuilderListener;
import org.elasticsearch.rest.action.RestCancellableNodeClient;
import org.elasticsearch.xcontent.XContentBuilder;

/**
 * Handing models to all nodes: {@code PUT _crosslens/models/NAME} announces or publishes one, {@code PUT
 * _crosslens/models/NAME/parts/NUMBER} sends a part of it, {@code DELETE _crosslens/models/NAME} takes it away.
 */
public final class RestModels {

    private RestModels() {}

    /** All of them. */
    public static List<RestHandler> handlers() {
        return List.of(new Put(), new Delete());
    }

    private static final class Put extends BaseRestHandler {

        @Override
        public String getName() {
            return "crosslens_put_model";
        }

        @Override
        public List<Route> routes() {
            return List.of(
                new Route(RestRequest.Method.PUT, "/_crosslens/models/{name}"),
                new Route(RestRequest.Method.PUT, "/_crosslens/models/{name}/parts/{part}")
            );
        }

        @Override
        protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) {
            Integer part = request.hasParam("part") ? request.paramAsInt("part", 0) : null;
            ReleasableBytesReference content = request.requiredContent();
            ModelAction.Request put = new ModelAction.Request(
                request.param("name"),
                part,
                new Body(content, request.getXContentType()),
                part == null && request.paramAsBoolean("dry_run", false)
            );
            return channel -> {
                content.mustIncRef();
                new RestCancellableNodeClient(client, request.getHttpChannel()).execute(
                    ModelAction.PUT,
                    put,
                    ActionListener.runAfter(new Written(channel), content::decRef)
                );
            };
        }
    }

    private static final class Delete extends BaseRestHandler {

        @Override
        public String getName() {
            return "crosslens_delete_model";
        }

        @Override
        public List<Route> routes() {
            return List.of(new Route(RestRequest.Method.DELETE, "/_crosslens/models/{name}"));
        }

        @Override
        protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) {
            ModelAction.Request delete = new ModelAction.Request(request.param("name"), null, null, request.paramAsBoolean("dry_run", false));
            return channel -> new RestCancellableNodeClient(client, request.getHttpChannel()).execute(
                ModelAction.DELETE,
                delete,
                new Written(channel)
            );
        }
    }

    private static final class Written extends RestBuilderListener<ModelAction.Response> {

        Written(RestChannel channel) {
            super(channel);
        }

        @Override
        public RestResponse buildResponse(ModelAction.Response response, XContentBuilder builder) throws IOException {
            Sharing.Outcome outcome = response.outcome;
            builder.startObject().field("acknowledged", true);
            if (outcome != null) {
                builder.field("name", outcome.name()).field("fingerprint", outcome.fingerprint()).field("published", outcome.published());
                builder.field("parts", outcome.parts()).field("missing", outcome.missing()).startObject("nodes");
                for (var node : outcome.nodes().entrySet()) {
                    builder.startObject(node.getKey()).field("state", node.getValue().state());
                    if (node.getValue().reason() != null) {
                        builder.field("reason", node.getValue().reason());
                    }
                    builder.endObject();
                }
                builder.endObject();
            }
            return new RestResponse(RestStatus.OK, builder.endObject());
        }
    }
}
