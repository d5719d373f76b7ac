package org.crosslens.server.share;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.lucene.util.SetOnce;
import org.crosslens.server.wire.Peers;
import org.elasticsearch.ExceptionsHelper;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionListenerResponseHandler;
import org.elasticsearch.action.support.ChannelActionListener;
import org.elasticsearch.action.support.GroupedActionListener;
import org.elasticsearch.cluster.node.DiscoveryNode;
import org.elasticsearch.common.util.concurrent.EsExecutors;
import org.elasticsearch.core.TimeValue;
import org.elasticsearch.threadpool.ThreadPool;
import org.elasticsearch.transport.TransportRequestOptions;
import org.elasticsearch.transport.TransportService;

/** How all nodes of the cluster stand with a shared model, this one included. */
final class Members {

    /** Internal, as what nodes do for each other needs no privilege of the user's. */
    static final String SYNC = "internal:crosslens/models/sync";
    private static final TransportRequestOptions ASKING = TransportRequestOptions.timeout(TimeValue.timeValueSeconds(10));

    private final SetOnce<TransportService> transport = new SetOnce<>();
    private final Peers peers;
    private final Own own;
    private final Syncing syncing;

    private record Answer(DiscoveryNode node, SyncMessages.Response response) {}

    /** {@code syncing} is null where this node takes no shared models. */
    Members(Peers peers, Own own, Syncing syncing) {
        this.peers = peers;
        this.own = own;
        this.syncing = syncing;
    }

    /** Answers other nodes from now on. Called once, when the node's transport is there. */
    void join(TransportService service) {
        transport.set(service);
        service.registerRequestHandler(
            SYNC,
            service.getThreadPool().executor(ThreadPool.Names.GENERIC),
            SyncMessages.Request::new,
            (request, channel, task) -> here(request, new ChannelActionListener<>(channel))
        );
    }

    private void here(SyncMessages.Request request, ActionListener<SyncMessages.Response> listener) {
        if (syncing == null) {
            listener.onResponse(own.has(request.name) ? Own.standing() : new SyncMessages.Response(Standing.OFF, null));
        } else if (request.sync) {
            syncing.run(true, listener.delegateFailureAndWrap((next, nothing) -> next.onResponse(syncing.standing(request.name))));
        } else {
            ActionListener.completeWith(listener, () -> syncing.standing(request.name));
        }
    }

    /**
     * Answers with how each node stands with {@code name}, by the node's name; with {@code sync}, after each has brought
     * its models up to date, which may take minutes. A node that can't be asked has failed.
     */
    void ask(String name, boolean sync, ActionListener<Map<String, SyncMessages.Response>> listener) {
        SyncMessages.Request request = new SyncMessages.Request(name, sync);
        List<DiscoveryNode> nodes = new ArrayList<>(peers.others());
        GroupedActionListener<Answer> all = new GroupedActionListener<>(nodes.size() + 1, listener.map(Members::byNode));
        here(request, one(transport.get().getLocalNode(), all));
        for (DiscoveryNode node : nodes) {
            ActionListener<SyncMessages.Response> one = one(node, all);
            try {
                transport.get()
                    .sendRequest(
                        node,
                        SYNC,
                        request,
                        sync ? TransportRequestOptions.EMPTY : ASKING,
                        new ActionListenerResponseHandler<>(one, SyncMessages.Response::read, EsExecutors.DIRECT_EXECUTOR_SERVICE)
                    );
            } catch (RuntimeException e) {
                // It left between the look at the cluster and now.
                one.onFailure(e);
            }
        }
    }

    private static ActionListener<SyncMessages.Response> one(DiscoveryNode node, GroupedActionListener<Answer> all) {
        return ActionListener.notifyOnce(
            ActionListener.wrap(response -> all.onResponse(new Answer(node, response)), e -> {
                String reason = String.valueOf(ExceptionsHelper.unwrapCause(e).getMessage());
                all.onResponse(new Answer(node, new SyncMessages.Response(Standing.FAILED, reason)));
            })
        );
    }

    private static Map<String, SyncMessages.Response> byNode(Collection<Answer> answers) {
        Map<String, SyncMessages.Response> nodes = new TreeMap<>();
        for (Answer each : answers) {
            String name = each.node.getName();
            nodes.put(nodes.containsKey(name) ? name + " (" + each.node.getId() + ")" : name, each.response);
        }
        return nodes;
    }
}
