package org.crosslens.server.ingest;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.Supplier;
import org.crosslens.server.documents.Labelled;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.ingest.AbstractProcessor;
import org.elasticsearch.ingest.ConfigurationUtils;
import org.elasticsearch.ingest.IngestDocument;
import org.elasticsearch.ingest.Processor;

/**
 * Gives a document labels by the vectors that an earlier processor made, as the Python package's {@code crosslens label}
 * does, and records what that records: so that a later run finds nothing to do.
 *
 * <p>Where labels can't be given, because their numbers can't be read, or for a vector that isn't one, the document is left
 * as it is. It is then due for a run.
 */
public final class LabelsProcessor extends AbstractProcessor {

    public static final String TYPE = "crosslens_labels";
    /** Up to so many products are added up on the caller's thread: less than a millisecond. */
    private static final long FEW = 1 << 20;
    /** A document that takes more is left to a run: some 6 s. */
    private static final long MOST = 1L << 33;

    private final Supplier<CrosslensProcessor.Services> services;
    private final LabelSets.Name set;
    private final String into;
    private final String state;
    private final String field;
    private final String vectorState;
    private final String model;

    private LabelsProcessor(
        String tag,
        String description,
        Supplier<CrosslensProcessor.Services> services,
        LabelSets.Name set,
        String field,
        String model
    ) {
        super(tag, description);
        this.services = services;
        this.set = set;
        this.into = set.into();
        this.state = Settings.STATE + "." + into;
        this.field = field;
        this.vectorState = Settings.STATE + "." + field;
        this.model = model;
    }

    /** Reads processors from pipelines. */
    public record Maker(Supplier<CrosslensProcessor.Services> services) implements ProcessorMaker {

        @Override
        public Processor make(String tag, String description, Map<String, Object> config) {
            String index = ConfigurationUtils.readStringProperty(TYPE, tag, config, "index");
            String into = ConfigurationUtils.readStringProperty(TYPE, tag, config, "into");
            String labels = ConfigurationUtils.readStringProperty(TYPE, tag, config, "labels");
            String field = ConfigurationUtils.readStringProperty(TYPE, tag, config, "field");
            String model = ConfigurationUtils.readStringProperty(TYPE, tag, config, "model");
            return new LabelsProcessor(tag, description, services, new LabelSets.Name(index, into, labels), field, model);
        }
    }

    @Override
    public String getType() {
        return TYPE;
    }

    @Override
    public boolean isAsync() {
        return true;
    }

    @Override
    public void execute(IngestDocument document, BiConsumer<IngestDocument, Exception> answer) {
        BiConsumer<IngestDocument, Exception> handler = CrosslensProcessor.once(answer);
        Map<String, Object> source = document.getSource();
        if (isPart(document) || cantHold(source) || isDue(source) == false) {
            handler.accept(document, null);
            return;
        }
        List<Object> written = written(source);
        CrosslensProcessor.Services node = services.get();
        node.labels().find(set, node.preserving(ActionListener.wrap(labels -> {
            long products = labels == null ? 0 : labels.products(written.size());
            if (labels == null || products > MOST) {
                handler.accept(document, null);
            } else if (products > FEW) {
                ActionListener<Void> turn = ActionListener.wrap(
                    done -> label(document, labels, written, handler),
                    e -> handler.accept(null, e)
                );
                node.encoding().park(node.preserving(turn));
            } else {
                label(document, labels, written, handler);
            }
        }, e -> handler.accept(null, e))));
    }

    /**
     * Whether it is the part that an update sends, which has no index of its own: the labels of the whole document would be
     * replaced by those given to its part, and with them the owner's own values.
     */
    private static boolean isPart(IngestDocument document) {
        return document.getMetadata().getIndex() == null;
    }

    private boolean cantHold(Map<String, Object> source) {
        return Paths.obstacle(source, into) != null
            || Paths.obstacle(source, state) != null
            || Labelled.isScattered(source, Paths.get(source, into), into);
    }

    private boolean isDue(Map<String, Object> source) {
        Map<?, ?> before = before(source);
        if (hasVector(source) == false) {
            return before.isEmpty() == false;
        }
        return set.fingerprint().equals(before.get("labels")) == false || identity(source).equals(before.get("vector")) == false;
    }

    private Map<?, ?> before(Map<String, Object> source) {
        return Labelled.state(Paths.get(source, state));
    }

    private boolean hasVector(Map<String, Object> source) {
        Object stored = Paths.get(source, field);
        boolean some = stored instanceof List<?> list ? list.isEmpty() == false : stored != null;
        return some && Paths.get(source, vectorState) instanceof Map<?, ?> vector && model.equals(vector.get("model"));
    }

    private String identity(Map<String, Object> source) {
        return Labelled.identity((Map<?, ?>) Paths.get(source, vectorState));
    }

    /** The document's vectors as it holds them. */
    private List<Object> written(Map<String, Object> source) {
        if (hasVector(source) == false) {
            return List.of();
        }
        Object stored = Paths.get(source, field);
        if (stored instanceof List<?> list && list.get(0) instanceof Map == false) {
            return List.of(stored);
        }
        List<Object> written = new ArrayList<>();
        for (Object each : stored instanceof List<?> list ? list : List.of(stored)) {
            Object vector = each instanceof Map<?, ?> object ? object.get("vector") : each;
            if (vector != null) {
                written.add(vector);
            }
        }
        return written;
    }

    /** A vector as documents hold it: numbers, or base64 of big-endian float32; null for what isn't one. */
    private static float[] vector(Object written, int dims) {
        float[] vector = new float[dims];
        if (written instanceof List<?> numbers && numbers.size() == dims) {
            for (int i = 0; i < dims; i++) {
                if (numbers.get(i) instanceof Number == false) {
                    return null;
                }
                vector[i] = ((Number) numbers.get(i)).floatValue();
            }
        } else if (written instanceof String text) {
            try {
                ByteBuffer bytes = ByteBuffer.wrap(Base64.getDecoder().decode(text));
                if (bytes.remaining() != dims * Float.BYTES) {
                    return null;
                }
                bytes.asFloatBuffer().get(vector);
            } catch (IllegalArgumentException e) {
                return null;
            }
        } else {
            return null;
        }
        double square = 0;
        for (float each : vector) {
            square += (double) each * each;
        }
        // Nothing has a cosine with zeros; Elasticsearch says what is wrong with them.
        return square > 0 && Double.isFinite(square) ? vector : null;
    }

    private void label(IngestDocument document, LabelSet labels, List<Object> written, BiConsumer<IngestDocument, Exception> handler) {
        Map<String, Object> source = document.getSource();
        float[][] vectors = new float[written.size()][];
        for (int i = 0; i < vectors.length; i++) {
            vectors[i] = vector(written.get(i), labels.dims());
        }
        Map<?, ?> before = before(source);
        Object present = Paths.get(source, into);
        Labelled made = null;
        if (vectors.length == 0 && before.isEmpty() == false) {
            made = Labelled.without(present, before, labels.isBoolean());
        } else if (vectors.length > 0 && Arrays.asList(vectors).contains(null) == false) {
            Map<String, Double> found = labels.found(vectors);
            made = Labelled.of(present, before, labels.isBoolean(), found, set.fingerprint(), identity(source));
        }
        if (made != null) {
            if (made.changed()) {
                Paths.put(source, into, made.value());
            }
            Paths.put(source, state, made.state());
        }
        handler.accept(document, null);
    }
}
