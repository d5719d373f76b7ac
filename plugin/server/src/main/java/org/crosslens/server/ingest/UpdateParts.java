package org.crosslens.server.ingest;

import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionRequest;
import org.elasticsearch.action.ActionResponse;
import org.elasticsearch.action.bulk.BulkRequest;
import org.elasticsearch.action.index.IndexRequest;
import org.elasticsearch.action.support.ActionFilter;
import org.elasticsearch.action.support.ActionFilterChain;
import org.elasticsearch.action.update.UpdateRequest;
import org.elasticsearch.tasks.Task;

/**
 * Lets processors see of what a pipeline is given whether it is only a part, which an update with {@code doc_as_upsert}
 * sends: that has no index of its own, unless a node that runs no pipelines has handed it on and written one into it.
 */
public final class UpdateParts implements ActionFilter {

    @Override
    public int order() {
        return Integer.MAX_VALUE;
    }

    @Override
    public <Request extends ActionRequest, Response extends ActionResponse> void apply(
        Task task,
        String action,
        Request request,
        ActionListener<Response> listener,
        ActionFilterChain<Request, Response> chain
    ) {
        if (request instanceof BulkRequest bulk) {
            bulk.requests().forEach(each -> {
                IndexRequest part = each instanceof UpdateRequest update && update.docAsUpsert() ? update.doc() : null;
                if (part != null) {
                    part.index(null);
                }
            });
        }
        chain.proceed(task, action, request, listener);
    }
}
