package org.crosslens.server.serve;

import java.io.IOException;
import org.crosslens.server.version.VersionedTransportRequest;
import org.crosslens.server.wire.Wire;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.transport.TransportResponse;

/** Asking another node which of its models a name means. */
final class FindMessages {

    private FindMessages() {}

    /** {@code model} as a search names it; null for the node's only one. */
    static final class Request extends VersionedTransportRequest {

        final String model;

        Request(String model) {
            this.model = model;
        }

        Request(StreamInput in) throws IOException {
            super(in);
            model = Wire.read(in, "question for a model", fields -> fields.in().readOptionalString());
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            super.writeTo(out);
            Wire.write(out, 1, fields -> fields.writeOptionalString(model));
        }
    }

    /** The model, or null where the node has none of that name; {@code problem} says why it can't serve one that it has. */
    static final class Response extends TransportResponse {

        final Served served;
        final String problem;

        Response(Served served, String problem) {
            this.served = served;
            this.problem = problem;
        }

        static Response read(StreamInput in) throws IOException {
            return Wire.read(in, "answer to the question for a model", fields -> {
                StreamInput from = fields.in();
                Served served = from.readBoolean() ? new Served(from.readString(), from.readString()) : null;
                return new Response(served, from.readOptionalString());
            });
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            Wire.write(out, 1, fields -> {
                fields.writeBoolean(served != null);
                if (served != null) {
                    fields.writeString(served.name());
                    fields.writeString(served.fingerprint());
                }
                fields.writeOptionalString(problem);
            });
        }
    }
}
