package org.crosslens.server.encode;

import org.elasticsearch.ElasticsearchStatusException;
import org.elasticsearch.rest.RestStatus;

/** A model folder that can't be used, and why: the node's fault, not the request's. */
public final class ModelException extends ElasticsearchStatusException {

    public ModelException(String message) {
        super("{}", RestStatus.INTERNAL_SERVER_ERROR, message);
    }

    public ModelException(String message, Throwable cause) {
        super("{}", RestStatus.INTERNAL_SERVER_ERROR, cause, message);
    }
}
