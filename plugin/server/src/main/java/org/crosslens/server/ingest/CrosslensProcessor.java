package org.crosslens.server.ingest;

import java.nio.charset.StandardCharsets;
import java.util.AbstractList;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiConsumer;
import java.util.function.Supplier;
import org.crosslens.server.documents.References;
import org.crosslens.server.documents.Source;
import org.crosslens.server.documents.Template;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.work.Encoding;
import org.crosslens.server.work.Input;
import org.crosslens.server.work.Models;
import org.elasticsearch.action.ActionListener;
import org.elasticsearch.action.support.ContextPreservingActionListener;
import org.elasticsearch.common.util.concurrent.ThreadContext;
import org.elasticsearch.ingest.AbstractProcessor;
import org.elasticsearch.ingest.ConfigurationUtils;
import org.elasticsearch.ingest.IngestDocument;
import org.elasticsearch.ingest.Processor;

/**
 * Encodes a document's texts or images into a vector field, and records the state that the Python side records (hash of
 * the source, fingerprint of the model), so that both can serve one index.
 *
 * <p>Documents of one bulk are encoded together: the processor is asynchronous, and what waits is run in batches.
 */
public final class CrosslensProcessor extends AbstractProcessor {

    public static final String TYPE = "crosslens";
    private static final String STATE = "crosslens";

    /** What the node lends to its processors. */
    public record Services(Models models, Encoding encoding, References references, ThreadContext threadContext) {}

    /** What a pipeline says: {@code model} null is the only one there is. */
    private record Settings(String model, String field, Source source, boolean ignoreMissing, boolean recordErrors) {

        String described() {
            return (source.image() ? "image" : "text") + " in " + String.join(", ", source.fields());
        }
    }

    private final Supplier<Services> services;
    private final Settings settings;

    private CrosslensProcessor(String tag, String description, Supplier<Services> services, Settings settings) {
        super(tag, description);
        this.services = services;
        this.settings = settings;
    }

    /** Reads processors from pipelines. */
    public record Maker(Supplier<Services> services) implements ProcessorMaker {

        @Override
        public Processor make(String tag, String description, Map<String, Object> config) {
            String model = ConfigurationUtils.readOptionalStringProperty(TYPE, tag, config, "model");
            String field = ConfigurationUtils.readStringProperty(TYPE, tag, config, "field");
            String modality = ConfigurationUtils.readStringProperty(TYPE, tag, config, "modality");
            String written = ConfigurationUtils.readOptionalStringProperty(TYPE, tag, config, "template");
            List<String> named = ConfigurationUtils.readOptionalListOrString(TYPE, tag, config, "source");
            boolean each = ConfigurationUtils.readBooleanProperty(TYPE, tag, config, "each", false);
            boolean ignoreMissing = ConfigurationUtils.readBooleanProperty(TYPE, tag, config, "ignore_missing", false);
            boolean recordErrors = ConfigurationUtils.readBooleanProperty(TYPE, tag, config, "record_errors", false);
            if (modality.equals("text") == false && modality.equals("image") == false) {
                throw wrong(tag, "modality", "must be text or image, not [" + modality + "]");
            }
            boolean image = modality.equals("image");
            if (written != null && (image || each || named.isEmpty() == false)) {
                throw wrong(tag, "template", "goes with texts only, without [each], and names the sources itself");
            }
            Template template;
            try {
                template = written == null ? null : new Template(written);
            } catch (IllegalArgumentException e) {
                throw wrong(tag, "template", e.getMessage());
            }
            List<String> sources = template == null ? named : template.sources();
            if (sources.isEmpty()) {
                throw wrong(tag, template == null ? "source" : "template", "names no field to encode");
            }
            if (sources.size() > 1 && (image || each)) {
                throw wrong(tag, "source", "must be one field for an image or with [each]");
            }
            Source source = new Source(sources, image, template, each);
            return new CrosslensProcessor(tag, description, services, new Settings(model, field, source, ignoreMissing, recordErrors));
        }

        private static RuntimeException wrong(String tag, String property, String why) {
            return ConfigurationUtils.newConfigurationException(TYPE, tag, property, why);
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
    public void execute(IngestDocument document, BiConsumer<IngestDocument, Exception> handler) {
        try {
            begin(document, handler);
        } catch (Exception e) {
            handler.accept(null, e);
        }
    }

    private void begin(IngestDocument document, BiConsumer<IngestDocument, Exception> handler) {
        Map<String, Object> whole = document.getSource();
        for (String path : List.of(settings.field, STATE + "." + settings.field)) {
            String obstacle = Paths.obstacle(whole, path);
            if (obstacle != null) {
                throw new IllegalArgumentException("[" + obstacle + "] is no object in this document, so [" + path + "] has no place in it");
            }
        }
        Services node = services.get();
        String fingerprint = node.models.find(settings.model).fingerprint();
        List<String> values = settings.source.inputs(whole);
        Attempt attempt = new Attempt(document, values, settings.source.hash(values), fingerprint, handler);
        if (values.isEmpty()) {
            String reason = "no " + settings.described();
            if (settings.ignoreMissing == false) {
                throw new IllegalArgumentException(reason + "; set [ignore_missing] to let such documents pass");
            }
            attempt.finish(Map.of("skipped", reason), null);
        } else if (settings.source.image()) {
            attempt.images(node);
        } else if (attempt.isUnchanged(null)) {
            handler.accept(document, null);
        } else {
            attempt.encode(node, values.stream().map(Input::of).toList(), new LinkedHashMap<>(), null);
        }
    }

    /** A document on its way through the processor. */
    private final class Attempt {

        private final IngestDocument document;
        private final List<String> values;
        private final String hash;
        private final String fingerprint;
        private final BiConsumer<IngestDocument, Exception> handler;

        Attempt(
            IngestDocument document,
            List<String> values,
            String hash,
            String fingerprint,
            BiConsumer<IngestDocument, Exception> handler
        ) {
            this.document = document;
            this.values = values;
            this.hash = hash;
            this.fingerprint = fingerprint;
            this.handler = handler;
        }

        void images(Services node) {
            List<Input> inputs = new ArrayList<>();
            List<String> contents = new ArrayList<>();
            Map<Integer, String> wrong = new LinkedHashMap<>();
            for (int i = 0; i < values.size(); i++) {
                try {
                    byte[] data = node.references.read(values.get(i));
                    inputs.add(Input.of(data));
                    contents.add(Source.contentHash(data));
                } catch (ImageException e) {
                    failed(e);
                    inputs.add(null);
                    contents.add("-");
                    wrong.put(i, e.getMessage());
                }
            }
            String content = settings.source.each()
                ? Source.contentHash(String.join("\n", contents).getBytes(StandardCharsets.US_ASCII))
                : contents.get(0);
            if (wrong.isEmpty() && isUnchanged(content)) {
                handler.accept(document, null);
            } else {
                encode(node, inputs, wrong, content);
            }
        }

        /** Fails the document, unless its errors are to be recorded. */
        private void failed(RuntimeException e) {
            if (settings.recordErrors == false) {
                throw e;
            }
        }

        /** Whether the document says of itself that its vector is the present source's. */
        boolean isUnchanged(String content) {
            Object known = Paths.get(document.getSource(), STATE + "." + settings.field + ".content");
            return isOfThisSource() && Objects.equals(content, known);
        }

        /** The same, whatever the image behind the reference is by now. */
        private boolean isOfThisSource() {
            Map<String, Object> whole = document.getSource();
            return Paths.get(whole, STATE + "." + settings.field) instanceof Map<?, ?> state
                && fingerprint.equals(state.get("model"))
                && hash.equals(state.get("source"))
                && state.get("error") == null
                && state.get("skipped") == null
                && Paths.get(whole, settings.field) != null;
        }

        /** Encodes every input (null: one that can't be), then finishes. */
        void encode(Services node, List<Input> inputs, Map<Integer, String> wrong, String content) {
            float[][] vectors = new float[inputs.size()][];
            AtomicInteger waiting = new AtomicInteger((int) inputs.stream().filter(Objects::nonNull).count());
            Exception[] failure = { null };
            if (waiting.get() == 0) {
                encoded(vectors, wrong, content);
                return;
            }
            for (int i = 0; i < vectors.length; i++) {
                if (inputs.get(i) == null) {
                    continue;
                }
                int at = i;
                ActionListener<float[]> listener = ActionListener.wrap(vector -> vectors[at] = vector, e -> {
                    synchronized (wrong) {
                        if (e instanceof ImageException && settings.recordErrors) {
                            wrong.put(at, e.getMessage());
                        } else if (failure[0] == null) {
                            failure[0] = e;
                        }
                    }
                });
                node.encoding.submit(
                    Encoding.Lane.INGEST,
                    fingerprint,
                    inputs.get(i),
                    ContextPreservingActionListener.wrapPreservingContext(ActionListener.runAfter(listener, () -> {
                        if (waiting.decrementAndGet() == 0) {
                            settled(vectors, wrong, content, failure[0]);
                        }
                    }), node.threadContext)
                );
            }
        }

        private void settled(float[][] vectors, Map<Integer, String> wrong, String content, Exception failure) {
            if (failure != null) {
                handler.accept(null, failure);
                return;
            }
            try {
                encoded(vectors, wrong, content);
            } catch (RuntimeException e) {
                handler.accept(null, e);
            }
        }

        private void encoded(float[][] vectors, Map<Integer, String> wrong, String content) {
            Map<String, Object> state = new HashMap<>();
            if (wrong.isEmpty() == false) {
                if (isOfThisSource()) {
                    // A vector of the same source by the same model stays, though it can't be made again.
                    handler.accept(document, null);
                    return;
                }
                List<String> reasons = wrong.entrySet().stream()
                    .sorted(Map.Entry.comparingByKey())
                    .map(each -> settings.source.each() ? "[" + each.getKey() + "] " + each.getValue() : each.getValue())
                    .toList();
                String more = reasons.size() > 3 ? "; and " + (reasons.size() - 3) + " more" : "";
                state.put("error", String.join("; ", reasons.subList(0, Math.min(3, reasons.size()))) + more);
            }
            if (content != null && (wrong.isEmpty() || settings.source.each())) {
                state.put("content", content);
            }
            finish(state, stored(vectors));
        }

        /** What the document keeps: the vector, or with {@code each} an object for every value that has one, in order. */
        private Object stored(float[][] vectors) {
            if (settings.source.each() == false) {
                return vectors[0] == null ? null : new Floats(vectors[0]);
            }
            List<Map<String, Object>> objects = new ArrayList<>();
            for (int i = 0; i < vectors.length; i++) {
                if (vectors[i] == null) {
                    continue;
                }
                Map<String, Object> object = new HashMap<>();
                object.put("vector", new Floats(vectors[i]));
                object.put("position", i);
                if (settings.source.image() && References.isInline(values.get(i)) == false) {
                    object.put("reference", values.get(i));
                }
                objects.add(object);
            }
            return objects.isEmpty() ? null : objects;
        }

        void finish(Map<String, Object> told, Object vectors) {
            Map<String, Object> whole = document.getSource(), state = new HashMap<>(told);
            state.put("source", hash);
            state.put("model", fingerprint);
            if (vectors == null) {
                Paths.remove(whole, settings.field);
            } else {
                Paths.put(whole, settings.field, vectors);
            }
            Paths.put(whole, STATE + "." + settings.field, state);
            handler.accept(document, null);
        }
    }

    /** A vector as a list, without a box for each number until one is asked for. */
    private static final class Floats extends AbstractList<Float> {

        private final float[] values;

        Floats(float[] values) {
            this.values = values;
        }

        @Override
        public Float get(int i) {
            return values[i];
        }

        @Override
        public int size() {
            return values.length;
        }
    }
}
