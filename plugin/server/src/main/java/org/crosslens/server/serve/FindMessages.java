package org.crosslens.server.serve;

import java.io.IOException;
import java.util.Set;
import java.util.TreeSet;
import org.crosslens.server.version.VersionedTransportRequest;
import org.crosslens.server.wire.Wire;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.transport.TransportResponse;

/** Asking another node which of its models a name means. */
final class FindMessages {

    private FindMessages() {}

    /**
     * {@code model} as a search names it; null for the node's only one. {@code searching} asks for one that may search
     * vectors of that fingerprint where there is no model that made them; nodes before version 2 don't.
     */
    static final class Request extends VersionedTransportRequest {

        final String model;
        final boolean searching;

        Request(String model, boolean searching) {
            this.model = model;
            this.searching = searching;
        }

        Request(StreamInput in) throws IOException {
            super(in);
            Request read = Wire.read(in, "question for a model", fields -> {
                String model = fields.in().readOptionalString();
                return new Request(model, fields.has(2) && fields.in().readBoolean());
            });
            model = read.model;
            searching = read.searching;
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            super.writeTo(out);
            Wire.write(out, 1, fields -> {
                fields.writeOptionalString(model);
                fields.writeBoolean(searching);
            });
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
                boolean there = from.readBoolean();
                String name = there ? from.readString() : null, fingerprint = there ? from.readString() : null;
                String problem = from.readOptionalString();
                Set<String> searches = fields.has(2) ? from.readCollectionAsSet(StreamInput::readString) : Set.of();
                return new Response(there ? new Served(name, fingerprint, searches) : null, problem);
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
                // In order, so that equal answers are equal bytes.
                fields.writeStringCollection(served == null ? Set.of() : new TreeSet<>(served.searches()));
            });
        }
    }
}
