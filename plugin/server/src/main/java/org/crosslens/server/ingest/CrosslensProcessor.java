package org.crosslens.server.ingest;

import java.nio.charset.StandardCharsets;
import java.util.AbstractList;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BiConsumer;
import java.util.function.Supplier;
import org.crosslens.server.documents.References;
import org.crosslens.server.documents.Source;
import org.crosslens.server.documents.Template;
import org.crosslens.server.encode.ImageException;
import org.crosslens.server.encode.ModelFolder;
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
    /** With {@code each}, a small document could otherwise name files any number of times. */
    private static final int MOST_VALUES = 1_000;
    /** Up to so many characters are hashed on the caller's thread. */
    private static final int LARGE = 1 << 16;
    /** How often a document is begun again because the model was exchanged meanwhile. */
    private static final int TRIES = 3;

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
        AtomicBoolean handled = new AtomicBoolean();
        begin(document, (result, e) -> {
            if (handled.compareAndSet(false, true)) {
                handler.accept(result, e);
            }
        }, TRIES);
    }

    private void begin(IngestDocument document, BiConsumer<IngestDocument, Exception> handler, int tries) {
        Services node = services.get();
        try {
            Map<String, Object> whole = document.getSource();
            for (String path : List.of(settings.field, STATE + "." + settings.field)) {
                String obstacle = Paths.obstacle(whole, path);
                if (obstacle != null) {
                    throw new IllegalArgumentException(
                        "[" + obstacle + "] isn't an object in this document, so [" + path + "] can't be stored in it"
                    );
                }
            }
            List<String> values = settings.source.inputs(whole);
            if (values.size() > MOST_VALUES) {
                throw new IllegalArgumentException(
                    "[" + settings.source.fields().get(0) + "] holds " + values.size() + " values, more than the " + MOST_VALUES
                        + " that one document may have encoded"
                );
            }
            ActionListener<ModelFolder> found = ActionListener.wrap(model -> {
                ModelFolder folder = settings.source.image() ? model.withImages() : model;
                Attempt attempt = new Attempt(node, document, values, folder, handler, tries);
                boolean large = values.stream().mapToLong(String::length).sum() > LARGE;
                if (values.isEmpty() == false && (large || settings.source.image())) {
                    // Large values are hashed, and files read, on the plugin's own threads.
                    node.encoding.park(preserving(node, ActionListener.wrap(turn -> attempt.begin(), e -> handler.accept(null, e))));
                } else {
                    attempt.begin();
                }
            }, e -> handler.accept(null, e));
            node.models.find(settings.model, preserving(node, found));
        } catch (Exception e) {
            handler.accept(null, e);
        }
    }

    private static <T> ActionListener<T> preserving(Services node, ActionListener<T> listener) {
        return ContextPreservingActionListener.wrapPreservingContext(listener, node.threadContext);
    }

    /** A document on its way through the processor. */
    private final class Attempt {

        private final Services node;
        private final IngestDocument document;
        private final List<String> values;
        private final String hash;
        private final String fingerprint;
        private final String prompt;
        private final BiConsumer<IngestDocument, Exception> handler;
        private final int tries;
        private final float[][] vectors;
        // Written by several threads: each element by one, the map under its lock.
        private final String[] contents;
        private final Map<Integer, String> wrong = new LinkedHashMap<>();
        private volatile Exception failure;

        Attempt(
            Services node,
            IngestDocument document,
            List<String> values,
            ModelFolder model,
            BiConsumer<IngestDocument, Exception> handler,
            int tries
        ) {
            this.node = node;
            this.document = document;
            this.values = values;
            this.hash = settings.source.hash(values);
            this.fingerprint = model.fingerprint();
            this.prompt = model.prompts().passage();
            this.handler = handler;
            this.tries = tries;
            this.vectors = new float[values.size()][];
            this.contents = new String[values.size()];
        }

        void begin() {
            if (values.isEmpty()) {
                missing();
            } else if (settings.source.image() ? isOfThisSource() && isOfTheseImages() : isUnchanged(null)) {
                handler.accept(document, null);
            } else {
                encode();
            }
        }

        private void missing() {
            String reason = "no " + settings.described();
            if (settings.ignoreMissing == false) {
                throw new IllegalArgumentException(reason + "; set [ignore_missing] to let such documents pass");
            }
            Map<String, Object> whole = document.getSource();
            boolean sent = settings.source.fields().stream().anyMatch(field -> Source.isIn(whole, field));
            if (sent || Paths.get(whole, settings.field) != null || Paths.get(whole, STATE + "." + settings.field) != null) {
                finish(Map.of("skipped", reason), null);
            } else {
                // Perhaps a partial update: its document keeps the state of a source that wasn't sent.
                handler.accept(document, null);
            }
        }

        /** Whether the referenced images are unchanged since the vectors were made; files are hashed piece by piece. */
        private boolean isOfTheseImages() {
            List<String> now = new ArrayList<>();
            for (String value : values) {
                try {
                    now.add(node.references.contentHash(value));
                } catch (ImageException e) {
                    // Encoding says what is wrong.
                    return false;
                }
            }
            return isUnchanged(content(now));
        }

        private String content(List<String> each) {
            return settings.source.each() ? Source.contentHash(String.join("\n", each).getBytes(StandardCharsets.US_ASCII)) : each.get(0);
        }

        /** Whether the document says of itself that its vector is the present source's. */
        private boolean isUnchanged(String content) {
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
                && hasVectors(Paths.get(whole, settings.field));
        }

        /** Whether every vector is there: a document that was read back comes without them unless asked for. */
        private boolean hasVectors(Object stored) {
            if (settings.source.each() == false) {
                return isVector(stored);
            }
            List<?> objects = stored instanceof List<?> list ? list : stored == null ? List.of() : List.of(stored);
            return objects.size() == values.size()
                && objects.stream().allMatch(each -> each instanceof Map<?, ?> object && isVector(object.get("vector")));
        }

        private static boolean isVector(Object value) {
            return value instanceof List<?> list ? list.isEmpty() == false && list.contains(null) == false
                : value instanceof String text && text.isEmpty() == false;
        }

        /** Encodes every value, then finishes. */
        private void encode() {
            List<Input> inputs = new ArrayList<>();
            List<ActionListener<float[]>> listeners = new ArrayList<>();
            AtomicInteger waiting = new AtomicInteger(values.size());
            for (int i = 0; i < values.size(); i++) {
                int at = i;
                inputs.add(settings.source.image() ? image(at) : Input.of(values.get(at)).after(prompt));
                ActionListener<float[]> listener = ActionListener.wrap(vector -> vectors[at] = vector, e -> failed(at, e));
                listeners.add(preserving(node, ActionListener.runAfter(listener, () -> {
                    if (waiting.decrementAndGet() == 0) {
                        settled();
                    }
                })));
            }
            node.encoding.park(fingerprint, inputs, listeners);
        }

        private Input image(int at) {
            return Input.of(node.references, values.get(at), () -> {
                if (failure != null) {
                    throw new ImageException("another image of the document failed");
                }
            }, data -> contents[at] = Source.contentHash(data));
        }

        /** Fails the document, unless its errors are to be recorded. */
        private void failed(int at, Exception e) {
            Exception named = e instanceof ImageException image ? References.named(values.get(at), image) : e;
            synchronized (wrong) {
                if (named instanceof ImageException && settings.recordErrors) {
                    wrong.put(at, named.getMessage());
                } else if (failure == null) {
                    failure = named;
                }
            }
        }

        private void settled() {
            if (failure == null) {
                try {
                    String content = null;
                    if (settings.source.image()) {
                        content = content(Arrays.stream(contents).map(each -> each == null ? "-" : each).toList());
                    }
                    encoded(content);
                } catch (RuntimeException e) {
                    handler.accept(null, e);
                }
            } else if (tries > 0 && failure instanceof ImageException == false) {
                // The model's folder may have been exchanged since the document was begun.
                node.models.find(settings.model, preserving(node, ActionListener.wrap(now -> {
                    if (now.fingerprint().equals(fingerprint)) {
                        handler.accept(null, failure);
                    } else {
                        CrosslensProcessor.this.begin(document, handler, tries - 1);
                    }
                }, e -> handler.accept(null, failure))));
            } else {
                handler.accept(null, failure);
            }
        }

        private void encoded(String content) {
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
            finish(state, stored());
        }

        /** What the document keeps: the vector, or with {@code each} an object for every value that has one, in order. */
        private Object stored() {
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

        void finish(Map<String, Object> made, Object vectors) {
            Map<String, Object> whole = document.getSource(), state = new HashMap<>(made);
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
