package org.crosslens.server.wire;

import java.io.IOException;
import org.elasticsearch.common.bytes.BytesReference;
import org.elasticsearch.common.io.stream.BytesStreamOutput;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.core.CheckedConsumer;

/**
 * The form of all that the plugin sends to other nodes, which may have another version of it while a cluster is upgraded:
 * the version of the writer, the oldest version that can read it, and the fields as counted bytes.
 *
 * <p>A new field is written after all others with a raised {@link #VERSION}, and read where {@link Fields#has} says that
 * the writer knew it; an older reader skips it, by the count. Where skipping would be wrong, the message names a higher
 * oldest reader, and an older one refuses it with a sentence. A field is never removed, moved, or given another meaning.
 *
 * <p>Elasticsearch's own parts of a message, before this, have versions of their own.
 */
public final class Wire {

    /**
     * What this plugin writes. 1: the first that is numbered; release 0.3 wrote without. 2: which vectors a model may
     * search besides its own.
     */
    public static final int VERSION = 2;
    /** The node attribute that says which version a node's plugin writes; a node of release 0.3, or without it, has none. */
    public static final String ATTRIBUTE = "crosslens.wire";

    private Wire() {}

    /** What of a message is left to read, and by which version it was written. */
    public record Fields(int version, StreamInput in) {

        /** Whether the writer knew the fields that came with {@code version}. */
        public boolean has(int version) {
            return this.version >= version;
        }
    }

    /** Reads the fields of one message. */
    public interface Reader<T> {
        T read(Fields fields) throws IOException;
    }

    /** Writes a message that every version since {@code oldest} can read, be it without its newer fields. */
    public static void write(StreamOutput out, int oldest, CheckedConsumer<StreamOutput, IOException> fields) throws IOException {
        try (BytesStreamOutput counted = new BytesStreamOutput()) {
            counted.setTransportVersion(out.getTransportVersion());
            fields.accept(counted);
            out.writeVInt(VERSION);
            out.writeVInt(oldest);
            out.writeBytesReference(counted.bytes());
        }
    }

    /** Reads {@code what}. Throws {@link IllegalArgumentException} for one that only a newer plugin understands. */
    public static <T> T read(StreamInput in, String what, Reader<T> reader) throws IOException {
        int version = in.readVInt(), oldest = in.readVInt();
        BytesReference counted = in.readBytesReference();
        if (oldest > VERSION) {
            throw new IllegalArgumentException(
                "crosslens can't read the " + what + " that another node sent: its plugin writes version " + version
                    + " of the plugin's messages, of which this one is readable since version " + oldest
                    + ", and this node's plugin reads up to version " + VERSION + "; install one version on all nodes"
            );
        }
        try (StreamInput fields = counted.streamInput()) {
            fields.setTransportVersion(in.getTransportVersion());
            return reader.read(new Fields(version, fields));
        }
    }
}
