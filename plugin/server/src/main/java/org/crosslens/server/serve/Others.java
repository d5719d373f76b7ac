package org.crosslens.server.serve;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongSupplier;
import java.util.stream.Collectors;
import org.apache.lucene.util.SetOnce;
import org.crosslens.server.encode.Prompts;
import org.crosslens.server.wire.Peers;
import org.crosslens.server.work.Input;
import org.crosslens.server.work.Wanted;
import org.elasticsearch.ExceptionsHelper;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionListenerResponseHandler;
import org.elasticsearch.action.support.GroupedActionListener;
import org.elasticsearch.cluster.node.DiscoveryNode;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.common.util.concurrent.EsExecutors;
import org.elasticsearch.core.TimeValue;
import org.elasticsearch.tasks.CancellableTask;
import org.elasticsearch.tasks.TaskCancelledException;
import org.elasticsearch.transport.TransportRequest;
import org.elasticsearch.transport.TransportRequestOptions;
import org.elasticsearch.transport.TransportResponse;
import org.elasticsearch.transport.TransportService;

/**
 * The models of the cluster's other nodes. Who has a model is asked of all nodes at once and remembered for a while; they
 * encode in turn, and where one fails the next does.
 */
public final class Others {

    /** Internal, so that whoever may search may be served by another node, with no privilege for it. */
    static final String FIND = "internal:crosslens/find";
    static final String ENCODE = "internal:crosslens/encode";
    private static final long FRESH_MILLIS = 10_000;
    private static final int MOST_REMEMBERED = 1_000;
    private static final TransportRequestOptions ASKING = TransportRequestOptions.timeout(TimeValue.timeValueSeconds(10));

    private final SetOnce<TransportService> transport = new SetOnce<>();
    private final Peers peers;
    private final LongSupplier clock;
    private final Map<Key, Located> known = new ConcurrentHashMap<>();
    private final AtomicInteger turn = new AtomicInteger();

    /** A name may be null. */
    private record Key(String name, boolean searching) {}

    /** Where a model is, as of a time in milliseconds. */
    private record Located(Served model, List<DiscoveryNode> nodes, long at) {}

    private record Answer(DiscoveryNode node, FindMessages.Response response) {}

    private interface Reader<T> {
        T read(StreamInput in) throws IOException;
    }

    /** Those of {@code peers}, once it has joined them; by a {@code clock} in milliseconds. */
    public Others(Peers peers, LongSupplier clock) {
        this.peers = peers;
        this.clock = clock;
    }

    void join(TransportService service) {
        transport.set(service);
    }

    /** Answers with what the other nodes mean by {@code name}, or fails with {@code none} where none of them has it. */
    void find(String name, RuntimeException none, ActionListener<Served> listener) {
        locate(new Key(name, false), none, listener.map(Located::model));
    }

    /** As {@link #find}, or answers with a model that may search vectors of that fingerprint. */
    void findSearching(String fingerprint, RuntimeException none, ActionListener<Served> listener) {
        locate(new Key(fingerprint, true), none, listener.map(Located::model));
    }

    private void locate(Key key, RuntimeException none, ActionListener<Located> listener) {
        Located last = known.get(key);
        if (last != null && clock.getAsLong() - last.at < FRESH_MILLIS) {
            listener.onResponse(last);
            return;
        }
        List<DiscoveryNode> nodes = peers.others();
        if (nodes.isEmpty()) {
            listener.onFailure(none);
            return;
        }
        GroupedActionListener<Answer> all = new GroupedActionListener<>(
            nodes.size(),
            listener.map(answers -> remembered(key, located(key, answers, none)))
        );
        for (DiscoveryNode node : nodes) {
            ActionListener<FindMessages.Response> one = ActionListener.wrap(
                response -> all.onResponse(new Answer(node, response)),
                // It may be leaving; whoever has the model answers.
                e -> all.onResponse(new Answer(node, new FindMessages.Response(null, null)))
            );
            send(node, FIND, new FindMessages.Request(key.name, key.searching), null, ASKING, one, FindMessages.Response::read);
        }
    }

    private Located located(Key key, Collection<Answer> answers, RuntimeException none) {
        Map<String, List<DiscoveryNode>> having = new LinkedHashMap<>();
        Map<String, Served> models = new TreeMap<>();
        for (Answer each : answers) {
            Served served = each.response.served;
            if (served != null) {
                models.put(served.fingerprint(), served);
                having.computeIfAbsent(served.fingerprint(), ignored -> new ArrayList<>()).add(each.node);
            }
        }
        if (models.size() > 1 && key.searching == false) {
            throw new IllegalArgumentException(
                (key.name == null ? "say which [model]: " : "[" + key.name + "] means several models: ") + "the nodes have "
                    + models.values().stream().map(each -> each.name() + " (" + each.fingerprint() + ")").sorted().collect(Collectors.joining(", "))
            );
        }
        if (models.isEmpty()) {
            answers.stream().map(each -> each.response.problem).filter(Objects::nonNull).findFirst().ifPresent(problem -> {
                throw new IllegalArgumentException(problem);
            });
            throw none;
        }
        // The model that made the vectors before one that may search them, and always the same of several.
        Served made = key.searching ? models.get(key.name) : null, model = made != null ? made : models.values().iterator().next();
        return new Located(model, having.get(model.fingerprint()), clock.getAsLong());
    }

    private Located remembered(Key key, Located located) {
        if (known.size() > MOST_REMEMBERED) {
            known.clear();
        }
        known.put(key, located);
        return located;
    }

    /** Answers with the vectors, from one of the nodes that have {@code model}, or fails as the last of them did. */
    void encode(
        Purpose purpose,
        Prompts.Role role,
        Served model,
        List<Input> inputs,
        Wanted wanted,
        RuntimeException none,
        ActionListener<List<float[]>> listener
    ) {
        ActionListener<List<float[]>> once = ActionListener.notifyOnce(listener);
        wanted.onEnd(() -> {
            RuntimeException why = wanted.ended();
            if (why != null) {
                once.onFailure(why);
            }
        });
        EncodeMessages.Request request = new EncodeMessages.Request(model.fingerprint(), purpose, role, inputs);
        locate(new Key(model.fingerprint(), false), none, once.delegateFailureAndWrap((next, located) -> {
            List<DiscoveryNode> present = peers.others(), nodes = new ArrayList<>();
            // In turn, beginning with another node each time.
            int first = Math.floorMod(turn.getAndIncrement(), located.nodes.size());
            for (int i = 0; i < located.nodes.size(); i++) {
                DiscoveryNode node = located.nodes.get((first + i) % located.nodes.size());
                if (present.contains(node)) {
                    nodes.add(node);
                }
            }
            attempt(nodes, 0, request, wanted, none, next);
        }));
    }

    private void attempt(
        List<DiscoveryNode> nodes,
        int at,
        EncodeMessages.Request request,
        Wanted wanted,
        Exception last,
        ActionListener<List<float[]>> listener
    ) {
        RuntimeException why = wanted.ended();
        if (why != null || at == nodes.size()) {
            // They are asked for anew the next time.
            known.remove(new Key(request.fingerprint, false));
            listener.onFailure(why != null ? why : last);
            return;
        }
        send(nodes.get(at), ENCODE, request, wanted.task(), TransportRequestOptions.EMPTY, ActionListener.wrap(response -> {
            if (response.vectors != null) {
                listener.onResponse(response.vectors);
            } else {
                attempt(nodes, at + 1, request, wanted, last, listener);
            }
        }, e -> {
            Throwable cause = ExceptionsHelper.unwrapCause(e);
            if (cause instanceof IllegalArgumentException || cause instanceof TaskCancelledException) {
                // The input's own fault, or no longer wanted: no node would do better.
                listener.onFailure((Exception) cause);
            } else {
                attempt(nodes, at + 1, request, wanted, cause instanceof Exception failure ? failure : e, listener);
            }
        }), EncodeMessages.Response::read);
    }

    private <T extends TransportResponse> void send(
        DiscoveryNode node,
        String action,
        TransportRequest request,
        CancellableTask task,
        TransportRequestOptions options,
        ActionListener<T> listener,
        Reader<T> reader
    ) {
        var handler = new ActionListenerResponseHandler<T>(listener, reader::read, EsExecutors.DIRECT_EXECUTOR_SERVICE);
        try {
            if (task == null) {
                transport.get().sendRequest(node, action, request, options, handler);
            } else {
                transport.get().sendChildRequest(node, action, request, task, options, handler);
            }
        } catch (RuntimeException e) {
            // It left between the look at the cluster and now.
            listener.onFailure(e);
        }
    }
}
