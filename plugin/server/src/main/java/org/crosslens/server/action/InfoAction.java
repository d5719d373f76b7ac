package org.crosslens.server.action;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.crosslens.server.encode.ModelFolder;
import org.crosslens.server.version.VersionedNodesRequest;
import org.crosslens.server.version.VersionedTransportRequest;
import org.crosslens.server.wire.Wire;
import org.crosslens.server.work.Encoding;
import org.crosslens.server.work.Models;
import org.elasticsearch.action.ActionType;
import org.elasticsearch.action.FailedNodeException;
import org.elasticsearch.action.support.ActionFilters;
import org.elasticsearch.action.support.nodes.BaseNodeResponse;
import org.elasticsearch.action.support.nodes.BaseNodesResponse;
import org.elasticsearch.action.support.nodes.TransportNodesAction;
import org.elasticsearch.cluster.ClusterName;
import org.elasticsearch.cluster.node.DiscoveryNode;
import org.elasticsearch.cluster.service.ClusterService;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.injection.guice.Inject;
import org.elasticsearch.tasks.Task;
import org.elasticsearch.threadpool.ThreadPool;
import org.elasticsearch.transport.TransportService;

/** Asks every node for its models, or for what it has done: two actions, since each has a privilege of its own. */
public final class InfoAction {

    public static final ActionType<Response> MODELS = new ActionType<>("cluster:monitor/crosslens/models");
    public static final ActionType<Response> STATS = new ActionType<>("cluster:monitor/crosslens/stats");

    private InfoAction() {}

    /** To the nodes named, or all of them. */
    public static final class Request extends VersionedNodesRequest<Request> {

        public Request(String... nodes) {
            super(nodes);
        }
    }

    /** To one node. The action's name says what is asked for. */
    public static final class NodeRequest extends VersionedTransportRequest {

        NodeRequest() {}

        public NodeRequest(StreamInput in) throws IOException {
            super(in);
            Wire.read(in, "request for a node's models or statistics", fields -> null);
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            super.writeTo(out);
            Wire.write(out, 1, fields -> {});
        }
    }

    /** One node's answer. */
    public static final class NodeResponse extends BaseNodeResponse {

        final Map<String, Object> answer;

        NodeResponse(DiscoveryNode node, Map<String, Object> answer) {
            super(node);
            this.answer = answer;
        }

        NodeResponse(StreamInput in, DiscoveryNode node) throws IOException {
            super(in, node);
            answer = Wire.read(in, "answer with a node's models or statistics", fields -> fields.in().readGenericMap());
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            super.writeTo(out);
            Wire.write(out, 1, fields -> fields.writeGenericMap(answer));
        }
    }

    /** All nodes' answers. */
    public static final class Response extends BaseNodesResponse<NodeResponse> {

        Response(ClusterName cluster, List<NodeResponse> nodes, List<FailedNodeException> failures) {
            super(cluster, nodes, failures);
        }

        @Override
        protected List<NodeResponse> readNodesFrom(StreamInput in) {
            throw new UnsupportedOperationException("the answer doesn't leave the node that was asked");
        }

        @Override
        protected void writeNodesTo(StreamOutput out, List<NodeResponse> nodes) {
            throw new UnsupportedOperationException("the answer doesn't leave the node that was asked");
        }
    }

    /** Carries either out, by what a node has to {@link #answer}. */
    private abstract static class Transport extends TransportNodesAction<Request, Response, NodeRequest, NodeResponse, Void> {

        /** On generic threads, since a model that was never read is read for this, which may take long. */
        Transport(ActionType<Response> type, ClusterService cluster, TransportService transport, ActionFilters filters) {
            super(type.name(), cluster, transport, filters, NodeRequest::new, transport.getThreadPool().executor(ThreadPool.Names.GENERIC));
        }

        abstract Map<String, Object> answer();

        @Override
        protected Response newResponse(Request request, List<NodeResponse> responses, List<FailedNodeException> failures) {
            return new Response(clusterService.getClusterName(), responses, failures);
        }

        @Override
        protected NodeRequest newNodeRequest(Request request) {
            return new NodeRequest();
        }

        @Override
        protected NodeResponse newNodeResponse(StreamInput in, DiscoveryNode node) throws IOException {
            return new NodeResponse(in, node);
        }

        @Override
        protected NodeResponse nodeOperation(NodeRequest request, Task task) {
            return new NodeResponse(clusterService.localNode(), answer());
        }
    }

    /** {@link #STATS}. */
    public static final class StatsTransport extends Transport {

        private final Encoding encoding;

        @Inject
        public StatsTransport(ClusterService cluster, TransportService transport, ActionFilters filters, Encoding encoding) {
            super(STATS, cluster, transport, filters);
            this.encoding = encoding;
        }

        @Override
        Map<String, Object> answer() {
            return encoding.stats();
        }
    }

    /** {@link #MODELS}. */
    public static final class ModelsTransport extends Transport {

        private final Models models;

        @Inject
        public ModelsTransport(ClusterService cluster, TransportService transport, ActionFilters filters, Models models) {
            super(MODELS, cluster, transport, filters);
            this.models = models;
        }

        @Override
        Map<String, Object> answer() {
            return Map.of("models", described());
        }

        private List<Map<String, Object>> described() {
            List<Map<String, Object>> described = new ArrayList<>();
            for (Models.Listed each : models.list()) {
                Map<String, Object> model = new LinkedHashMap<>();
                model.put("directory", each.directory());
                ModelFolder folder = each.folder();
                if (folder != null) {
                    model.put("name", folder.name());
                    model.put("fingerprint", folder.fingerprint());
                    model.put("dims", folder.dims());
                    if (folder.searches().isEmpty() == false) {
                        model.put("searches", folder.searches().stream().sorted().toList());
                    }
                    model.put("max_tokens", folder.text().length());
                    // Older releases don't say it, and their processor makes none.
                    model.put("passages", true);
                    if (folder.transform() != null) {
                        model.put("image_size", List.of(folder.transform().outputHeight(), folder.transform().outputWidth()));
                    }
                    model.put("loaded", each.loaded());
                } else {
                    model.put("error", each.error());
                }
                described.add(model);
            }
            return described;
        }
    }
}
