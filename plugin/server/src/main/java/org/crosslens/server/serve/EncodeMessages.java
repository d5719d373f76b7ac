package org.crosslens.server.serve;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.crosslens.server.encode.Prompts;
import org.crosslens.server.version.VersionedTransportRequest;
import org.crosslens.server.wire.Wire;
import org.crosslens.server.work.Input;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.tasks.CancellableTask;
import org.elasticsearch.tasks.Task;
import org.elasticsearch.tasks.TaskId;
import org.elasticsearch.transport.TransportResponse;

/** Having another node encode. */
final class EncodeMessages {

    private EncodeMessages() {}

    /** Texts, in their {@code role}, and images for the model of this {@code fingerprint}, which has the prompts. */
    static final class Request extends VersionedTransportRequest {

        final String fingerprint;
        final Purpose purpose;
        final Prompts.Role role;
        final List<Input> inputs;

        Request(String fingerprint, Purpose purpose, Prompts.Role role, List<Input> inputs) {
            this.fingerprint = fingerprint;
            this.purpose = purpose;
            this.role = role;
            this.inputs = inputs;
        }

        Request(StreamInput in) throws IOException {
            super(in);
            Request read = Wire.read(in, "request to encode", fields -> {
                StreamInput from = fields.in();
                String model = from.readString();
                Purpose purpose = from.readEnum(Purpose.class);
                Prompts.Role role = from.readEnum(Prompts.Role.class);
                List<Input> inputs = new ArrayList<>();
                for (int count = from.readVInt(); inputs.size() < count;) {
                    boolean text = from.readBoolean();
                    inputs.add(text ? Input.of(from.readString()) : Input.encoded(from.readString()));
                }
                return new Request(model, purpose, role, inputs);
            });
            fingerprint = read.fingerprint;
            purpose = read.purpose;
            role = read.role;
            inputs = read.inputs;
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            super.writeTo(out);
            Wire.write(out, 1, fields -> {
                fields.writeString(fingerprint);
                fields.writeEnum(purpose);
                fields.writeEnum(role);
                fields.writeVInt(inputs.size());
                for (Input input : inputs) {
                    fields.writeBoolean(input.isText());
                    fields.writeString(input.isText() ? input.text() : input.base64());
                }
            });
        }

        @Override
        public Task createTask(long id, String type, String action, TaskId parent, Map<String, String> headers) {
            return new CancellableTask(id, type, action, inputs.size() + " inputs", parent, headers);
        }
    }

    /** A vector for each input in the order given; null from a node that doesn't have the model any longer. */
    static final class Response extends TransportResponse {

        final List<float[]> vectors;

        Response(List<float[]> vectors) {
            this.vectors = vectors;
        }

        static Response read(StreamInput in) throws IOException {
            return Wire.read(in, "answer with vectors", fields -> {
                if (fields.in().readBoolean() == false) {
                    return new Response(null);
                }
                List<float[]> vectors = new ArrayList<>();
                for (int count = fields.in().readVInt(); vectors.size() < count;) {
                    vectors.add(fields.in().readFloatArray());
                }
                return new Response(vectors);
            });
        }

        @Override
        public void writeTo(StreamOutput out) throws IOException {
            Wire.write(out, 1, fields -> {
                fields.writeBoolean(vectors != null);
                if (vectors != null) {
                    fields.writeVInt(vectors.size());
                    for (float[] vector : vectors) {
                        fields.writeFloatArray(vector);
                    }
                }
            });
        }
    }
}
