package org.crosslens.server.action;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import org.crosslens.server.encode.Prompts;
import org.crosslens.server.serve.Encoders;
import org.crosslens.server.serve.Purpose;
import org.crosslens.server.serve.Served;
import org.crosslens.server.work.Input;
import org.crosslens.server.work.Models;
import org.crosslens.server.work.Wanted;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionRequest;
import org.elasticsearch.action.ActionRequestValidationException;
import org.elasticsearch.action.ActionResponse;
import org.elasticsearch.action.ActionType;
import org.elasticsearch.action.ValidateActions;
import org.elasticsearch.action.support.ActionFilters;
import org.elasticsearch.action.support.ContextPreservingActionListener;
import org.elasticsearch.action.support.TransportAction;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.common.util.concurrent.EsExecutors;
import org.elasticsearch.common.util.concurrent.ThreadContext;
import org.elasticsearch.injection.guice.Inject;
import org.elasticsearch.tasks.CancellableTask;
import org.elasticsearch.tasks.Task;
import org.elasticsearch.tasks.TaskId;
import org.elasticsearch.transport.TransportService;

/** Encodes texts and images, on the node that is asked where it has the model. */
public final class EncodeAction {

    public static final String NAME = "cluster:monitor/crosslens/encode";
    public static final ActionType<Response> TYPE = new ActionType<>(NAME);

    private EncodeAction() {}

    /**
     * {@code model} as {@link Models#find} takes it; {@code role} says what texts are for; in {@code bulk} more is done in
     * all, and an answer takes longer.
     */
    public static final class Request extends ActionRequest {

        private final String model;
        private final List<Input> inputs;
        private final Prompts.Role role;
        private final boolean bulk;

        public Request(String model, List<Input> inputs, Prompts.Role role, boolean bulk) {
            this.model = model;
            this.inputs = inputs;
            this.role = role;
            this.bulk = bulk;
        }

        @Override
        public ActionRequestValidationException validate() {
            return inputs.isEmpty() ? ValidateActions.addValidationError("[texts] or [images] must name something to encode", null) : null;
        }

        @Override
        public Task createTask(long id, String type, String action, TaskId parent, Map<String, String> headers) {
            return new CancellableTask(id, type, action, inputs.size() + " inputs", parent, headers);
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            TransportAction.localOnly();
        }
    }

    /** The model that was used, and a unit vector for each input in the order given. */
    public static final class Response extends ActionResponse {

        final Served model;
        final List<float[]> vectors;

        Response(Served model, List<float[]> vectors) {
            this.model = model;
            this.vectors = vectors;
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            TransportAction.localOnly();
        }
    }

    /** Carries it out. */
    public static final class Transport extends TransportAction<Request, Response> {

        private final Encoders encoders;
        private final ThreadContext threadContext;

        @Inject
        public Transport(TransportService transport, ActionFilters filters, Encoders encoders) {
            super(NAME, filters, transport.getTaskManager(), EsExecutors.DIRECT_EXECUTOR_SERVICE);
            this.encoders = encoders;
            encoders.join(transport);
            this.threadContext = transport.getThreadPool().getThreadContext();
        }

        @Override
        protected void doExecute(Task task, Request request, ActionListener<Response> listener) {
            Wanted wanted = Wanted.by((CancellableTask) task);
            encoders.find(
                request.model,
                ContextPreservingActionListener.wrapPreservingContext(listener, threadContext)
                    .delegateFailureAndWrap(
                        (next, model) -> encoders.encode(
                            request.bulk ? Purpose.BULK : Purpose.ENCODE,
                            request.role,
                            model,
                            request.inputs,
                            wanted,
                            next.map(vectors -> new Response(model, vectors))
                        )
                    )
            );
        }
    }
}
