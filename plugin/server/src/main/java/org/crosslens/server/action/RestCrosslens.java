package org.crosslens.server.action;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Supplier;
import org.crosslens.server.encode.Prompts;
import org.crosslens.server.work.Encoding;
import org.crosslens.server.work.Input;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionType;
import org.elasticsearch.action.FailedNodeException;
import org.elasticsearch.action.support.ContextPreservingActionListener;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.common.bytes.ReleasableBytesReference;
import org.elasticsearch.common.xcontent.XContentHelper;
import org.elasticsearch.core.Releasable;
import org.elasticsearch.core.Releasables;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.RestChannel;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.rest.action.RestActionListener;
import org.elasticsearch.rest.action.RestBuilderListener;
import org.elasticsearch.rest.action.RestCancellableNodeClient;
import org.elasticsearch.rest.action.RestResponseListener;
import org.elasticsearch.xcontent.ObjectParser;
import org.elasticsearch.xcontent.ParseField;
import org.elasticsearch.xcontent.XContentBuilder;
import org.elasticsearch.xcontent.XContentParser;
import org.elasticsearch.xcontent.XContentParserConfiguration;
import org.elasticsearch.xcontent.XContentType;

/** The plugin's own endpoints under {@code _crosslens}. */
public final class RestCrosslens {

    private RestCrosslens() {}

    /** All of them. */
    public static List<RestHandler> handlers(Supplier<Encoding> encoding) {
        return List.of(new Info("models", InfoAction.MODELS), new Info("stats", InfoAction.STATS), new Metrics(), new Encode(encoding));
    }

    /** {@code GET _crosslens/models} and {@code GET _crosslens/stats}: what each node says. */
    private static final class Info extends BaseRestHandler {

        private final String path;
        private final ActionType<InfoAction.Response> action;

        Info(String path, ActionType<InfoAction.Response> action) {
            this.path = path;
            this.action = action;
        }

        @Override
        public String getName() {
            return "crosslens_" + path;
        }

        @Override
        public List<Route> routes() {
            return List.of(new Route(RestRequest.Method.GET, "/_crosslens/" + path));
        }

        @Override
        protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) {
            if (action == InfoAction.STATS && "prometheus".equals(request.param("format"))) {
                return Metrics.answered(client);
            }
            return channel -> client.execute(action, new InfoAction.Request(), new RestBuilderListener<>(channel) {
                @Override
                public RestResponse buildResponse(InfoAction.Response response, XContentBuilder builder) throws IOException {
                    return new RestResponse(RestStatus.OK, write(response, builder));
                }
            });
        }

        private static XContentBuilder write(InfoAction.Response response, XContentBuilder builder) throws IOException {
            builder.startObject().field("cluster_name", response.getClusterName().value()).startObject("nodes");
            for (InfoAction.NodeResponse node : response.getNodes()) {
                builder.startObject(node.getNode().getId()).field("name", node.getNode().getName());
                for (Map.Entry<String, Object> entry : node.answer.entrySet()) {
                    builder.field(entry.getKey(), entry.getValue());
                }
                builder.endObject();
            }
            builder.endObject().startArray("failures");
            for (FailedNodeException failure : response.failures()) {
                builder.startObject().field("node", failure.nodeId()).field("reason", failure.getMessage()).endObject();
            }
            return builder.endArray().endObject();
        }
    }

    /** {@code GET _crosslens/metrics}, and the statistics with {@code format=prometheus}: as Prometheus reads them. */
    private static final class Metrics extends BaseRestHandler {

        @Override
        public String getName() {
            return "crosslens_metrics";
        }

        @Override
        public List<Route> routes() {
            return List.of(new Route(RestRequest.Method.GET, "/_crosslens/metrics"));
        }

        @Override
        protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) {
            return answered(client);
        }

        static RestChannelConsumer answered(NodeClient client) {
            return channel -> client.execute(InfoAction.STATS, new InfoAction.Request(), new RestResponseListener<>(channel) {
                @Override
                public RestResponse buildResponse(InfoAction.Response response) {
                    String text = Prometheus.text(response.getNodes(), response.failures().size());
                    return new RestResponse(RestStatus.OK, Prometheus.CONTENT_TYPE, text);
                }
            });
        }
    }

    /**
     * {@code POST _crosslens/encode}: {@code {"model": "NAME", "texts": [...], "images": ["BASE64", ...]}} to
     * {@code {"model": {...}, "vectors": [[...], ...]}}, texts first. With {@code "packed": true} a vector is base64 of
     * little-endian float32; with {@code "bulk": true} more is done in all, and
     * each answer takes longer. A model with prompts puts the one for passages
     * before each text or, with {@code "role": "query"}, the one for queries.
     */
    private static final class Encode extends BaseRestHandler {

        /** What a request says. */
        private static final class Body {

            String model;
            List<String> texts = List.of();
            List<String> images = List.of();
            boolean packed;
            boolean bulk;
            Prompts.Role role = Prompts.Role.PASSAGE;
        }

        /** What parsing takes of memory, by the body's length: strings, while the parser grows them. */
        private static final long TIMES_IN_MEMORY = 3;
        private static final ObjectParser<Body, Void> PARSER = new ObjectParser<>("crosslens_encode", Body::new);

        static {
            PARSER.declareStringOrNull((body, model) -> body.model = model, new ParseField("model"));
            ObjectParser.ValueType several = ObjectParser.ValueType.STRING_ARRAY;
            PARSER.declareField((body, texts) -> body.texts = texts, (parser, ignored) -> strings(parser), new ParseField("texts"), several);
            PARSER.declareField((body, images) -> body.images = images, (parser, ignored) -> strings(parser), new ParseField("images"), several);
            PARSER.declareBoolean((body, packed) -> body.packed = packed, new ParseField("packed"));
            PARSER.declareBoolean((body, bulk) -> body.bulk = bulk, new ParseField("bulk"));
            PARSER.declareString((body, role) -> body.role = role(role), new ParseField("role"));
        }

        private static Prompts.Role role(String name) {
            for (Prompts.Role role : Prompts.Role.values()) {
                if (role.name().toLowerCase(Locale.ROOT).equals(name)) {
                    return role;
                }
            }
            throw new IllegalArgumentException("[role] must be passage or query, not [" + name + "]");
        }

        /** Several strings, or one. Many short ones would take far more memory than the body that holds them. */
        private static List<String> strings(XContentParser parser) throws IOException {
            if (parser.currentToken() != XContentParser.Token.START_ARRAY) {
                return List.of(parser.text());
            }
            List<String> strings = new ArrayList<>();
            while (parser.nextToken() != XContentParser.Token.END_ARRAY) {
                if (parser.currentToken() != XContentParser.Token.VALUE_STRING) {
                    throw new IllegalArgumentException("[" + parser.currentName() + "] must hold strings");
                }
                if (strings.size() == Encoding.MOST_INPUTS) {
                    throw new IllegalArgumentException(
                        "a request may have " + Encoding.MOST_INPUTS + " inputs encoded; send several requests"
                    );
                }
                strings.add(parser.text());
            }
            return strings;
        }

        private final Supplier<Encoding> encoding;

        Encode(Supplier<Encoding> encoding) {
            this.encoding = encoding;
        }

        @Override
        public String getName() {
            return "crosslens_encode";
        }

        @Override
        public List<Route> routes() {
            return List.of(new Route(RestRequest.Method.POST, "/_crosslens/encode"));
        }

        @Override
        protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) {
            ReleasableBytesReference content = request.requiredContent();
            XContentType type = request.getXContentType();
            XContentParserConfiguration configuration = request.contentParserConfig();
            return channel -> {
                // Read by the plugin's own threads, since it may be many megabytes.
                content.mustIncRef();
                Releasable release = Releasables.releaseOnce(content::decRef);
                ActionListener<Void> read = new RestActionListener<>(channel) {
                    @Override
                    protected void processResponse(Void turn) throws IOException {
                        try (XContentParser parser = XContentHelper.createParserNotCompressed(configuration, content, type)) {
                            Body body = PARSER.parse(parser, null);
                            EncodeAction.Request encode = new EncodeAction.Request(body.model, inputs(body), body.role, body.bulk);
                            new RestCancellableNodeClient(client, request.getHttpChannel()).execute(
                                EncodeAction.TYPE,
                                encode,
                                new Written(channel, body.packed)
                            );
                        }
                    }
                };
                encoding.get()
                    .prepare(
                        Encoding.Lane.ENCODE,
                        TIMES_IN_MEMORY * content.length(),
                        ContextPreservingActionListener.wrapPreservingContext(
                            ActionListener.runAfter(read, release::close),
                            client.threadPool().getThreadContext()
                        )
                    );
            };
        }

        private static List<Input> inputs(Body body) {
            List<Input> inputs = new ArrayList<>();
            for (int i = 0; i < body.texts.size(); i++) {
                if (body.texts.get(i).isBlank()) {
                    throw new IllegalArgumentException("[texts] number " + i + " is empty");
                }
                inputs.add(Input.of(body.texts.get(i)));
            }
            body.images.forEach(image -> inputs.add(Input.encoded(image)));
            return inputs;
        }

        private static final class Written extends RestBuilderListener<EncodeAction.Response> {

            private final boolean packed;

            Written(RestChannel channel, boolean packed) {
                super(channel);
                this.packed = packed;
            }

            @Override
            public RestResponse buildResponse(EncodeAction.Response response, XContentBuilder builder) throws IOException {
                builder.startObject().startObject("model");
                builder.field("name", response.model.name()).field("fingerprint", response.model.fingerprint()).endObject();
                builder.startArray("vectors");
                for (float[] vector : response.vectors) {
                    if (packed) {
                        ByteBuffer bytes = ByteBuffer.allocate(vector.length * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
                        bytes.asFloatBuffer().put(vector);
                        builder.value(Base64.getEncoder().encodeToString(bytes.array()));
                    } else {
                        builder.value(vector);
                    }
                }
                return new RestResponse(RestStatus.OK, builder.endArray().endObject());
            }
        }
    }
}
