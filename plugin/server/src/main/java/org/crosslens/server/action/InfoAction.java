package org.crosslens.server.action;

import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.crosslens.server.encode.ModelFolder;
import org.crosslens.server.version.VersionedNodesRequest;
import org.crosslens.server.version.VersionedTransportRequest;
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

/** Asks every node for its models or for what it has done. */
public final class InfoAction {

    public static final String NAME = "cluster:monitor/crosslens/info";
    public static final ActionType<Response> TYPE = new ActionType<>(NAME);

    private InfoAction() {}

    /** What is asked for. */
    public enum Part {
        MODELS,
        STATS
    }

    /** To the nodes named, or all of them. */
    public static final class Request extends VersionedNodesRequest<Request> {

        private final Part part;

        public Request(Part part, String... nodes) {
            super(nodes);
            this.part = part;
        }
    }

    /** To one node. */
    public static final class NodeRequest extends VersionedTransportRequest {

        private final Part part;

        NodeRequest(Part part) {
            this.part = part;
        }

        public NodeRequest(StreamInput in) throws IOException {
            super(in);
            part = in.readEnum(Part.class);
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            super.writeTo(out);
            out.writeEnum(part);
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
            answer = in.readGenericMap();
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            super.writeTo(out);
            out.writeGenericMap(answer);
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

    /** Carries it out. */
    public static final class Transport extends TransportNodesAction<Request, Response, NodeRequest, NodeResponse, Void> {

        private final Models models;
        private final Encoding encoding;

        /** On generic threads, since a model that was never read is read for this, which may take long. */
        @Inject
        public Transport(ClusterService cluster, TransportService transport, ActionFilters filters, Models models, Encoding encoding) {
            super(NAME, cluster, transport, filters, NodeRequest::new, transport.getThreadPool().executor(ThreadPool.Names.GENERIC));
            this.models = models;
            this.encoding = encoding;
        }

        @Override
        protected Response newResponse(Request request, List<NodeResponse> responses, List<FailedNodeException> failures) {
            return new Response(clusterService.getClusterName(), responses, failures);
        }

        @Override
        protected NodeRequest newNodeRequest(Request request) {
            return new NodeRequest(request.part);
        }

        @Override
        protected NodeResponse newNodeResponse(StreamInput in, DiscoveryNode node) throws IOException {
            return new NodeResponse(in, node);
        }

        @Override
        protected NodeResponse nodeOperation(NodeRequest request, Task task) {
            Map<String, Object> answer = request.part == Part.STATS ? encoding.stats() : Map.of("models", described());
            return new NodeResponse(clusterService.localNode(), answer);
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
                    model.put("max_tokens", folder.text().length());
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
