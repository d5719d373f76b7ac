package org.crosslens.server.search;

import java.io.IOException;
import java.util.Collection;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.function.Supplier;
import org.crosslens.server.encode.Prompts;
import org.crosslens.server.serve.Encoders;
import org.crosslens.server.serve.Purpose;
import org.crosslens.server.serve.Served;
import org.crosslens.server.wire.Wire;
import org.crosslens.server.work.Input;
import org.crosslens.server.work.Wanted;
import org.elasticsearch.TransportVersion;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.search.SearchRequest;
import org.elasticsearch.action.support.ContextPreservingActionListener;
import org.elasticsearch.client.internal.Client;
import org.elasticsearch.cluster.metadata.IndexMetadata;
import org.elasticsearch.common.io.stream.StreamInput;
import org.elasticsearch.common.io.stream.StreamOutput;
import org.elasticsearch.common.util.concurrent.ThreadContext;
import org.elasticsearch.search.vectors.QueryVectorBuilder;
import org.elasticsearch.xcontent.ConstructingObjectParser;
import org.elasticsearch.xcontent.ParseField;
import org.elasticsearch.xcontent.XContentBuilder;
import org.elasticsearch.xcontent.XContentParser;

/**
 * Makes the query vector of a kNN search from a text or an image:
 * {@code "query_vector_builder": {"crosslens": {"model": "NAME", "text": "blue running shoes"}}}, or {@code "image"} with
 * base64 or a data URI. In place of {@code "model"}, {@code "field"} takes the model that the field's vectors were made with,
 * as its mapping records. It runs on the node that coordinates the search.
 *
 * <p>Vectors of different models can't be compared, even of equal length: the search fails where the mapping records another
 * model for the searched field.
 */
public final class CrosslensQueryVectorBuilder implements QueryVectorBuilder {

    public static final String NAME = "crosslens";
    private static final ParseField MODEL = new ParseField("model");
    private static final ParseField FIELD = new ParseField("field");
    private static final ParseField TEXT = new ParseField("text");
    private static final ParseField IMAGE = new ParseField("image");
    private static final ConstructingObjectParser<CrosslensQueryVectorBuilder, Supplier<Services>> PARSER =
        new ConstructingObjectParser<>(
            NAME,
            false,
            (args, services) -> new CrosslensQueryVectorBuilder(
                (String) args[0],
                (String) args[1],
                (String) args[2],
                (String) args[3],
                services
            )
        );

    static {
        PARSER.declareString(ConstructingObjectParser.optionalConstructorArg(), MODEL);
        PARSER.declareString(ConstructingObjectParser.optionalConstructorArg(), TEXT);
        PARSER.declareString(ConstructingObjectParser.optionalConstructorArg(), IMAGE);
        PARSER.declareString(ConstructingObjectParser.optionalConstructorArg(), FIELD);
    }

    /** What the node lends to the builders. */
    public record Services(Encoders encoders, SearchedFields.Indices indices) {}

    private final String model;
    private final String text;
    private final String image;
    private final String field;
    private final Supplier<Services> services;

    private CrosslensQueryVectorBuilder(String model, String text, String image, String field, Supplier<Services> services) {
        if ((text == null) == (image == null)) {
            throw new IllegalArgumentException("[" + NAME + "] needs either [text] or [image]");
        }
        if (text != null && text.isBlank()) {
            throw new IllegalArgumentException("[" + NAME + "] has an empty [text]");
        }
        if (model != null && field != null) {
            throw new IllegalArgumentException("[" + NAME + "] takes its model from either [model] or [field]");
        }
        this.model = model;
        this.text = text;
        this.image = image;
        this.field = field;
        this.services = services;
    }

    private CrosslensQueryVectorBuilder(StreamInput in, Supplier<Services> services) throws IOException {
        this(in.readOptionalString(), in.readOptionalString(), in.readOptionalString(), in.readOptionalString(), services);
    }

    public static CrosslensQueryVectorBuilder read(StreamInput in, Supplier<Services> services) throws IOException {
        return Wire.read(in, "query vector builder", fields -> new CrosslensQueryVectorBuilder(fields.in(), services));
    }

    public static CrosslensQueryVectorBuilder parse(XContentParser parser, Supplier<Services> services) {
        return PARSER.apply(parser, services);
    }

    @Override
    public void buildVector(Client client, ActionListener<float[]> listener) {
        ThreadContext context = client.threadPool().getThreadContext();
        Wanted wanted = context.getTransient(Wanted.KEY);
        SearchRequest request = context.getTransient(SearchFilter.REQUEST);
        ActionListener<float[]> preserving = ContextPreservingActionListener.wrapPreservingContext(listener, context);
        ActionListener.run(preserving, each -> {
            Set<String> fields = request == null || field != null ? Set.of() : SearchedFields.beside(this, request);
            Set<String> recorded = recorded(request, field == null ? fields : Set.of(field));
            ActionListener<Served> encoding = each.delegateFailureAndWrap((next, found) -> {
                if (recorded.stream().allMatch(found::maySearch) == false) {
                    throw new IllegalArgumentException(
                        "[" + NAME + "] would compare a query by model [" + found.name() + "] (" + found.fingerprint()
                            + ") with vectors of another (" + String.join(", ", recorded) + ") in " + fields
                            + "; name the [field] in place of the [model]"
                    );
                }
                encode(found, wanted, next);
            });
            if (field == null) {
                services.get().encoders().find(model, encoding);
            } else {
                services.get().encoders().findSearching(recorded.iterator().next(), encoding);
            }
        });
    }

    /** Return the fingerprints that mappings record for the searched fields; more than one where indices differ. */
    private Set<String> recorded(SearchRequest request, Set<String> fields) {
        Set<String> recorded = new LinkedHashSet<>();
        if (request != null && fields.isEmpty() == false) {
            Collection<IndexMetadata> indices = services.get().indices().of(request);
            fields.forEach(each -> recorded.addAll(SearchedFields.fingerprints(each, indices)));
        }
        if (field != null && recorded.size() != 1) {
            throw new IllegalArgumentException(
                recorded.isEmpty()
                    ? "no index that is searched records a model for [" + field + "]; name the [model]"
                    : "the indices that are searched record several models for [" + field + "]: " + String.join(", ", recorded)
            );
        }
        return recorded;
    }

    private void encode(Served model, Wanted wanted, ActionListener<float[]> listener) {
        Input input = text != null ? Input.of(text) : Input.encoded(image);
        services.get()
            .encoders()
            .encode(
                Purpose.QUERY,
                Prompts.Role.QUERY,
                model,
                List.of(input),
                wanted == null ? Wanted.ALWAYS : wanted,
                listener.map(vectors -> vectors.get(0))
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
        Wire.write(out, 1, fields -> {
            fields.writeOptionalString(model);
            fields.writeOptionalString(text);
            fields.writeOptionalString(image);
            fields.writeOptionalString(field);
        });
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
        if (field != null) {
            builder.field(FIELD.getPreferredName(), field);
        }
        return builder.endObject();
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof CrosslensQueryVectorBuilder that
            && Objects.equals(model, that.model)
            && Objects.equals(text, that.text)
            && Objects.equals(image, that.image)
            && Objects.equals(field, that.field);
    }

    @Override
    public int hashCode() {
        return Objects.hash(model, text, image, field);
    }
}
