package org.crosslens.server.serve;

import java.util.List;
import org.crosslens.server.encode.ModelFolder;
import org.crosslens.server.work.Encoding;
import org.crosslens.server.work.Models;
import org.crosslens.server.work.NoModelException;
import org.crosslens.server.work.Wanted;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.support.ChannelActionListener;
import org.elasticsearch.common.util.concurrent.EsExecutors;
import org.elasticsearch.tasks.CancellableTask;
import org.elasticsearch.transport.TransportService;

/** Answers what other nodes ask of this one's models. */
public final class Serving {

    private Serving() {}

    /** Registers the answers; once, before the node takes requests. */
    public static void register(TransportService transport, Models models, Encoding encoding) {
        // Neither blocks: what takes long is done by threads of the models' and the queue's own.
        transport.registerRequestHandler(
            Others.FIND,
            EsExecutors.DIRECT_EXECUTOR_SERVICE,
            FindMessages.Request::new,
            (request, channel, task) -> find(models, request, new ChannelActionListener<>(channel))
        );
        transport.registerRequestHandler(
            Others.ENCODE,
            EsExecutors.DIRECT_EXECUTOR_SERVICE,
            EncodeMessages.Request::new,
            (request, channel, task) -> encode(models, encoding, request, (CancellableTask) task, new ChannelActionListener<>(channel))
        );
    }

    private static void find(Models models, FindMessages.Request request, ActionListener<FindMessages.Response> listener) {
        ActionListener<ModelFolder> answering = ActionListener.wrap(
            found -> listener.onResponse(new FindMessages.Response(Served.of(found), null)),
            e -> listener.onResponse(new FindMessages.Response(null, e instanceof NoModelException ? null : e.getMessage()))
        );
        if (request.searching) {
            models.findSearching(request.model, answering);
        } else {
            models.find(request.model, answering);
        }
    }

    private static void encode(
        Models models,
        Encoding encoding,
        EncodeMessages.Request request,
        CancellableTask task,
        ActionListener<EncodeMessages.Response> listener
    ) {
        Wanted wanted = Wanted.by(task);
        models.find(request.fingerprint, ActionListener.wrap(found -> {
            ActionListener<List<float[]>> vectors = listener.map(EncodeMessages.Response::new);
            Encoders.here(encoding, request.purpose, request.role, found, request.inputs, wanted, vectors);
        }, e -> {
            if (e instanceof NoModelException) {
                listener.onResponse(new EncodeMessages.Response(null));
            } else {
                listener.onFailure(e);
            }
        }));
    }
}
