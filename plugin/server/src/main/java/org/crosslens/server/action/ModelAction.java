package org.crosslens.server.action;

import java.io.IOException;
import java.util.Map;
import org.crosslens.server.share.Body;
import org.crosslens.server.share.Sharing;
import org.crosslens.server.work.Wanted;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionRequest;
import org.elasticsearch.action.ActionRequestValidationException;
import org.elasticsearch.action.ActionResponse;
import org.elasticsearch.action.ActionType;
import org.elasticsearch.action.support.ActionFilters;
import org.elasticsearch.action.support.ContextPreservingActionListener;
import org.elasticsearch.action.support.TransportAction;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.common.util.concurrent.ThreadContext;
import org.elasticsearch.injection.guice.Inject;
import org.elasticsearch.tasks.CancellableTask;
import org.elasticsearch.tasks.Task;
import org.elasticsearch.tasks.TaskId;
import org.elasticsearch.threadpool.ThreadPool;
import org.elasticsearch.transport.TransportService;

/** Gives a model to all nodes, or takes one away: two actions, since each has a privilege of its own. */
public final class ModelAction {

    public static final ActionType<Response> PUT = new ActionType<>("cluster:admin/crosslens/models/put");
    public static final ActionType<Response> DELETE = new ActionType<>("cluster:admin/crosslens/models/delete");

    private ModelAction() {}

    /** About the model {@code name}; a {@code part} of null means the whole. What was sent stays the sender's to release. */
    public static final class Request extends ActionRequest {

        private final String name;
        private final Integer part;
        private final Body body;
        private final boolean dry;

        Request(String name, Integer part, Body body, boolean dry) {
            this.name = name;
            this.part = part;
            this.body = body;
            this.dry = dry;
        }

        @Override
        public ActionRequestValidationException validate() {
            return null;
        }

        @Override
        public Task createTask(long id, String type, String action, TaskId parent, Map<String, String> headers) {
            return new CancellableTask(id, type, action, name + (part == null ? "" : ", part " + part), parent, headers);
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            TransportAction.localOnly();
        }
    }

    /** How the model stands; null for a part that was taken. */
    public static final class Response extends ActionResponse {

        final Sharing.Outcome outcome;

        Response(Sharing.Outcome outcome) {
            this.outcome = outcome;
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            TransportAction.localOnly();
        }
    }

    /** Carries either out, on a generic thread, since it reads and writes an index and files. */
    private abstract static class Transport extends TransportAction<Request, Response> {

        final Sharing sharing;
        private final ThreadContext threadContext;

        Transport(ActionType<Response> type, TransportService transport, ActionFilters filters, Sharing sharing) {
            super(type.name(), filters, transport.getTaskManager(), transport.getThreadPool().executor(ThreadPool.Names.GENERIC));
            this.sharing = sharing;
            this.threadContext = transport.getThreadPool().getThreadContext();
        }

        @Override
        protected void doExecute(Task task, Request request, ActionListener<Response> listener) {
            ActionListener<Response> answer = ContextPreservingActionListener.wrapPreservingContext(listener, threadContext);
            ActionListener.run(answer, next -> carryOut(request, Wanted.by((CancellableTask) task), next));
        }

        abstract void carryOut(Request request, Wanted wanted, ActionListener<Response> listener) throws IOException;
    }

    /** {@link #PUT}. */
    public static final class PutTransport extends Transport {

        @Inject
        public PutTransport(TransportService transport, ActionFilters filters, Sharing sharing) {
            super(PUT, transport, filters, sharing);
            sharing.join(transport);
        }

        @Override
        void carryOut(Request request, Wanted wanted, ActionListener<Response> listener) throws IOException {
            if (request.part == null) {
                sharing.put(request.name, request.body, request.dry, wanted, listener.map(Response::new));
            } else {
                sharing.putPart(request.name, request.part, request.body);
                listener.onResponse(new Response(null));
            }
        }
    }

    /** {@link #DELETE}. */
    public static final class DeleteTransport extends Transport {

        @Inject
        public DeleteTransport(TransportService transport, ActionFilters filters, Sharing sharing) {
            super(DELETE, transport, filters, sharing);
        }

        @Override
        void carryOut(Request request, Wanted wanted, ActionListener<Response> listener) throws IOException {
            sharing.delete(request.name, request.dry, wanted, listener.map(Response::new));
        }
    }
}
