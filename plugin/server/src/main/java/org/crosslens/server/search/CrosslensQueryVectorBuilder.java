package org.crosslens.server.search;

import java.io.IOException;
import java.util.Objects;
import java.util.function.Supplier;
import org.crosslens.server.documents.References;
import org.crosslens.server.work.Encoding;
import org.crosslens.server.work.Input;
import org.elasticsearch.TransportVersion;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.support.ContextPreservingActionListener;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.search.vectors.QueryVectorBuilder;
import org.elasticsearch.xcontent.ConstructingObjectParser;
import org.elasticsearch.xcontent.ParseField;
import org.elasticsearch.xcontent.XContentBuilder;
import org.elasticsearch.xcontent.XContentParser;

/**
 * Makes the query vector of a kNN search from a text or an image:
 * {@code "query_vector_builder": {"crosslens": {"model": "NAME", "text": "blue running shoes"}}}, or {@code "image"} with
 * base64 or a data URI. It runs on the node that coordinates the search.
 */
public final class CrosslensQueryVectorBuilder implements QueryVectorBuilder {

    public static final String NAME = "crosslens";
    private static final ParseField MODEL = new ParseField("model");
    private static final ParseField TEXT = new ParseField("text");
    private static final ParseField IMAGE = new ParseField("image");
    private static final ConstructingObjectParser<CrosslensQueryVectorBuilder, Supplier<Encoding>> PARSER =
        new ConstructingObjectParser<>(
            NAME,
            false,
            (args, encoding) -> new CrosslensQueryVectorBuilder((String) args[0], (String) args[1], (String) args[2], encoding)
        );

    static {
        PARSER.declareString(ConstructingObjectParser.optionalConstructorArg(), MODEL);
        PARSER.declareString(ConstructingObjectParser.optionalConstructorArg(), TEXT);
        PARSER.declareString(ConstructingObjectParser.optionalConstructorArg(), IMAGE);
    }

    private final String model;
    private final String text;
    private final String image;
    private final Supplier<Encoding> encoding;

    private CrosslensQueryVectorBuilder(String model, String text, String image, Supplier<Encoding> encoding) {
        if ((text == null) == (image == null)) {
            throw new IllegalArgumentException("[" + NAME + "] needs either [text] or [image]");
        }
        if (text != null && text.isBlank()) {
            throw new IllegalArgumentException("[" + NAME + "] has an empty [text]");
        }
        this.model = model;
        this.text = text;
        this.image = image;
        this.encoding = encoding;
    }

    public CrosslensQueryVectorBuilder(StreamInput in, Supplier<Encoding> encoding) throws IOException {
        this(in.readOptionalString(), in.readOptionalString(), in.readOptionalString(), encoding);
    }

    public static CrosslensQueryVectorBuilder parse(XContentParser parser, Supplier<Encoding> encoding) {
        return PARSER.apply(parser, encoding);
    }

    @Override
    public void buildVector(Client client, ActionListener<float[]> listener) {
        Input input = text != null ? Input.of(text) : Input.of(References.encoded(image));
        encoding.get()
            .submit(
                Encoding.Lane.SEARCH,
                model,
                input,
                ContextPreservingActionListener.wrapPreservingContext(listener, client.threadPool().getThreadContext())
            );
    }

    @Override
    public String getWriteableName() {
        return NAME;
    }

    @Override
    public TransportVersion getMinimalSupportedVersion() {
        return TransportVersion.minimumCompatible();
    }

    @Override
    public void writeTo(StreamOutput out) throws IOException {
        out.writeOptionalString(model);
        out.writeOptionalString(text);
        out.writeOptionalString(image);
    }

    @Override
    public XContentBuilder toXContent(XContentBuilder builder, Params params) throws IOException {
        builder.startObject();
        if (model != null) {
            builder.field(MODEL.getPreferredName(), model);
        }
        if (text != null) {
            builder.field(TEXT.getPreferredName(), text);
        }
        if (image != null) {
            builder.field(IMAGE.getPreferredName(), image);
        }
        return builder.endObject();
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof CrosslensQueryVectorBuilder that
            && Objects.equals(model, that.model)
            && Objects.equals(text, that.text)
            && Objects.equals(image, that.image);
    }

    @Override
    public int hashCode() {
        return Objects.hash(model, text, image);
    }
}
