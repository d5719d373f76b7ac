package org.crosslens.server.version;

import org.elasticsearch.action.support.nodes.BaseNodesRequest;

/** A request to several nodes; Elasticsearch's own has a type parameter in 8.x and none in 9.x. */
public abstract class VersionedNodesRequest<R extends VersionedNodesRequest<R>> extends BaseNodesRequest<R> {

    /** To the nodes named, or all of them. */
    protected VersionedNodesRequest(String... nodes) {
        super(nodes);
    }
}
