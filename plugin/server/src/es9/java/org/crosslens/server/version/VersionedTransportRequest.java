package org.crosslens.server.version;

import java.io.IOException;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.transport.AbstractTransportRequest;

/** A request to one node; a class in 8.x, an interface with a base class in 9.x. */
public abstract class VersionedTransportRequest extends AbstractTransportRequest {

    protected VersionedTransportRequest() {}

    protected VersionedTransportRequest(StreamInput in) throws IOException {
        super(in);
    }
}
