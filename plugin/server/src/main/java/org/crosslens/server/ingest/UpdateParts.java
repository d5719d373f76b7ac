package org.crosslens.server.ingest;

import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.ActionRequest;
import org.elasticsearch.action.bulk.BulkRequest;
import org.elasticsearch.action.index.IndexRequest;
import org.elasticsearch.action.support.ActionFilter;
import org.elasticsearch.action.update.UpdateRequest;

/**
 * Lets processors see of what a pipeline is given whether it is only a part, which an update with {@code doc_as_upsert}
 * sends: that has no index of its own, unless a node that runs no pipelines has handed it on and written one into it.
 */
public final class UpdateParts extends ActionFilter.Simple {

    @Override
    public int order() {
        return Integer.MAX_VALUE;
    }

    @Override
    protected boolean apply(String action, ActionRequest request, ActionListener<?> listener) {
        if (request instanceof BulkRequest bulk) {
            bulk.requests().forEach(each -> {
                IndexRequest part = each instanceof UpdateRequest update && update.docAsUpsert() ? update.doc() : null;
                if (part != null) {
                    part.index(null);
                }
            });
        }
        return true;
    }
}
