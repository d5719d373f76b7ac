package org.crosslens.server.action;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.crosslens.server.encode.ModelFolder;
import org.crosslens.server.encode.Prompts;
import org.crosslens.server.work.Encoding;
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
import org.elasticsearch.action.support.GroupedActionListener;
import org.elasticsearch.action.support.TransportAction;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.common.util.concurrent.EsExecutors;
import org.elasticsearch.common.util.concurrent.ThreadContext;
import org.elasticsearch.injection.guice.Inject;
import org.elasticsearch.tasks.CancellableTask;
import org.elasticsearch.tasks.Task;
import org.elasticsearch.tasks.TaskId;
import org.elasticsearch.transport.TransportService;

/** Encodes texts and images on the node that is asked. */
public final class EncodeAction {

    public static final String NAME = "cluster:monitor/crosslens/encode";
    public static final ActionType<Response> TYPE = new ActionType<>(NAME);

    private EncodeAction() {}

    /** {@code model} as {@link Models#find} takes it; {@code lane} says who asks, {@code role} what texts are for. */
    public static final class Request extends ActionRequest {

        private final String model;
        private final List<Input> inputs;
        private final Encoding.Lane lane;
        private final Prompts.Role role;

        public Request(String model, List<Input> inputs, Encoding.Lane lane, Prompts.Role role) {
            this.model = model;
            this.inputs = inputs;
            this.lane = lane;
            this.role = role;
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

        final ModelFolder model;
        final List<float[]> vectors;

        Response(ModelFolder model, List<float[]> vectors) {
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

        private final Models models;
        private final Encoding encoding;
        private final ThreadContext threadContext;

        private record Placed(int at, float[] vector) {}

        @Inject
        public Transport(TransportService transport, ActionFilters filters, Models models, Encoding encoding) {
            super(NAME, filters, transport.getTaskManager(), EsExecutors.DIRECT_EXECUTOR_SERVICE);
            this.models = models;
            this.encoding = encoding;
            this.threadContext = transport.getThreadPool().getThreadContext();
        }

        @Override
        protected void doExecute(Task task, Request request, ActionListener<Response> listener) {
            CancellableTask cancellable = (CancellableTask) task;
            Wanted wanted = new Wanted(null, cancellable, Long.MAX_VALUE, () -> 0, (millis, what) -> {});
            models.find(
                request.model,
                ContextPreservingActionListener.wrapPreservingContext(listener, threadContext)
                    .delegateFailureAndWrap((next, model) -> encode(request, model, wanted, next))
            );
        }

        private void encode(Request request, ModelFolder model, Wanted wanted, ActionListener<Response> listener) {
            if (request.inputs.stream().allMatch(Input::isText) == false) {
                model.withImages();
            }
            GroupedActionListener<Placed> all = new GroupedActionListener<>(request.inputs.size(), listener.map(placed -> {
                float[][] vectors = new float[placed.size()][];
                placed.forEach(each -> vectors[each.at] = each.vector);
                return new Response(model, List.of(vectors));
            }));
            List<ActionListener<float[]>> listeners = new ArrayList<>();
            for (int i = 0; i < request.inputs.size(); i++) {
                int at = i;
                listeners.add(all.map(vector -> new Placed(at, vector)));
            }
            String prompt = model.prompts().of(request.role);
            List<Input> inputs = request.inputs.stream().map(each -> each.after(prompt)).toList();
            encoding.submit(request.lane, model.fingerprint(), inputs, wanted, listeners);
        }
    }
}
