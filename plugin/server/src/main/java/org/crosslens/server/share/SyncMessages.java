package org.crosslens.server.share;

import java.io.IOException;
import org.crosslens.server.version.VersionedTransportRequest;
import org.crosslens.server.wire.Wire;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.transport.TransportResponse;

/** Asking a node how it stands with a shared model. */
final class SyncMessages {

    private SyncMessages() {}

    /** The model's {@code name}; {@code sync}: bring all shared models up to date first. */
    static final class Request extends VersionedTransportRequest {

        final String name;
        final boolean sync;

        Request(String name, boolean sync) {
            this.name = name;
            this.sync = sync;
        }

        Request(StreamInput in) throws IOException {
            super(in);
            Request read = Wire.read(in, "question for a shared model", fields -> new Request(fields.in().readString(), fields.in().readBoolean()));
            name = read.name;
            sync = read.sync;
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            super.writeTo(out);
            Wire.write(out, 1, fields -> {
                fields.writeString(name);
                fields.writeBoolean(sync);
            });
        }
    }

    /** How the node stands with it; {@code reason} says why it hasn't the model, or null. */
    static final class Response extends TransportResponse {

        final Standing standing;
        final String reason;

        Response(Standing standing, String reason) {
            this.standing = standing;
            this.reason = reason;
        }

        static Response read(StreamInput in) throws IOException {
            return Wire.read(
                in,
                "answer to the question for a shared model",
                fields -> new Response(fields.in().readEnum(Standing.class), fields.in().readOptionalString())
            );
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            Wire.write(out, 1, fields -> {
                fields.writeEnum(standing);
                fields.writeOptionalString(reason);
            });
        }
    }
}
